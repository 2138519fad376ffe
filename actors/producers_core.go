package actors

import (
	"container/list"
	"slices"

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
type producers struct {
	limit int
	byID  map[int64]*list.Element // of *producer
	order *list.List              // least recently used first
	undo  []producerBefore        // one for each batch that is not safe, oldest first
}

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
	recent [recentBatches]recentBatch
	n      int // valid entries of recent, oldest first
}

type recentBatch struct {
	sequence int32
	count    int
	first    protocol.Offset
}

func newProducers(limit int) *producers {
	return &producers{limit: limit, byID: make(map[int64]*list.Element), order: list.New()}
}

// check says what a batch is: a duplicate, whose first record is at first, a new
// one (nil error), or one to refuse.
func (ps *producers) check(h *protocol.BatchHeader) (first protocol.Offset, duplicate bool, err error) {
	if h.BaseSequence < 0 {
		return 0, false, protocol.ErrBatchRefused.With("sequence %d of producer %d is negative", h.BaseSequence, h.ProducerID)
	}
	e, ok := ps.byID[h.ProducerID]
	if !ok {
		if h.BaseSequence != 0 {
			return 0, false, protocol.ErrNewProducer.With(
				"producer %d is not known here and sent sequence %d: begin at sequence 0 under a new epoch", h.ProducerID, h.BaseSequence)
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
func (ps *producers) add(h *protocol.BatchHeader, first protocol.Offset) {
	e, ok := ps.byID[h.ProducerID]
	if !ok {
		// Taken back, the batch leaves the sequence that it had: what the producer
		// sent after it must not pass it.
		e = ps.insert(producer{id: h.ProducerID, epoch: h.ProducerEpoch, next: h.BaseSequence})
	}
	p := e.Value.(*producer)
	if h.ProducerEpoch != p.epoch {
		*p = producer{id: p.id, epoch: h.ProducerEpoch, next: h.BaseSequence}
	}
	ps.undo = append(ps.undo, producerBefore{*p, first})
	if p.n == recentBatches {
		copy(p.recent[:], p.recent[1:])
		p.n--
	}
	p.recent[p.n] = recentBatch{sequence: h.BaseSequence, count: h.Count, first: first}
	p.n++
	p.next = afterSequence(h.BaseSequence, h.Count)
	ps.order.MoveToBack(e)
}

func (ps *producers) insert(p producer) *list.Element {
	if len(ps.byID) >= ps.limit {
		oldest := ps.order.Front()
		delete(ps.byID, oldest.Value.(*producer).id)
		ps.order.Remove(oldest)
	}
	e := ps.order.PushBack(&p)
	ps.byID[p.id] = e
	return e
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
			*e.Value.(*producer) = before
		} else {
			ps.insert(before)
		}
	}
	ps.undo = ps.undo[:n]
}

// expire forgets the producers whose last batch is below start.
func (ps *producers) expire(start protocol.Offset) {
	for id, e := range ps.byID {
		p := e.Value.(*producer)
		if p.n > 0 && p.recent[p.n-1].first < start {
			delete(ps.byID, id)
			ps.order.Remove(e)
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
