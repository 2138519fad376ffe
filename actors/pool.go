package actors

import "sync"

// Pool runs functions beside the actors, each at once. Some goroutines wait for the next
// function instead of ending, since the stack of a new one has to grow first.
type Pool struct {
	next chan func()
	idle chan struct{} // a place for each that waits
	all  sync.WaitGroup
}

// idleHands is how many wait.
const idleHands = 8

// NewPool returns a pool without goroutines.
func NewPool() *Pool {
	return &Pool{next: make(chan func()), idle: make(chan struct{}, idleHands)}
}

// Run runs f on a goroutine that waits, or on a new one.
func (h *Pool) Run(f func()) {
	select {
	case h.next <- f:
	default:
		h.all.Go(func() { h.work(f) })
	}
}

func (h *Pool) work(f func()) {
	for ok := true; ok; {
		f()
		select {
		case h.idle <- struct{}{}:
			f, ok = <-h.next
			<-h.idle
		default:
			return
		}
	}
}

// Wait returns when all functions have returned. None is run any more when it is called.
func (h *Pool) Wait() {
	close(h.next)
	h.all.Wait()
}
