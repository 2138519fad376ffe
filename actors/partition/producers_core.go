package partition

import (
	"container/list"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/asynkron/protoactor-go/actor"

	"metaq/protocol"
)

// producers is what a partition remembers of its idempotent producers: for each
// the epoch, the sequence that comes next and the last batches, so that a batch
// that is sent again is recognised and answered as it was the first time.
//
// A producer has up to recentBatches of them on their way. None passes one that
// is missing: each continues the sequence, and only number 0 begins one. Else the
// second batch of a producer that is not known would be taken for its first.
//
// What is remembered of batches that are not yet safe can be taken back: see
// keep and rollback.
//
// The table is bounded, and ids are cheap to make up: see room for who gives way.
type producers struct {
	limit   int
	byID    map[int64]*list.Element // of *producer
	order   *list.List              // least recently used first
	sources map[source]int          // producers of each; Invariant: their sum is len(byID)
	undo    []producerBefore        // one for each batch that is not safe, oldest first
}

// source is the client connection that a producer's last batch came by; 0 is not known:
// the log has told, or another broker sent the batch on.
type source uint64

// producerHeld is how long, in milliseconds, a producer that was quiet keeps its place
// against new ones: longer than the Go client tries to hand a batch over, which is 2 min.
const producerHeld = 150_000

// producerBefore is a producer's state before its batch at offset first.
type producerBefore struct {
	producer
	first protocol.Offset
}

// recentBatches is how many batches of a producer are recognised when they come
// again: no more than a producer has in flight.
const recentBatches = 5

type producer struct {
	id     int64
	epoch  int16
	next   int32 // sequence that the next batch begins with
	source source
	used   int64 // when its last batch came, as Deps.Elapsed tells
	recent [recentBatches]recentBatch
	n      int // valid entries of recent, oldest first
}

type recentBatch struct {
	sequence int32
	count    int
	first    protocol.Offset
}

func newProducers(limit int) *producers {
	return &producers{limit: limit, byID: make(map[int64]*list.Element), order: list.New(), sources: make(map[source]int)}
}

// check says what a batch is: a duplicate, whose first record is at first, a new
// one (nil error), or one to refuse.
func (ps *producers) check(h *protocol.BatchHeader, from source, now int64) (first protocol.Offset, duplicate bool, err error) {
	if h.BaseSequence < 0 {
		return 0, false, protocol.ErrBatchRefused.With("sequence %d of producer %d is negative", h.BaseSequence, h.ProducerID)
	}
	e, ok := ps.byID[h.ProducerID]
	if !ok {
		if h.BaseSequence != 0 {
			return 0, false, protocol.ErrNewProducer.With(
				"producer %d is not known here and sent sequence %d: begin at sequence 0 under a new epoch", h.ProducerID, h.BaseSequence)
		}
		if _, ok := ps.room(from, now); !ok {
			return 0, false, protocol.ErrBusy.With(
				"producer %d is new, and this partition remembers %d that were used a moment ago: share producers, back off, or raise maxProducers", h.ProducerID, len(ps.byID))
		}
		return 0, false, nil
	}
	p := e.Value.(*producer)
	switch {
	case h.ProducerEpoch < p.epoch:
		return 0, false, protocol.ErrFenced.With("producer %d has epoch %d, the batch has %d: another instance took over",
			h.ProducerID, p.epoch, h.ProducerEpoch)
	case h.ProducerEpoch > p.epoch:
		if h.BaseSequence != 0 {
			return 0, false, protocol.ErrConflict.With("out of order sequence: producer %d begins epoch %d with %d, not with 0",
				h.ProducerID, h.ProducerEpoch, h.BaseSequence)
		}
		return 0, false, nil
	}
	for _, r := range p.recent[:p.n] {
		if r.sequence == h.BaseSequence && r.count == h.Count {
			return r.first, true, nil
		}
	}
	if h.BaseSequence != p.next {
		return 0, false, protocol.ErrConflict.With("out of order sequence: producer %d sent %d in epoch %d, the next one is %d",
			h.ProducerID, h.BaseSequence, p.epoch, p.next)
	}
	return 0, false, nil
}

// add remembers a new batch whose first record is at first.
func (ps *producers) add(h *protocol.BatchHeader, first protocol.Offset, from source, now int64) {
	e, ok := ps.byID[h.ProducerID]
	if !ok {
		if victim, _ := ps.room(from, now); victim != nil {
			ps.remove(victim)
		}
		// Taken back, the batch leaves the sequence that it had: what the producer
		// sent after it must not pass it.
		e = ps.insert(producer{id: h.ProducerID, epoch: h.ProducerEpoch, next: h.BaseSequence})
	}
	p := e.Value.(*producer)
	if h.ProducerEpoch != p.epoch {
		*p = producer{id: p.id, epoch: h.ProducerEpoch, next: h.BaseSequence, source: p.source}
	}
	ps.undo = append(ps.undo, producerBefore{*p, first})
	if p.n == recentBatches {
		copy(p.recent[:], p.recent[1:])
		p.n--
	}
	p.recent[p.n] = recentBatch{sequence: h.BaseSequence, count: h.Count, first: first}
	p.n++
	p.next = afterSequence(h.BaseSequence, h.Count)
	p.used = now
	ps.move(p, from)
	ps.order.MoveToBack(e)
}

