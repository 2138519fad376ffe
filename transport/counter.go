package transport

import (
	"sync"
	"sync/atomic"

	"metaq/transport/front"
)

// counter is where the front's clients hand their requests over to the dispatcher. Who
// sends faster than that looks is not refused but waits, and is not read from meanwhile.
type counter struct {
	requests chan *front.Requests
	waiting  budget       // what was handed over and not looked at
	held     atomic.Int64 // clients that wait

	mu   sync.Mutex
	room sync.Cond
}

// newCounter returns one with places for so many that were handed over together.
func newCounter(places int) *counter {
	c := &counter{
		requests: make(chan *front.Requests, places),
		waiting:  budget{limits: Limits{Requests: int64(places), Bytes: readAhead}},
	}
	c.room.L = &c.mu
	return c
}

// hand returns when the dispatcher will look at them.
func (c *counter) hand(r *front.Requests) {
	if n := int64(r.Bytes); !c.waiting.take(1, n) {
		c.wait(n)
	}
	c.requests <- r // there is a place
}

// wait takes n bytes when there is room. Its caller counts as held before it tries, so the
// next that is looked at finds it, or leaves it room.
func (c *counter) wait(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held.Add(1)
	for !c.waiting.take(1, n) {
		c.room.Wait()
	}
	c.held.Add(-1)
}

// looked says that requests of n bytes do not wait any more. Who waits is told when half of
// the room is there, not each time.
func (c *counter) looked(n int) {
	c.waiting.release(1, int64(n))
	if c.held.Load() == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if requests, bytes := c.waiting.inflight(); requests <= c.waiting.limits.Requests/2 && bytes <= c.waiting.limits.Bytes/2 {
		c.room.Broadcast()
	}
}
