package transport

import (
	"net"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"
)

// Dial opens a NATS connection whose sockets go through wrap.
type Dial func(wrap func(net.Conn) net.Conn, opts ...nats.Option) (*nats.Conn, error)

// gate bounds what NATS has delivered and the dispatcher has not looked at. The
// client library reads as fast as it can, and drops without an answer what does
// not fit its channel. So the gate stands before the library, in the reads of its
// socket: when too much lies in the channel, the reading goroutine itself takes
// the oldest out and refuses it. It does not wait, for then the server's queue
// would grow until the server cuts us off.
type gate struct {
	incoming chan *nats.Msg
	refuse   func(*nats.Msg)
	bytes    int64 // most bytes to read ahead
	messages int   // most messages to read ahead

	ahead atomic.Int64 // about the bytes that were read and not looked at

	clients atomic.Pointer[gatedConn] // the newest socket on which clients are answered
}

const (
	// readAhead is the most bytes to read ahead: what is refused anyway is not to
	// cost much memory.
	readAhead = 32 << 20
	// inOneRead is above the number of messages that one read of the library, which
	// takes 32 KiB, can bring.
	inOneRead = 4096
	// overhead is about what a message takes on the socket beside its parts.
	overhead = 24
)

// newGate returns the gate of a channel.
func newGate(incoming chan *nats.Msg, refuse func(*nats.Msg)) *gate {
	return &gate{incoming: incoming, refuse: refuse, bytes: readAhead, messages: cap(incoming) - inOneRead}
}

// full says whether too much was read ahead. With the channel empty it is not,
// whatever the count says: not all that is read goes to the dispatcher.
func (g *gate) full() bool {
	n := len(g.incoming)
	if n == 0 {
		g.ahead.Store(0)
		return false
	}
	return n > g.messages || g.ahead.Load() > g.bytes
}

// shed refuses the oldest until there is room.
func (g *gate) shed() {
	for g.full() {
		if m, there := g.next(); there { // else the dispatcher was faster
			g.refuse(m)
		}
	}
}

// next takes the oldest out when there is one; without a gate there is none.
func (g *gate) next() (m *nats.Msg, there bool) {
	if g == nil {
		return nil, false
	}
	select {
	case m = <-g.incoming:
		g.looked(m)
		return m, true
	default:
		return nil, false
	}
}

// looked says that m is not in the channel any more.
func (g *gate) looked(m *nats.Msg) { g.ahead.Add(-int64(m.Size() + overhead)) }

// wrap puts the gate before a socket.
func (g *gate) wrap(c net.Conn) net.Conn { return &gatedConn{Conn: c, gate: g} }

// wrapClients is wrap for the connection to the clients.
func (g *gate) wrapClients(c net.Conn) net.Conn {
	gated := &gatedConn{Conn: c, gate: g}
	g.clients.Store(gated)
	return gated
}

// writeRaw writes lines of the NATS protocol past the library to the clients. Each of the
// library's writes has whole lines, so they go between any two.
func (g *gate) writeRaw(lines string) error {
	_, err := g.clients.Load().Write([]byte(lines))
	return err
}

type gatedConn struct {
	net.Conn
	gate    *gate
	writing sync.Mutex
}

// Write is one write at a time.
func (c *gatedConn) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	return c.Conn.Write(p)
}

// Read makes room first.
func (c *gatedConn) Read(p []byte) (int, error) {
	c.gate.shed()
	n, err := c.Conn.Read(p)
	c.gate.ahead.Add(int64(n))
	return n, err
}

// gatedServer is a NATS server in this process behind the gate.
type gatedServer struct {
	server *Server
	who    made
	wrap   func(net.Conn) net.Conn
}

// InProcessConn implements nats.InProcessConnProvider.
func (s gatedServer) InProcessConn() (net.Conn, error) {
	c, err := s.server.made.open(s.who)
	if err != nil {
		return nil, err
	}
	return s.wrap(c), nil
}

// gatedDialer dials other servers through the gate.
type gatedDialer struct {
	net.Dialer
	wrap func(net.Conn) net.Conn
}

// Dial implements nats.CustomDialer.
func (d *gatedDialer) Dial(network, address string) (net.Conn, error) {
	c, err := d.Dialer.Dial(network, address)
	if err != nil {
		return nil, err
	}
	return d.wrap(c), nil
}
