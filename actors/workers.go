package actors

import (
	"context"
	"sync"
)

// Workers runs slow work outside the actors, a bounded number at a time. What
// was given to it is finished before Wait returns.
type Workers struct {
	places chan struct{}
	all    sync.WaitGroup
}

// NewWorkers returns workers of which n run at a time.
func NewWorkers(n int) *Workers { return &Workers{places: make(chan struct{}, n)} }

// Run starts work on a goroutine of its own once there is a place. The work
// sends its result as a message.
func (w *Workers) Run(work func()) {
	w.all.Go(func() {
		w.places <- struct{}{}
		defer func() { <-w.places }()
		work()
	})
}

// RunUntil is run for work that ends with ctx: when that is over before there is a place
// the work runs without one, and returns at once.
func (w *Workers) RunUntil(ctx context.Context, work func()) {
	w.all.Go(func() {
		select {
		case w.places <- struct{}{}:
			defer func() { <-w.places }()
		case <-ctx.Done():
		}
		work()
	})
}

// Wait returns when all work has ended; no more may be given meanwhile.
func (w *Workers) Wait() { w.all.Wait() }