// insert adds a producer; in a full table the one that was quiet longest goes.
func (ps *producers) insert(p producer) *list.Element {
	if len(ps.byID) >= ps.limit {
		ps.remove(ps.order.Front())
	}
	e := ps.order.PushBack(&p)
	ps.byID[p.id] = e
	ps.sources[p.source]++
	return e
}

func (ps *producers) remove(e *list.Element) {
	p := e.Value.(*producer)
	delete(ps.byID, p.id)
	ps.order.Remove(e)
	ps.move(p, 0)
	ps.less(0)
}

// move counts a producer as another source's.
func (ps *producers) move(p *producer, to source) {
	if p.source != to {
		ps.less(p.source)
		ps.sources[to]++
		p.source = to
	}
}

func (ps *producers) less(from source) {
	if ps.sources[from]--; ps.sources[from] <= 0 {
		delete(ps.sources, from)
	}
}

// room reports whether a new producer may come from a source, and who gives way for it in
// a full table: the one that was quiet longest, if that was for producerHeld, and else one
// of a connection that has many more than this one would have. Nobody else does: a
// producer that is forgotten while it tries a batch again has it stored twice.
func (ps *producers) room(from source, now int64) (victim *list.Element, ok bool) {
	if len(ps.byID) < ps.limit {
		return nil, true
	}
	oldest := ps.order.Front()
	if now-oldest.Value.(*producer).used >= producerHeld {
		return oldest, true
	}
	most := source(0)
	for s, n := range ps.sources {
		if s != 0 && (most == 0 || n > ps.sources[most] || n == ps.sources[most] && s < most) {
			most = s
		}
	}
	if most == 0 || most == from || ps.sources[most] < 2*(ps.sources[from]+1) {
		return nil, false
	}
	for e := oldest; e != nil; e = e.Next() {
		if e.Value.(*producer).source == most {
			return e, true
		}
	}
	return nil, false
}

// afterSequence is the sequence after count records from first: it goes from the
// largest number on to 0.
func afterSequence(first int32, count int) int32 {
	return int32((int64(first) + int64(count)) & (1<<31 - 1))
}

// keep makes final what was added of the batches below end.
func (ps *producers) keep(end protocol.Offset) {
	n := 0
	for n < len(ps.undo) && ps.undo[n].first < end {
		n++
	}
	ps.undo = slices.Delete(ps.undo, 0, n)
}

// rollback takes back what was added of the batches from offset end on.
func (ps *producers) rollback(end protocol.Offset) {
	n := len(ps.undo)
	for ; n > 0 && ps.undo[n-1].first >= end; n-- {
		before := ps.undo[n-1].producer
		if e, ok := ps.byID[before.id]; ok {
			p := e.Value.(*producer)
			before.source, before.used = p.source, p.used
			*p = before
		} else {
			ps.insert(before)
		}
	}
	ps.undo = ps.undo[:n]
}

// expire forgets the producers whose last batch is below start.
func (ps *producers) expire(start protocol.Offset) {
	for _, e := range ps.byID {
		p := e.Value.(*producer)
		if p.n > 0 && p.recent[p.n-1].first < start {
			ps.remove(e)
		}
	}
}

// trim forgets the batches that a log which ends at end does not hold: under a
// relaxed policy also acknowledged ones may be gone, and a batch that is not
// there must not count as a duplicate.
func (ps *producers) trim(end protocol.Offset) {
	for _, e := range ps.byID {
		p := e.Value.(*producer)
		for p.n > 0 && p.recent[p.n-1].first >= end {
			p.n--
			p.next = p.recent[p.n].sequence
		}
	}
}

// inherit takes over, from the table before the log was opened again, the
// producers that the log's tail does not show: their next sequence still holds.
func (ps *producers) inherit(former *producers) {
	for e := former.order.Back(); e != nil && len(ps.byID) < ps.limit; e = e.Prev() {
		p := e.Value.(*producer)
		if _, ok := ps.byID[p.id]; !ok {
			ps.order.MoveToFront(ps.insert(*p))
		}
	}
}

// learn takes a batch that the log has; in a full table the oldest goes. When it came is
// not known: it gives way to new ones.
func (ps *producers) learn(h *protocol.BatchHeader) {
	if _, known := ps.byID[h.ProducerID]; !known && len(ps.byID) >= ps.limit {
		ps.remove(ps.order.Front())
	}
	ps.add(h, h.Base, 0, math.MinInt64/2)
}

// sourceOf finds the connection in the place of a client's answer, which begins with its
// number; the place is not known in any other form.
func sourceOf(to *actor.PID) source {
	if to == nil || !strings.HasPrefix(to.Id, " ") {
		return 0
	}
	id, _, _ := strings.Cut(to.Id[1:], " ")
	n, err := strconv.ParseUint(id, 36, 64)
	if err != nil {
		return 0
	}
	return source(n) + 1 // connections may be counted from 0
}
