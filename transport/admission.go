package transport

import (
	"sync/atomic"

	"metaq/protocol"
)

// Limits bound what is in flight: admitted and not yet answered, or about to be.
type Limits struct {
	Requests int64
	Bytes    int64
}

// budget counts what is in flight against its limits. It is safe for concurrent
// use and takes no lock.
type budget struct {
	limits   Limits
	requests atomic.Int64
	bytes    atomic.Int64
}

func newBudget(l Limits) *budget { return &budget{limits: l} }

// take admits a request of n bytes, or changes nothing and returns false. A
// request that is larger than the whole limit is admitted when nothing else is
// in flight: refused as busy it would be tried again for ever.
func (b *budget) take(n int64) bool {
	if b.requests.Add(1) > b.limits.Requests {
		b.requests.Add(-1)
		return false
	}
	if total := b.bytes.Add(n); total > b.limits.Bytes && total != n {
		b.release(1, n)
		return false
	}
	return true
}

// takeAll admits so many requests of n bytes in all, or changes nothing and returns false.
func (b *budget) takeAll(requests, n int64) bool {
	if b.requests.Add(requests) > b.limits.Requests || b.bytes.Add(n) > b.limits.Bytes {
		b.bytes.Add(-n)
		b.requests.Add(-requests)
		return false
	}
	return true
}

func (b *budget) release(requests, bytes int64) {
	b.bytes.Add(-bytes)
	b.requests.Add(-requests)
}

func (b *budget) inflight() (requests, bytes int64) { return b.requests.Load(), b.bytes.Load() }

// account is the share of one partition (or of one topic that is being created)
// in the budget of all. It is the actors.Admission of its tickets.
type account struct {
	all *budget
	own budget
}

func newAccount(all *budget, own Limits) *account {
	return &account{all: all, own: budget{limits: own}}
}

// admitAll says whether so many requests, more than one, may go on; Release gives each back.
// Without, nothing has changed, and some of them may.
func (a *account) admitAll(requests, bytes int) bool {
	if !a.own.takeAll(int64(requests), int64(bytes)) {
		return false
	}
	if !a.all.takeAll(int64(requests), int64(bytes)) {
		a.own.release(int64(requests), int64(bytes))
		return false
	}
	return true
}

// admit returns nil when a request of n bytes may go on; Release gives it back.
func (a *account) admit(n int) error {
	if !a.own.take(int64(n)) {
		return partitionBusy
	}
	if !a.all.take(int64(n)) {
		a.own.release(1, int64(n))
		return brokerBusy
	}
	return nil
}

// The refusals of a flood are encoded once: refusing has to be much cheaper than
// accepting.
var (
	partitionBusy = encodedOnce(protocol.ErrBusy.With("the partition has too many requests in flight: back off and try again"))
	overrun       = encodedOnce(protocol.ErrBusy.With("the broker is overrun: back off and try again"))
	peerBusy      = encodedOnce(protocol.ErrBusy.With("the broker that is to answer has too many requests in flight from this one: back off and try again"))
	brokerBusy    = encodedOnce(protocol.ErrBusy.With("the broker has too many requests in flight: back off and try again"))
)

// encodedError is a refusal with its wire form.
type encodedError struct {
	err  *protocol.Error
	wire []byte
}

func encodedOnce(e *protocol.Error) error { return &encodedError{e, protocol.EncodeError(e)} }

// Error gives the text.
func (e *encodedError) Error() string { return e.err.Error() }

// Unwrap gives the error to errors.Is.
func (e *encodedError) Unwrap() error { return e.err }

// Release gives back what admit took for so many requests. It is called from any
// goroutine.
func (a *account) Release(requests, bytes int) {
	a.all.release(int64(requests), int64(bytes))
	a.own.release(int64(requests), int64(bytes))
}
