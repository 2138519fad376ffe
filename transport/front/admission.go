package front

import (
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Why a connection is refused, as clients and the log are told. The first is the NATS
// server's own text, which libraries know.
const (
	tooMany        = "maximum connections exceeded"
	tooManyAddress = "maximum connections from this address exceeded"
	tooSilent      = "Authentication Timeout"
	tooManySilent  = "too many connections wait for their CONNECT"
)

// Limits bound the connections of clients. 0 means no limit.
type Limits struct {
	// Connections of all clients; PerAddress of those from one address, of which new ones are
	// taken at a tenth of it a second after a burst of all of it.
	Connections, PerAddress int
	// Silent is how many connections may be there before their CONNECT: beyond it the oldest
	// of them is closed. ConnectTimeout is how long each may take for it.
	Silent         int
	ConnectTimeout time.Duration
}

// admission counts connections from their acceptance to their end.
type admission struct {
	limits  Limits
	refused atomic.Int64
	leaving atomic.Int64 // are turned away and have not closed

	mu      sync.Mutex // guards what follows
	open    int
	from    map[netip.Addr]*address
	pending int     // before CONNECT
	waiting []*conn // those, the oldest first, with some that are not any more
}

// address is one from which clients come.
type address struct {
	open   int
	tokens float64 // new connections that are taken at once
	at     time.Time
}

// manyAddresses is from where on addresses that nobody uses are forgotten.
const manyAddresses = 10_000

// enter takes a connection, or returns why not. leave gives it back.
func (a *admission) enter(at netip.Addr, now time.Time) (why string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.limits.Connections > 0 && a.open >= a.limits.Connections {
		return tooMany
	}
	if most := a.limits.PerAddress; most > 0 {
		if !a.addressLocked(at, now).take(most, now) {
			return tooManyAddress
		}
	}
	a.open++
	return ""
}

func (a *admission) addressLocked(at netip.Addr, now time.Time) *address {
	if a.from == nil {
		a.from = make(map[netip.Addr]*address)
	}
	one := a.from[at]
	if one != nil {
		return one
	}
	if len(a.from) >= manyAddresses {
		for other, is := range a.from {
			if is.fill(a.limits.PerAddress, now); is.open == 0 && is.tokens >= float64(a.limits.PerAddress) {
				delete(a.from, other)
			}
		}
	}
	one = &address{tokens: float64(a.limits.PerAddress), at: now}
	a.from[at] = one
	return one
}

func (a *address) fill(most int, now time.Time) {
	a.tokens = min(float64(most), a.tokens+now.Sub(a.at).Seconds()*float64(most)/10)
	a.at = now
}

func (a *address) take(most int, now time.Time) bool {
	a.fill(most, now)
	if a.open >= most || a.tokens < 1 {
		return false
	}
	a.open++
	a.tokens--
	return true
}

// leave says that a connection from at has gone.
func (a *admission) leave(at netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open--
	if one := a.from[at]; one != nil {
		one.open--
	}
}

// wait notes that c has said nothing yet, and returns who has to go for it, or nil.
func (a *admission) wait(c *conn) (oldest *conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pending++
	a.waiting = append(a.waiting, c)
	most := a.limits.Silent
	for len(a.waiting) > 0 && (a.waiting[0].settled || most > 0 && a.pending > most) {
		c := a.waiting[0]
		a.waiting[0] = nil
		a.waiting = a.waiting[1:]
		if !c.settled {
			a.settleLocked(c)
			return c
		}
	}
	if len(a.waiting) > 2*a.pending+64 { // one at the head may stay long
		kept := make([]*conn, 0, a.pending)
		for _, c := range a.waiting {
			if !c.settled {
				kept = append(kept, c)
			}
		}
		a.waiting = kept
	}
	return nil
}

// settle says that c has said CONNECT, or has gone. It may be called more than once.
func (a *admission) settle(c *conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.settleLocked(c)
}

func (a *admission) settleLocked(c *conn) {
	if !c.settled {
		c.settled = true
		a.pending--
	}
}

// turnAway tells a client in one line why it is refused, after the line that it waits for.
func (f *Front) turnAway(socket net.Conn, why string) {
	f.doors.refused.Add(1)
	f.told(socket, why)
	info := f.info.Load().lineFor(0, socket)
	// It goes into the empty buffer of a new socket. What fails is seen by the client, as the end.
	_ = socket.SetDeadline(time.Now().Add(lastWords))
	_, _ = socket.Write(append(info, "-ERR '"+why+"'\r\n"...))
	half, ok := socket.(interface{ CloseWrite() error })
	if n := f.doors.leaving.Add(1); !ok || n > manyLeaving {
		f.doors.leaving.Add(-1)
		_ = socket.Close()
		return
	}
	// A library says CONNECT before it reads on, and a socket closed then takes back what was
	// written to it.
	f.all.Go(func() {
		defer f.doors.leaving.Add(-1)
		_ = half.CloseWrite()
		_, _ = io.CopyN(io.Discard, socket, 2*maxLine)
		_ = socket.Close()
	})
}

// A few of those who are turned away have a moment to read why.
const (
	lastWords   = time.Second
	manyLeaving = 16
)

// RefusedConnections is the number of connections that were refused, or closed before CONNECT.
func (f *Front) RefusedConnections() int64 { return f.doors.refused.Load() }
