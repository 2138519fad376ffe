package zktest

import (
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy stands between a client and one server, and breaks the network for that client
// alone. All of its faults can be had and healed at any time.
type Proxy struct {
	Address string // where clients connect to

	target   string
	listener net.Listener
	wg       sync.WaitGroup

	mu    sync.Mutex // guards what follows
	heal  *sync.Cond // a fault has changed
	fault Fault
	conns map[net.Conn]struct{}
	lost  int64 // bytes of replies that were thrown away
	over  bool
}

// Fault is what a Proxy does to traffic.
type Fault int

// The faults.
const (
	Healthy     Fault = iota
	Cut               // connections are closed, new ones too
	Stalled           // connections stay open, and nothing passes
	LoseReplies       // requests pass, replies are thrown away
)

// NewProxy starts a proxy for a server's address; it ends with the test.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Address: l.Addr().String(), target: target, listener: l, conns: make(map[net.Conn]struct{})}
	p.heal = sync.NewCond(&p.mu)
	p.wg.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// Set changes the fault.
func (p *Proxy) Set(f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = f
	if f == Cut {
		p.closeAllLocked()
	}
	p.heal.Broadcast()
}

// Lost is how many bytes of replies were thrown away so far.
func (p *Proxy) Lost() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lost
}

func (p *Proxy) close() {
	p.mu.Lock()
	p.over = true
	p.closeAllLocked()
	p.heal.Broadcast()
	p.mu.Unlock()
	_ = p.listener.Close()
	p.wg.Wait()
}

func (p *Proxy) closeAllLocked() {
	for c := range p.conns {
		_ = c.Close()
	}
	clear(p.conns)
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.serve(client) })
	}
}

func (p *Proxy) serve(client net.Conn) {
	if !p.keep(client) {
		return
	}
	defer p.forget(client)
	server, err := net.DialTimeout("tcp", p.target, 5*time.Second)
	if err != nil || !p.keep(server) {
		return
	}
	defer p.forget(server)
	p.wg.Go(func() {
		p.pump(client, server, true)
		p.forget(client) // wakes the other direction
	})
	p.pump(server, client, false)
}

// keep notes a connection, or closes it when none may be.
func (p *Proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over || p.fault == Cut {
		_ = c.Close()
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *Proxy) forget(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = c.Close()
	delete(p.conns, c)
}

// pump copies to dst what src says, as the fault allows.
func (p *Proxy) pump(dst, src net.Conn, reply bool) {
	b := make([]byte, 64<<10)
	for {
		n, err := src.Read(b)
		if n > 0 && p.pass(n, reply) {
			if _, err := dst.Write(b[:n]); err != nil {
				break
			}
		}
		if err != nil {
			break
		}
	}
	if c, ok := dst.(*net.TCPConn); ok {
		_ = c.CloseWrite()
	}
}

// pass waits while traffic is stalled and says whether the bytes go on.
func (p *Proxy) pass(n int, reply bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.fault == Stalled && !p.over {
		p.heal.Wait()
	}
	if p.fault == LoseReplies && reply {
		p.lost += int64(n)
		return false
	}
	return !p.over
}
