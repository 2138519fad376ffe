package transport

import (
	"sync/atomic"

	"metaq/actors"
	"metaq/protocol"
	"metaq/transport/turns"
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

// take admits requests of n bytes in all, or changes nothing and returns false. One that
// is larger than the whole limit is admitted when nothing else is in flight: refused as
// busy it would be tried again for ever.
func (b *budget) take(requests, n int64) bool {
	if b.requests.Add(requests) > b.limits.Requests {
		b.requests.Add(-requests)
		return false
	}
	total := b.bytes.Add(n)
	if alone := requests == 1 && total == n; total > b.limits.Bytes && !alone {
		b.release(requests, n)
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
	all  *budget
	own  budget
	busy error // when its own is used up
}

func newAccount(all *budget, own Limits) *account {
	return &account{all: all, own: budget{limits: own}, busy: partitionBusy}
}

// admit returns nil when requests of n bytes in all may go on; Release gives each back. Of
// those that may not, some may.
func (a *account) admit(requests, n int) error {
	if !a.own.take(int64(requests), int64(n)) {
		return a.busy
	}
	if !a.all.take(int64(requests), int64(n)) {
		a.own.release(int64(requests), int64(n))
		return brokerBusy
	}
	return nil
}

// The refusals of a flood are encoded once: refusing has to be much cheaper than
// accepting.
var (
	partitionBusy = encodedOnce(protocol.ErrBusy.With("the partition has too many requests in flight: back off and try again"))
	groupsBusy    = encodedOnce(protocol.ErrBusy.With("the broker has too many requests to groups in flight: back off and try again"))
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

// Shares of one connection, and of all of them, in the requests that are under way. They are
// far below what the actors can hold: what lies in a mailbox stands before the requests of
// everybody else. A client that sends more is not read from until an earlier request has been
// answered. Nothing is refused.
const (
	groupShare = 64 // of members, and of joins and deletions
	groupTurns = 512
	// adminShare is also that of requests for which a group asks its partitions: while one
	// waits, so may the commits of other groups, which ask as well.
	adminShare = 16
	// questionTurns bounds those, and questions of the administration. Its changes may wait for
	// the registry: they have places of their own, as many as Options.Admin.
	questionTurns = 64
)

// controlTurns are those of all control requests.
type controlTurns struct {
	questions *turns.Turns // of the administration
	changes   *turns.Turns // what of the administration may wait for the registry
	members   *turns.Turns // requests of members; a heartbeat only until the group has looked at it
	asking    *turns.Turns // requests to groups for which these ask their partitions
	groups    *turns.Turns // other requests to groups: they may wait for the registry
}

func newControlTurns(admin int, leaving <-chan struct{}) controlTurns {
	return controlTurns{
		questions: turns.New(min(adminShare, admin), min(questionTurns, admin), leaving),
		changes:   turns.New(min(adminShare, admin), admin, leaving),
		members:   turns.New(groupShare, groupTurns, leaving),
		asking:    turns.New(adminShare, questionTurns, leaving),
		groups:    turns.New(groupShare, groupTurns, leaving),
	}
}

// changes reports whether a request of the administration may wait for the registry.
func changes(request any) bool {
	switch request.(type) {
	case actors.Dated, actors.AutoCreate, actors.GrantProducer:
		return true
	}
	return false
}

// ofAdmin returns those of a request of the administration.
func (c *controlTurns) ofAdmin(request any) *turns.Turns {
	if changes(request) {
		return c.changes
	}
	return c.questions
}

// ofGroup returns those of a request to a group. A group answers its members without asking
// anybody: they must not wait behind joins, which may wait for the registry.
func (c *controlTurns) ofGroup(request any) *turns.Turns {
	switch request.(type) {
	case protocol.GroupHeartbeat, protocol.GroupCommit, protocol.GroupLeave:
		return c.members
	case actors.GroupDescribe, protocol.GroupReset:
		return c.asking
	}
	return c.groups
}

// held returns how many connections wait for their turn.
func (c *controlTurns) held() int64 {
	return c.questions.Held() + c.changes.Held() + c.members.Held() + c.asking.Held() + c.groups.Held()
}

// seatedAccount is the account of a request to a group that has a place.
type seatedAccount struct {
	*account
	seat *turns.Seat
}

// Release implements actors.Admission.
func (a seatedAccount) Release(requests, bytes int) {
	a.account.Release(requests, bytes)
	a.seat.EndTicket()
}
