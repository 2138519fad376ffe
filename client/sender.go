package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"metaq/protocol"
)

// run hands the partition's batches over, one after the other, and ends when
// there is none.
func (q *partition) run() {
	for {
		b, linger, ok := q.take(q.p.now(), q.p.asking.Err() != nil)
		if !ok {
			return
		}
		if b == nil {
			q.linger(linger)
			continue
		}
		ack, err := q.deliver(b)
		q.report(b, &ack, err)
	}
}

// linger waits for d, or until the batch is full or wanted, or Close begins.
func (q *partition) linger(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-q.wake:
	case <-q.p.asking.Done():
	}
}

// deliver tries to have b stored until the delivery timeout. Its error says
// whether b may be stored: it is ErrOutcomeUnknown then.
func (q *partition) deliver(b *batch) (protocol.PubAck, error) {
	defer q.failing.Store(false)
	deadline := b.opened.Add(q.p.o.deliveryTimeout)
	maybe := false // b may be stored
	data := b.builder.Encode(q.p.o.compression, q.seq.producer())
	var last error
	for attempt := 0; ; attempt++ {
		stop := q.stopReason(deadline, last)
		if stop == nil {
			ack, err := q.attempt(b, data, deadline)
			if err == nil {
				q.seq.advance(b.builder.Count())
				return ack, nil
			}
			last, stop = err, err
			var v verdict
			switch v, maybe = judge(err, maybe); v {
			case verdictRenumber:
				q.seq.renew()
				data = b.builder.Encode(q.p.o.compression, q.seq.producer())
				stop = nil
			case verdictRetry:
				q.note(err)
				stop = nil
			case verdictFail:
			}
		}
		if stop != nil {
			// Whether the broker counted these records does not matter under a new
			// epoch, and a late copy of this batch is refused. Were the numbers used
			// again, the next batch could be taken for this one and be lost.
			q.seq.renew()
			if maybe {
				// stop may promise that nothing is stored, so only its text goes along.
				stop = fmt.Errorf("%w: %s", ErrOutcomeUnknown, stop.Error())
			}
			return protocol.PubAck{}, fmt.Errorf("send to %s %s: %w", q.t.name, q.id, stop)
		}
		_ = pause(q.p.ctx, min(backoff(attempt), deadline.Sub(q.p.now()))) // its end is seen above
	}
}

// stopReason says why a batch may not be tried, or is nil. last is the error of
// the last attempt.
func (q *partition) stopReason(deadline time.Time, last error) error {
	switch gone := q.gone.Load(); {
	case q.p.ctx.Err() != nil:
		return fmt.Errorf("the producer is %w", ErrClosed)
	case gone != nil:
		return *gone
	case !q.p.now().Before(deadline) && last != nil:
		return fmt.Errorf("%w of %v: %w", ErrNotDelivered, q.p.o.deliveryTimeout, last)
	case !q.p.now().Before(deadline):
		return fmt.Errorf("%w of %v: an earlier batch took all of it", ErrNotDelivered, q.p.o.deliveryTimeout)
	default:
		return nil
	}
}

// note draws conclusions from a failure: where nobody answers, records without a
// key go elsewhere and the topic is asked for again.
func (q *partition) note(err error) {
	if errors.Is(err, protocol.ErrBusy) {
		return
	}
	if errors.Is(err, ErrNoBroker) || notThere(err) {
		q.failing.Store(true)
	}
	q.t.refreshSoon()
}

// attempt sends the batch once.
func (q *partition) attempt(b *batch, data []byte, deadline time.Time) (protocol.PubAck, error) {
	if most := q.p.now().Add(q.p.o.requestTimeout); most.Before(deadline) {
		deadline = most
	}
	ctx, cancel := context.WithDeadline(q.p.ctx, deadline)
	defer cancel()
	var ack protocol.PubAck
	answer, err := q.p.c.link.request(ctx, q.subject, data)
	if err != nil {
		return ack, err
	}
	if err := protocol.DecodeError(answer); err != nil {
		return ack, err
	}
	if err := json.Unmarshal(answer, &ack); err != nil {
		return ack, fmt.Errorf("decode answer to %s: %w", q.subject, err)
	}
	if ack.Partition != q.id || ack.Count != b.builder.Count() {
		return ack, fmt.Errorf("answer to %s is for %d records of %s, %d of %s were sent",
			q.subject, ack.Count, ack.Partition, b.builder.Count(), q.id)
	}
	return ack, nil
}

// report tells everybody what became of b, in order.
func (q *partition) report(b *batch, ack *protocol.PubAck, err error) {
	res := Result{Topic: q.t.name, Partition: q.id, Offset: ack.Offset}
	// Room is given back first, so that a callback can send another record.
	q.p.buffer.release(b.bytes, int64(len(b.done)))
	for _, done := range b.done {
		if done != nil {
			if err != nil {
				done(Result{Topic: q.t.name, Partition: q.id, Offset: -1}, err)
			} else {
				done(res, nil)
			}
		}
		res.Offset++
	}
	q.mu.Lock()
	q.sending = nil
	flushed := b.flushed // nobody can ask for it any more
	q.mu.Unlock()
	if flushed != nil {
		close(flushed)
	}
	q.p.recycle(b)
}
