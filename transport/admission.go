package transport

import (
	"sync/atomic"

	"metaq/protocol"
)

// Limits bound what is in flight: admitted and not yet answered.
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
		b.release(n)
		return false
	}
	return true
}

func (b *budget) release(n int64) {
	b.bytes.Add(-n)
	b.requests.Add(-1)
}

// account is the share of one partition (or of one topic that is being created)
// in the budget of all. It is the actors.Admission of its tickets.
type account struct {
	all *budget
	own budget
}

func newAccount(all *budget, own Limits) *account {
	return &account{all: all, own: budget{limits: own}}
}

// admit returns nil when a request of n bytes may go on; Release gives it back.
func (a *account) admit(n int) error {
	if !a.own.take(int64(n)) {
		return protocol.ErrBusy.With("the partition has %d requests with %d bytes in flight: back off and try again",
			a.own.requests.Load(), a.own.bytes.Load())
	}
	if !a.all.take(int64(n)) {
		a.own.release(int64(n))
		return protocol.ErrBusy.With("the broker has %d requests with %d bytes in flight: back off and try again",
			a.all.requests.Load(), a.all.bytes.Load())
	}
	return nil
}

// Release gives back what admit took. It is called from any goroutine.
func (a *account) Release(n int) {
	a.all.release(int64(n))
	a.own.release(int64(n))
}
