package produce

import (
	"slices"
	"time"

	"metaq/protocol"
)

// maxInFlight is how many batches of a partition may be on their way: no more
// than the broker remembers of a producer.
const maxInFlight = 5

// flight holds the batches of a partition that have their numbers and are not
// reported yet, and decides what becomes of them. It is pure: sender.go sends,
// and tells it the answers and the time.
//
// Order rests on the broker, which accepts no batch while one before it is
// missing. So a batch that failed is simply sent again, with its number, and so
// are those behind it, which were refused for the gap. They are settled, that is
// reported, oldest first.
type flight struct {
	seq     sequence
	batches []*batch // oldest first; Invariant: the numbers continue one another up to seq.next
	sends   uint64   // attempts so far; each has its number
	since   uint64   // sends when the oldest batch became the oldest
}

// batchState is where a batch of a flight stands.
type batchState uint8

const (
	batchWaiting batchState = iota // to be sent, for the first time or again
	batchFlying                    // sent and not answered
	batchStored
	batchRefused // for good
)

// passage is what a flight knows of one batch.
type passage struct {
	number   protocol.Producer
	state    batchState
	deadline time.Time // when it is given up
	retryAt  time.Time // not before
	failures int       // attempts that failed for a reason of their own, not for a gap
	held     bool      // refused only because one before it is missing
	maybe    bool      // may be stored
	sent     uint64    // number of its newest attempt; 0: none that counts
	err      error     // of its newest attempt
	ack      protocol.PubAck
}

// mayAdmit reports whether one more batch could be sent at once.
func (f *flight) mayAdmit() bool {
	for _, b := range f.batches {
		if b.state == batchWaiting || b.state == batchRefused {
			return false
		}
	}
	return len(f.batches) < f.window()
}

// window is how many batches may be on their way: while the oldest one fails, it
// alone is tried.
func (f *flight) window() int {
	if len(f.batches) > 0 && f.batches[0].failures > 0 {
		return 1
	}
	return maxInFlight
}

// admit gives b the next numbers.
func (f *flight) admit(b *batch, deadline time.Time) {
	b.passage = passage{deadline: deadline}
	f.batches = append(f.batches, b)
	f.number(b)
}

func (f *flight) number(b *batch) {
	b.number = f.seq.producer()
	f.seq.advance(b.builder.Count())
}

// due returns the batch to send now, or nil and when there may be one without an
// answer; zero when there will not. The caller sends it: see sending.
func (f *flight) due(now time.Time) (*batch, time.Time) {
	for i, b := range f.batches[:min(len(f.batches), f.window())] {
		switch {
		case b.state == batchRefused:
			return nil, time.Time{} // those behind it get other numbers
		case b.state != batchWaiting:
			continue
		case i > 0 && b.held && f.batches[i-1].state != batchStored && f.batches[i-1].sent < b.sent:
			return nil, time.Time{} // what it was refused for has not changed
		case i > 0 && !now.Before(b.deadline):
			return nil, time.Time{} // it is given up as soon as it is the oldest
		case now.Before(b.retryAt):
			return nil, b.retryAt
		}
		return b, time.Time{}
	}
	return nil, time.Time{}
}

// sending notes that b is sent, and returns the attempt's number.
func (f *flight) sending(b *batch) uint64 {
	f.sends++
	b.state, b.sent, b.held = batchFlying, f.sends, false
	return f.sends
}

// answered takes the answer of an attempt, which is ack, or err with the wait
// before the next one by the number of failures before. It returns false when
// the attempt does not count any more.
func (f *flight) answered(attempt uint64, ack protocol.PubAck, err error, now time.Time, wait func(int) time.Duration) bool {
	i := slices.IndexFunc(f.batches, func(b *batch) bool { return b.sent == attempt && b.state == batchFlying })
	if i < 0 {
		return false
	}
	b := f.batches[i]
	if err == nil {
		b.state, b.ack, b.err = batchStored, ack, nil
		return true
	}
	b.state, b.err = batchWaiting, err
	if outOfSequence(err) && (i > 0 || attempt <= f.since) {
		// When it was sent one before it was not settled. That one was missing, and
		// nothing more is known.
		b.held = true
		return true
	}
	v, maybe := judge(err, b.maybe)
	switch b.maybe = maybe; v {
	case verdictFail:
		b.state = batchRefused
		return true
	case verdictRenumber:
		f.renumber()
	case verdictRetry:
	}
	b.retryAt = now.Add(wait(b.failures))
	if b.retryAt.After(b.deadline) {
		b.retryAt = b.deadline
	}
	b.failures++
	return true
}

// oldest is the batch to settle next; nil when there is none.
func (f *flight) oldest() *batch {
	if len(f.batches) == 0 {
		return nil
	}
	return f.batches[0]
}

// settle takes the oldest batch out: stored, or given up.
//
// When it is certainly not stored, none behind it is, and none may count on it:
// they get new numbers. When it may be, so may those behind it, and only
// their own numbers can tell; with none behind it new numbers are free. Whatever
// is still on its way under the old numbers is refused once the new ones are known.
func (f *flight) settle() {
	b := f.batches[0]
	f.batches = slices.Delete(f.batches, 0, 1)
	f.since = f.sends
	if b.state != batchStored && (!b.maybe || len(f.batches) == 0) {
		f.renumber()
	}
}

// renumber begins a new sequence with what is left, none of which is stored.
func (f *flight) renumber() {
	f.seq.renew()
	for _, b := range f.batches {
		f.number(b)
		b.held, b.maybe, b.sent = false, false, 0
		if b.state != batchRefused {
			b.state = batchWaiting
		}
	}
}
