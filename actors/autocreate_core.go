package actors

import "time"

// Creators bounds how fast topics are created by their first use, for each origin: an address
// of clients, or one for all those whose address is not known here. Without it one client
// uses up autoCreateLimit within a second, and nobody else's first put creates a topic.
type Creators struct {
	PerMinute int
	By        map[string]*Creator
}

// Creator is a bucket that a minute fills.
type Creator struct {
	left float64
	at   time.Time // of left
}

// maxCreators bounds the origins that are remembered: those that have created a topic within
// a minute. Beyond it new ones share one bucket.
const maxCreators = 1024

// Take reports whether an origin may create one more topic, and counts it.
func (c *Creators) Take(origin string, now time.Time) bool {
	full := float64(c.PerMinute)
	fill := func(b *Creator) {
		b.left, b.at = min(full, b.left+full*max(now.Sub(b.at), 0).Minutes()), now
	}
	b := c.By[origin]
	if b == nil && len(c.By) >= maxCreators {
		for name, old := range c.By {
			if fill(old); old.left == full {
				delete(c.By, name)
			}
		}
		if len(c.By) >= maxCreators {
			origin = ""
			b = c.By[origin]
		}
	}
	if b == nil {
		b = &Creator{full, now}
		c.By[origin] = b
	}
	if fill(b); b.left < 1 {
		return false
	}
	b.left--
	return true
}
