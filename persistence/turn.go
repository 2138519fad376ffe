package persistence

import "sync/atomic"

// turn decides who uses what belongs to a log's owner: the owner, who waits for it, or
// somebody who closes files of idle logs, who never waits. An append that meets nobody
// costs one compare-and-swap and one store.
type turn struct {
	state  atomic.Int32
	handed chan struct{} // receives a value when the owner who waits may begin
}

const (
	turnFree    int32 = iota
	turnTaken         // by the owner
	turnLent          // to who closes files
	turnClaimed       // lent, and the owner waits
)

func newTurn() turn { return turn{handed: make(chan struct{}, 1)} }

// take blocks until the turn is the owner's. There is one owner at a time.
func (t *turn) take() {
	for !t.state.CompareAndSwap(turnFree, turnTaken) {
		if t.state.CompareAndSwap(turnLent, turnClaimed) {
			<-t.handed
			return
		}
	}
}

// give ends the owner's turn.
func (t *turn) give() { t.state.Store(turnFree) }

// borrow reports whether the turn was free; giveBack returns it then.
func (t *turn) borrow() bool { return t.state.CompareAndSwap(turnFree, turnLent) }

func (t *turn) giveBack() {
	if t.state.CompareAndSwap(turnLent, turnFree) {
		return
	}
	t.state.Store(turnTaken) // by the owner who waits
	t.handed <- struct{}{}
}
