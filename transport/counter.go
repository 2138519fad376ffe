package transport

import (
	"sync"
	"sync/atomic"

	"metaq/transport/front"
)

// counter is where the front's clients hand their requests over to the dispatcher. Who
// sends faster than that looks is not refused but waits, and is not read from meanwhile.
type counter struct {
	requests chan front.Requests
	limit    int64        // most bytes that wait to be looked at
	bytes    atomic.Int64 // that do
	held     atomic.Int64 // clients that wait

	mu   sync.Mutex
	room sync.Cond
}

// newCounter returns one with places for so many that were handed over together.
func newCounter(places int) *counter {
	c := &counter{requests: make(chan front.Requests, places), limit: readAhead}
	c.room.L = &c.mu
	return c
}

// hand returns when the dispatcher will look at them.
func (c *counter) hand(r front.Requests) {
	if n := int64(r.Bytes); !c.take(n) {
		c.wait(n)
	}
	select {
	case c.requests <- r:
	default:
		c.held.Add(1)
		c.requests <- r
		c.held.Add(-1)
	}
}

// take makes n bytes wait, or says that there is no room. What is larger than all the
// room gets it when nothing else waits.
func (c *counter) take(n int64) bool {
	if all := c.bytes.Add(n); all > c.limit && all != n {
		c.bytes.Add(-n)
		return false
	}
	return true
}

func (c *counter) wait(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held.Add(1)
	for !c.take(n) {
		c.room.Wait()
	}
	c.held.Add(-1)
}

// looked says that n bytes do not wait any more. Who waits is told when half of the room
// is there, not each time.
func (c *counter) looked(n int) {
	c.bytes.Add(-int64(n))
	if c.held.Load() == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bytes.Load() <= c.limit/2 {
		c.room.Broadcast()
	}
}
