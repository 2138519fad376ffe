package actors

import (
	"context"
	"sync"
	"time"
)

// peerWait is how long another broker has to answer.
const peerWait = time.Second

// FromAll asks brokers at the same time and returns what those said that answered
// within a second.
func FromAll[T any](brokers []int, ask func(context.Context, int) (T, error)) map[int]T {
	ctx, cancel := context.WithTimeout(context.Background(), peerWait)
	defer cancel()
	var (
		all sync.WaitGroup
		mu  sync.Mutex // guards out
		out = make(map[int]T)
	)
	for _, id := range brokers {
		all.Go(func() {
			if answer, err := ask(ctx, id); err == nil {
				mu.Lock()
				defer mu.Unlock()
				out[id] = answer
			}
		})
	}
	all.Wait()
	return out
}
