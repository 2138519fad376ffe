package actors

import "sync"

// hands runs functions beside the actors, each at once. Some goroutines wait for the next
// function instead of ending, since the stack of a new one has to grow first.
type hands struct {
	next chan func()
	idle chan struct{} // a place for each that waits
	all  sync.WaitGroup
}

// idleHands is how many wait.
const idleHands = 8

func newHands() *hands {
	return &hands{next: make(chan func()), idle: make(chan struct{}, idleHands)}
}

func (h *hands) run(f func()) {
	select {
	case h.next <- f:
	default:
		h.all.Go(func() { h.work(f) })
	}
}

func (h *hands) work(f func()) {
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

// wait returns when all functions have returned. None is run any more when it is called.
func (h *hands) wait() {
	close(h.next)
	h.all.Wait()
}
