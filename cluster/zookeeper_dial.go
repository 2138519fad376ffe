package cluster

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"
)

// dialPause is the least time between two attempts at the same server: without it a
// server that greets and hangs up would be asked in a tight loop.
const dialPause = 100 * time.Millisecond

// dial connects to one server. It never does so for a session that has ended: this is
// what keeps the library from opening a new one in its place and running the waiting
// requests there.
func (s *zkSession) dial(network, address string, _ time.Duration) (net.Conn, error) {
	conn, err := s.dialOne(network, address)
	if err != nil {
		s.hosts.failed(address, err)
	}
	return conn, err
}

func (s *zkSession) dialOne(network, address string) (net.Conn, error) {
	s.mu.Lock()
	pause := dialPause - time.Since(s.dialed[address])
	s.mu.Unlock()
	if pause > 0 {
		wait(s.life, pause)
	}
	if err := s.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.dialed[address] = time.Now()
	s.mu.Unlock()
	deadline := time.Now().Add(s.o.DialTimeout)
	dialer := net.Dialer{Deadline: deadline}
	var conn net.Conn
	var err error
	if s.o.TLS != nil {
		conn, err = (&tls.Dialer{NetDialer: &dialer, Config: s.o.TLS}).DialContext(s.life, network, address)
	} else {
		conn, err = dialer.DialContext(s.life, network, address)
	}
	if err != nil {
		return nil, err
	}
	g := &guardedConn{Conn: conn, session: s, address: address, handshake: deadline}
	s.mu.Lock()
	s.socket = g
	s.mu.Unlock()
	return g, nil
}

// guardedConn bounds the handshake, which the library lets take several session timeouts
// or for ever, and checks what comes in. Reads come from one goroutine at a time.
type guardedConn struct {
	net.Conn
	session   *zkSession
	address   string
	handshake time.Time // when the handshake must be over

	guard frameGuard // the reader's own
}

// Read checks the bytes before the library sees them.
func (c *guardedConn) Read(b []byte) (int, error) {
	greeted := c.guard.ready
	n, err := c.Conn.Read(b)
	greeting, bad := c.guard.feed(b[:n])
	if bad == nil && greeting != nil {
		bad = c.session.greeted(*greeting)
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
	}
	return 0, err // io.ReadFull forgets an error that comes with enough bytes
}

// SetReadDeadline keeps to the handshake's own deadline while that lasts.
func (c *guardedConn) SetReadDeadline(t time.Time) error {
	if !c.guard.ready && (t.IsZero() || t.After(c.handshake)) {
		t = c.handshake
	}
	return c.Conn.SetReadDeadline(t)
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
		s.end(fmt.Errorf("%w: %w", ErrSessionLost, errOtherSession))
		return errOtherSession
	}
	return nil
}
