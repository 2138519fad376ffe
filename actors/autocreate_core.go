package actors

import "time"

// creators bounds how fast topics are created by their first use, for each origin: an address
// of clients, or one for all those whose address is not known here. Without it one client
// uses up autoCreateLimit within a second, and nobody else's first put creates a topic.
type creators struct {
	perMinute int
	by        map[string]*creator
}

// creator is a bucket that a minute fills.
type creator struct {
	left float64
	at   time.Time // of left
}

// maxCreators bounds the origins that are remembered: those that have created a topic within
// a minute. Beyond it new ones share one bucket.
const maxCreators = 1024

// take reports whether an origin may create one more topic, and counts it.
func (c *creators) take(origin string, now time.Time) bool {
	full := float64(c.perMinute)
	fill := func(b *creator) {
		b.left, b.at = min(full, b.left+full*max(now.Sub(b.at), 0).Minutes()), now
	}
	b := c.by[origin]
	if b == nil && len(c.by) >= maxCreators {
		for name, old := range c.by {
			if fill(old); old.left == full {
				delete(c.by, name)
			}
		}
		if len(c.by) >= maxCreators {
			origin = ""
			b = c.by[origin]
		}
	}
	if b == nil {
		b = &creator{full, now}
		c.by[origin] = b
	}
	if fill(b); b.left < 1 {
		return false
	}
	b.left--
	return true
}
