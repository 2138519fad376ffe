package produce

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"metaq/client/internal/link"
	"metaq/protocol"
)

// errGone sends the caller of add back to look the topic up again.
var errGone = errors.New("partition is gone")

// partition collects a producer's records for one partition into batches, and
// has a goroutine (run) as long as there are any.
type partition struct {
	t       *topic
	p       *Engine
	id      protocol.PartitionID
	subject string
	absent  atomic.Bool           // has no leader, as the topic's description says
	failing atomic.Bool           // nobody answers to the batch that is being handed over
	gone    atomic.Pointer[error] // why the partition no longer exists

	mu      sync.Mutex // guards the fields below
	open    *batch     // takes records; not empty
	full    []*batch   // Invariant: closed batches, oldest first, all before open
	last    *batch     // the newest that was taken and is not reported, before full
	answers []answer   // that run has not seen
	running bool       // Invariant: run has its goroutine while there is any batch
	clock   lazyClock
	wake    chan struct{} // one place: run should look again

	flight flight // owned by run
}

// batch is a batch that is being filled or handed over.
type batch struct {
	builder protocol.BatchBuilder
	done    []Reporter // one for each record
	bytes   int64      // of the buffer
	opened  time.Time
	urgent  bool          // do not linger
	flushed chan struct{} // closed when all its records are reported; nil when nobody waits
	turn    turnStep

	passage                   // owned by the partition's flight
	data    []byte            // encoded
	encoded protocol.Producer // under this number
}

func newPartition(t *topic, id protocol.PartitionID) *partition {
	return &partition{
		t: t, p: t.p, id: id,
		subject: t.p.c.Subjects.Partition(protocol.OpBatch, t.name, id),
		wake:    make(chan struct{}, 1),
		clock:   lazyClock{now: t.p.now},
		flight:  flight{seq: sequence{id: t.p.id.Load()}},
	}
}

// add puts r, which is known to fit an empty batch, into the open batch. It
// returns errGone when the partition no longer exists and ErrClosed when the
// producer is closed.
func (q *partition) add(r *Record, done Reporter, turn turnStep) error {
	rec := protocol.Record{Key: r.Key, Headers: r.Headers, Value: r.Value}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.gone.Load() != nil {
		return errGone
	}
	if !q.running {
		if !q.p.start(q.run) {
			return link.ErrClosed
		}
		q.running = true
	}
	if b := q.open; b != nil && b.builder.Size()+r.encodedBound() > q.room() {
		q.closeOpenLocked()
	}
	if q.open == nil {
		q.open = q.p.newBatch(q.clock.readNow())
	}
	if r.Time.IsZero() {
		rec.Time = q.clock.read().UnixMilli()
	} else {
		rec.Time = r.Time.UnixMilli()
	}
	err := q.open.builder.Add(&rec)
	if errors.Is(err, protocol.ErrBatchFull) && q.open.builder.Count() > 0 {
		q.closeOpenLocked()
		q.open = q.p.newBatch(q.clock.readNow())
		err = q.open.builder.Add(&rec)
	}
	if err != nil { // checkSize lets nothing pass that could get here
		q.p.recycle(q.open)
		q.open = nil
		q.signal()
		return err
	}
	b := q.open
	b.done = append(b.done, done)
	b.bytes += int64(r.size())
	if turn.ok {
		b.turn = turn
	}
	if b.builder.Size() >= q.room() {
		q.closeOpenLocked()
	}
	return nil
}

// room is the size at which a batch is full.
func (q *partition) room() int { return min(q.p.o.BatchBytes, q.p.limits.Load().batch) }

func (q *partition) closeOpenLocked() {
	q.full = append(q.full, q.open)
	q.t.passTurn(q.open.turn)
	q.open = nil
	q.signal()
}

// signal has run look again.
func (q *partition) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take returns the next batch to hand over, or nil and how long to linger for it.
// While others are on their way (busy) only a full one goes: the open one fills. When there is none at all the goroutine is over: ok is false.
func (q *partition) take(now time.Time, closing, busy bool) (b *batch, linger time.Duration, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.full) > 0 {
		b = q.full[0]
		q.full[0] = nil
		if q.full = q.full[1:]; len(q.full) == 0 {
			q.full = nil
		}
		q.last = b
		return b, 0, true
	}
	if q.open == nil {
		q.running = busy
		return nil, 0, busy
	}
	if busy {
		return nil, 0, true
	}
	if wait := q.open.opened.Add(q.p.o.Linger).Sub(now); wait > 0 && !q.open.urgent && !closing {
		return nil, wait, true
	}
	b = q.open
	q.t.passTurn(b.turn)
	q.open, q.last = nil, b
	return b, 0, true
}

// hurry ends the linger of what was taken so far and returns a channel that is
// closed when all of it has been reported; nil when there is none.
func (q *partition) hurry() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	last := q.last
	switch {
	case q.open != nil:
		last = q.open
		last.urgent = true
		q.signal()
	case len(q.full) > 0:
		last = q.full[len(q.full)-1]
	}
	if last == nil {
		return nil
	}
	if last.flushed == nil {
		last.flushed = make(chan struct{})
	}
	return last.flushed
}

// drop notes that the partition no longer exists. Its records will fail.
func (q *partition) drop(why error) { q.gone.Store(&why) }

func (p *Engine) newBatch(now time.Time) *batch {
	b, ok := p.batches.Get().(*batch)
	if !ok {
		b = new(batch)
	}
	b.opened = now
	return b
}

// recycle gives b's buffers to a later batch.
func (p *Engine) recycle(b *batch) {
	b.builder.Reset()
	clear(b.done)
	*b = batch{builder: b.builder, done: b.done[:0]}
	p.batches.Put(b)
}
