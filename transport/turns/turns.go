// Package turns admits requests of many connections, so that none of them stands before the
// others with all that it has sent: each has its share, and they take turns. It starts no
// goroutine; it holds the connections' own.
package turns

import (
	"slices"
	"sync"
	"sync/atomic"
)

// Turns admits requests of the front's connections, each of which has its share. Connections
// that wait are served in the order in which they came; since a connection waits with one
// request at a time, that is one request of each in turn.
type Turns struct {
	share, all int             // places
	leaving    <-chan struct{} // closed: nobody waits any more

	mu      sync.Mutex // guards what follows
	now     int        // places in use
	of      map[uint64]int
	waiting []turn          // Invariant: each of them fits into its connection's share
	own     map[uint64]turn // those that wait for an answer to their own connection
}

// turn is a connection that waits; begin is closed when its request was admitted.
type turn struct {
	client uint64
	places int
	begin  chan struct{}
}

// New returns one in which a connection has share places, and all together have all. Once
// leaving is closed nobody waits.
func New(share, all int, leaving <-chan struct{}) *Turns {
	return &Turns{share: share, all: all, leaving: leaving, of: make(map[uint64]int), own: make(map[uint64]turn)}
}

// PlaceSize is how many bytes of a request take another place: a share in requests alone would
// let one connection fill the bound on the bytes of all.
const PlaceSize = 16 << 10

// Places returns how many places a request of n bytes takes.
func (t *Turns) Places(n int) int { return min(1+n/PlaceSize, t.share) }

// Enter returns when a request of the client may begin. One goroutine calls it for each
// client, that of its connection. Every call is followed by one of Leave.
func (t *Turns) Enter(client uint64, places int) {
	one := turn{client: client, places: places}
	t.mu.Lock()
	switch {
	case !t.fitsShareLocked(one):
		one.begin = make(chan struct{})
		t.own[client] = one
	case len(t.waiting) > 0 || t.now+places > t.all:
		one.begin = make(chan struct{})
		t.waiting = append(t.waiting, one)
	default:
		t.beginLocked(one)
	}
	t.mu.Unlock()
	if one.begin == nil {
		return
	}
	select {
	case <-one.begin:
	case <-t.leaving:
		t.hurry(one)
	}
}

// hurry admits one that waits, unless that has happened.
func (t *Turns) hurry(one turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.own[one.client] == one {
		delete(t.own, one.client)
		t.beginLocked(one)
	} else if i := slices.Index(t.waiting, one); i >= 0 {
		t.waiting = slices.Delete(t.waiting, i, i+1)
		t.beginLocked(one)
	}
}

func (t *Turns) fitsShareLocked(one turn) bool { return t.of[one.client]+one.places <= t.share }

func (t *Turns) beginLocked(one turn) {
	t.now += one.places
	t.of[one.client] += one.places
}

// Leave ends what Enter began. It is called from any goroutine.
func (t *Turns) Leave(client uint64, places int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now -= places
	if t.of[client] -= places; t.of[client] == 0 {
		delete(t.of, client)
	}
	if one, waits := t.own[client]; waits && t.fitsShareLocked(one) {
		delete(t.own, client)
		t.waiting = append(t.waiting, one) // behind those of other connections
	}
	for len(t.waiting) > 0 && t.now+t.waiting[0].places <= t.all {
		next := t.waiting[0]
		t.waiting = t.waiting[1:]
		t.beginLocked(next)
		close(next.begin)
	}
}

// Held returns how many connections wait.
func (t *Turns) Held() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return int64(len(t.waiting) + len(t.own))
}

// Seat is the place of one request in Turns. It is given back once, however often Leave is
// called.
type Seat struct {
	turns  *Turns
	client uint64
	places int
	once   sync.Once
	kept   atomic.Bool // until another broker has answered
}

// Take waits for a place for a request of the client of n bytes; 0 is no client of the front,
// and takes none.
func (t *Turns) Take(client uint64, n int) *Seat {
	if client == 0 {
		return nil
	}
	places := t.Places(n)
	t.Enter(client, places)
	return &Seat{turns: t, client: client, places: places}
}

// Keep makes the place outlive the request's ticket: who calls it will call Leave, and
// EndTicket does nothing.
func (s *Seat) Keep() *Seat {
	if s != nil {
		s.kept.Store(true)
	}
	return s
}

// Leave gives the place back. A nil seat has none.
func (s *Seat) Leave() {
	if s != nil {
		s.once.Do(func() { s.turns.Leave(s.client, s.places) })
	}
}

// EndTicket is Leave, unless Keep was called before.
func (s *Seat) EndTicket() {
	if s != nil && !s.kept.Load() {
		s.Leave()
	}
}
