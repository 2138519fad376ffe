package persistence

import (
	"slices"
	"sync"

	"metaq/protocol"
)

const (
	cachedPlaces = 16
	openSegments = 4 // sealed ones, in each log
)

// place is where a read ended, and so where its reader's next one begins.
type place struct {
	chain   chain
	segment *segment
	at      int64
	cuts    uint64 // Log.cuts when it was found: a truncation makes it worthless
}

// readCache spares sequential readers the index, and bounds the open files.
type readCache struct {
	mu     sync.Mutex // guards the fields below
	places [cachedPlaces]place
	oldest int
	open   []*segment // least recently opened first
}

func (l *Log) readCache() *readCache {
	if c := l.cache.Load(); c != nil {
		return c
	}
	l.cache.CompareAndSwap(nil, new(readCache))
	if c := l.cache.Load(); c != nil {
		return c
	}
	return new(readCache) // parked in this moment
}

func (c *readCache) remember(p place) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.places[c.oldest] = p
	c.oldest = (c.oldest + 1) % cachedPlaces
}

// recall returns the place of offset and forgets it: its reader moves on.
func (c *readCache) recall(s *segment, offset protocol.Offset, cuts uint64) (place, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, p := range c.places {
		if p.segment == s && p.chain.next == offset && p.cuts == cuts {
			c.places[i] = place{}
			return p, true
		}
	}
	return place{}, false
}

// acquire opens s for reading. Of the sealed segments only the last few that
// were opened stay open.
func (l *Log) acquire(s *segment, sealed bool) (*handle, error) {
	l.use()
	h, err := s.acquire(l.calm)
	if err != nil || !sealed {
		return h, err
	}
	if drop := l.readCache().keep(s); drop != nil {
		drop.drop()
	}
	return h, nil
}

// keep notes that s stays open. It returns the segment that no longer does, or nil.
func (c *readCache) keep(s *segment) (drop *segment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if slices.Contains(c.open, s) {
		return nil
	}
	if len(c.open) == openSegments {
		drop, c.open = c.open[0], append(c.open[:0], c.open[1:]...)
	}
	c.open = append(c.open, s)
	return drop
}
