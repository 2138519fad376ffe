package zookeeper

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"metaq/cluster/registry"
)

// guardedConn bounds what the library lets take long: the handshake, for which it waits
// several session timeouts or for ever, and an answer, for which it waits two thirds of
// one. It checks what comes in. Reads come from one goroutine at a time, and so do
// writes.
type guardedConn struct {
	net.Conn
	session   *zkSession
	address   string
	handshake time.Time // when the handshake must be over

	guard frameGuard // the reader's own

	mu     sync.Mutex // guards what follows; no call under it blocks
	seen   int64      // the newest transaction that the session has seen, as its greeting says
	sent   bool       // our part of the handshake
	agreed bool       // the handshake is over
	wanted time.Time  // the library's deadline for reads
	asked  time.Time  // the first write that nothing has come after; zero: none
	resume resumption // what is written first
}

// minSilence is the least time that a server has for an answer: a busy one may need it.
const minSilence = time.Second

// maxSilence is the most that it has, however long the session is: a lease of the default
// length must outlast the way to another server.
const maxSilence = 3 * time.Second

// Write notes when an answer is due: a server that is frozen is left after a third of the
// session timeout, 3 s at most, so that there is time for another one.
func (c *guardedConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	switch {
	case !c.sent:
		c.sent, c.seen = true, seenIn(b)
	case c.agreed && c.asked.IsZero():
		c.asked = time.Now()
		if err := c.limitLocked(); err != nil {
			c.mu.Unlock()
			return 0, err
		}
	}
	now := c.resume.order(b)
	c.mu.Unlock()
	if len(now) > 0 {
		if _, err := c.Conn.Write(now); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

// seenIn reads the newest transaction from our part of the handshake:
//
//	| int32 length | int32 protocol | int64 newest transaction | and so on
func seenIn(hello []byte) int64 {
	if len(hello) < 16 {
		return 0
	}
	return int64(binary.BigEndian.Uint64(hello[8:]))
}

// Read checks the bytes before the library sees them.
func (c *guardedConn) Read(b []byte) (int, error) {
	greeted := c.guard.ready
	n, err := c.Conn.Read(b)
	greeting, bad := c.guard.feed(b[:n])
	if bad == nil && greeting != nil {
		bad = c.session.greeted(*greeting)
		c.resumed()
	}
	if n > 0 {
		bad = errors.Join(bad, c.heard())
	}
	switch {
	case bad != nil:
		err = fmt.Errorf("%s: %w", c.address, bad)
	case err != nil && !greeted:
		err = fmt.Errorf("no greeting: %w", err)
	default:
		return n, err
	}
	if !greeted {
		c.session.hosts.failed(c.address, err)
		if !errors.Is(err, os.ErrDeadlineExceeded) { // a frozen server answers nobody
			c.session.refused(c.address, c.hasSeen())
		}
	}
	return 0, err // io.ReadFull forgets an error that comes with enough bytes
}

// resumed looks whether the library will set watches again. It has at least those that
// are armed, and loses none of them while nothing comes in.
func (c *guardedConn) resumed() {
	c.session.mu.Lock()
	watches := len(c.session.armed) > 0
	c.session.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.resume.pending = watches
}

// heard notes that the server lives.
func (c *guardedConn) heard() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.agreed = c.guard.ready
	if c.asked.IsZero() {
		return nil
	}
	c.asked = time.Time{}
	return c.limitLocked()
}

func (c *guardedConn) hasSeen() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen
}

// SetReadDeadline keeps to the guard's own deadlines where they come earlier.
func (c *guardedConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wanted = t
	return c.limitLocked()
}

// limitLocked sets the earliest of the deadlines for reads.
func (c *guardedConn) limitLocked() error {
	limit := c.wanted
	earlier := func(t time.Time) {
		if limit.IsZero() || t.Before(limit) {
			limit = t
		}
	}
	if !c.agreed {
		earlier(c.handshake)
	}
	if !c.asked.IsZero() {
		earlier(c.asked.Add(min(max(minSilence, c.session.timeout()/3), maxSilence)))
	}
	return c.Conn.SetReadDeadline(limit)
}

var errOtherSession = errors.New("the server opened another session")

// greeted takes the first words of a server. The session that it names must be the one
// that we are, or the first that we ever had.
func (s *zkSession) greeted(g hello) error {
	if g.session == 0 {
		return nil // the library reports the expiry
	}
	s.mu.Lock()
	if s.id == 0 {
		s.id, s.granted = g.session, g.timeout
	}
	mine := s.id == g.session
	s.mu.Unlock()
	if !mine {
		s.end(fmt.Errorf("%w: %w", registry.ErrSessionLost, errOtherSession))
		return errOtherSession
	}
	return nil
}
