package produce

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"metaq/client/internal/link"
	"metaq/protocol"
)

// answer is what came of an attempt.
type answer struct {
	attempt uint64
	data    []byte
	err     error
}

// run hands the partition's batches over and ends when there is none.
func (q *partition) run() {
	for {
		now := q.p.now()
		q.takeAnswers(now)
		if q.settle(now) {
			continue
		}
		b, at := q.flight.due(now)
		if b != nil {
			q.send(b, now)
			continue
		}
		if q.flight.mayAdmit() {
			b, linger, ok := q.take(now, q.p.asking.Err() != nil, len(q.flight.batches) > 0)
			switch {
			case !ok:
				return
			case b != nil:
				q.flight.admit(b, b.opened.Add(q.p.o.DeliveryTimeout))
				continue
			case linger > 0:
				at = now.Add(linger)
			}
		}
		q.wait(now, at)
	}
}

// wait returns at the time at, if there is one, and when there is news: an answer,
// a batch that is full or wanted, the end of the producer.
func (q *partition) wait(now, at time.Time) {
	var due <-chan time.Time
	if !at.IsZero() {
		t := time.NewTimer(at.Sub(now))
		defer t.Stop()
		due = t.C
	}
	select {
	case <-due:
	case <-q.wake:
	case <-unlessOver(q.p.asking):
	case <-unlessOver(q.p.ctx):
	}
}

// unlessOver is what tells of ctx's end, and nothing once that is known.
func unlessOver(ctx context.Context) <-chan struct{} {
	if ctx.Err() != nil {
		return nil
	}
	return ctx.Done()
}

// send is one attempt.
func (q *partition) send(b *batch, now time.Time) {
	if b.encoded != b.number || b.data == nil {
		b.data, b.encoded = b.builder.Encode(q.p.o.Compression, b.number), b.number
	}
	attempt := q.flight.sending(b)
	deadline := b.deadline
	if most := now.Add(q.p.o.RequestTimeout); most.Before(deadline) {
		deadline = most
	}
	ctx, cancel := context.WithDeadline(q.p.ctx, deadline)
	q.p.c.Link.Post(ctx, q.subject, b.data, func(data []byte, err error) {
		cancel()
		q.mu.Lock()
		q.answers = append(q.answers, answer{attempt, data, err})
		q.mu.Unlock()
		q.signal()
	})
}

// takeAnswers gives the flight what has come.
func (q *partition) takeAnswers(now time.Time) {
	q.mu.Lock()
	answers := q.answers
	q.answers = nil
	q.mu.Unlock()
	for _, a := range answers {
		ack, err := q.decode(&a)
		counts := q.flight.answered(a.attempt, ack, err, now, link.Backoff)
		if err != nil && counts && !outOfSequence(err) {
			q.note(err)
		}
	}
}

func (q *partition) decode(a *answer) (ack protocol.PubAck, err error) {
	if a.err != nil {
		return ack, a.err
	}
	if err := protocol.DecodeError(a.data); err != nil {
		return ack, err
	}
	if err := json.Unmarshal(a.data, &ack); err != nil {
		return ack, fmt.Errorf("decode answer to %s: %w", q.subject, err)
	}
	return ack, nil
}

// settle reports the oldest batch if it is known what became of it.
func (q *partition) settle(now time.Time) bool {
	b := q.flight.oldest()
	if b == nil || b.state == batchFlying {
		return false
	}
	var err error
	switch {
	case b.state == batchStored && (b.ack.Partition != q.id || b.ack.Count != b.builder.Count()):
		b.state, b.maybe = batchRefused, true
		err = fmt.Errorf("answer to %s is for %d records of %s, %d of %s were sent",
			q.subject, b.ack.Count, b.ack.Partition, b.builder.Count(), q.id)
	case b.state == batchRefused:
		err = b.err
	case b.state == batchWaiting:
		if err = q.stopReason(b, now); err == nil {
			return false
		}
	}
	if err != nil {
		if b.maybe {
			// err may promise that nothing is stored, so only its text goes along.
			err = fmt.Errorf("%w: %s", ErrOutcomeUnknown, err.Error())
		}
		err = fmt.Errorf("send to %s %s: %w", q.t.name, q.id, err)
	}
	q.failing.Store(false)
	q.flight.settle()
	q.report(b, &b.ack, err)
	return true
}

// stopReason says why a batch may not be tried, or is nil.
func (q *partition) stopReason(b *batch, now time.Time) error {
	switch gone := q.gone.Load(); {
	case q.p.ctx.Err() != nil:
		return fmt.Errorf("the producer is %w", link.ErrClosed)
	case gone != nil:
		return *gone
	case now.Before(b.deadline):
		return nil
	case b.err != nil:
		return fmt.Errorf("%w of %v: %w", ErrNotDelivered, q.p.o.DeliveryTimeout, b.err)
	default:
		return fmt.Errorf("%w of %v: an earlier batch took all of it", ErrNotDelivered, q.p.o.DeliveryTimeout)
	}
}

// note draws conclusions from a failure: where nobody answers, records without a
// key go elsewhere and the topic is asked for again.
func (q *partition) note(err error) {
	if !link.Retriable(err) && !link.NotThere(err) || errors.Is(err, protocol.ErrBusy) {
		return
	}
	if errors.Is(err, link.ErrNoBroker) || link.NotThere(err) {
		q.failing.Store(true)
	}
	q.t.refreshSoon()
}

// report tells everybody what became of b, in order.
func (q *partition) report(b *batch, ack *protocol.PubAck, err error) {
	offset := ack.Offset
	// Room is given back first, so that a callback can send another record.
	q.p.buffer.release(b.bytes, int64(len(b.done)))
	for _, done := range b.done {
		if done != nil {
			if err != nil {
				done.Report(q.t.name, q.id, -1, err)
			} else {
				done.Report(q.t.name, q.id, offset, nil)
			}
		}
		offset++
	}
	q.mu.Lock()
	if q.last == b {
		q.last = nil
	}
	flushed := b.flushed // nobody can ask for it any more
	q.mu.Unlock()
	if flushed != nil {
		close(flushed)
	}
	q.p.recycle(b)
}
