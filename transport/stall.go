package transport

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"metaq/actors"
	"metaq/protocol"
	"metaq/transport/front"
)

// A process that stands still (SIGSTOP, a paused machine, a swapped-out page that does not
// come) reads, when it resumes, what clients sent long ago. They have given up, and what they
// asked for may since have been done, and undone, by another broker. Nothing in a request
// says how old it is, but the process sees from its clocks that it stood still: for a while
// it then carries out nothing that destroys.

const (
	// clientWait is how long a client waits for an answer when nobody says otherwise.
	clientWait = 5 * time.Second
	// stallLimit is the shortest standstill that makes a request older than its client's
	// wait. It is less than clientWait, since the request was on its way before.
	stallLimit = 4 * time.Second
	// stallLook is how often the clocks are looked at.
	stallLook = 250 * time.Millisecond
)

// stalls notices standstills.
type stalls struct {
	noticed func(time.Duration) // called once for each

	mu    sync.Mutex // guards what follows
	last  time.Time  // the latest look
	until time.Time  // what is read before may be from before the latest standstill
	stood time.Duration
}

func newStalls(now time.Time, noticed func(time.Duration)) *stalls {
	return &stalls{noticed: noticed, last: now}
}

// look returns how long the process stood still when what is read now may have been sent
// before that, and 0 otherwise. Whoever comes first after the standstill notices it: the
// goroutine that looks, or one that has a request in its hand.
func (s *stalls) look(now time.Time) time.Duration {
	s.mu.Lock()
	gap := max(now.Sub(s.last), now.Round(0).Sub(s.last.Round(0))) // a suspended machine moves only the wall clock
	s.last = now
	fresh := gap >= stallLimit
	if fresh {
		s.until, s.stood = now.Add(clientWait), gap
	}
	stood := s.stood
	if !now.Before(s.until) {
		stood = 0
	}
	s.mu.Unlock()
	if fresh {
		s.noticed(gap)
	}
	return stood
}

// run looks until ctx ends.
func (s *stalls) run(ctx context.Context) {
	tick := time.NewTicker(stallLook)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.look(time.Now())
		case <-ctx.Done():
			return
		}
	}
}

// listener returns whether the client that asked m still listens for the answer; nil when nobody
// knows: with an external NATS server, and for what another broker sent on.
func (g *Gateway) listener(m *nats.Msg) actors.Heard {
	reply := m.Reply
	switch {
	case front.Mine(reply):
		return func() bool { return g.opts.Front.Connected(reply) }
	case g.opts.Listens == nil || g.sentOn(m):
		return nil
	default:
		return func() bool {
			if g.opts.Front != nil {
				g.opts.Front.Wake(reply) // the server may not know of the inbox yet
			}
			return g.opts.Listens(reply)
		}
	}
}

// current refuses a request that destroys something and may be older than its client's wait.
func (g *Gateway) current() error {
	if stood := g.stalls.look(time.Now()); stood > 0 {
		return protocol.ErrUnavailable.With(
			"this broker has stood still for %s, and the request may be from before that: nothing was changed, and this request will not be carried out: try again",
			stood.Round(100*time.Millisecond))
	}
	return nil
}
