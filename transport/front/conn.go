package front

import (
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// conn is one client: its socket, and a connection to the server on its behalf.
type conn struct {
	front   *Front
	id      uint64
	socket  net.Conn
	server  net.Conn
	subs    subs
	out     *outbox
	once    sync.Once
	settled bool // guarded by front.doors.mu: it does not count as silent
	// statuses says that the client wants to know when nobody listens.
	statuses atomic.Bool
}

// serve returns when the client has gone and all goroutines have ended.
func (c *conn) serve() {
	var all sync.WaitGroup
	all.Go(func() { // what the server sends
		buf := make([]byte, firstBuffer)
		for {
			n, err := c.server.Read(buf)
			if c.front.info.Load() == nil {
				c.front.noteInfo(buf[:n])
			}
			if n > 0 && !c.out.relay(buf[:n]) || err != nil {
				break
			}
			c.front.relieve()
			if n == len(buf) && n < fullBuffer/2 {
				buf = make([]byte, fullBuffer/2)
			}
		}
		c.out.end() // what it said last has to arrive
	})
	all.Go(func() {
		if err := c.out.write(c.socket); errors.Is(err, os.ErrDeadlineExceeded) || c.out.over.Load() {
			c.front.cutOff.Add(1)
			c.front.told(c.socket, "cut off: it does not take what it asked for")
		}
		c.close()
	})
	in := inbound{c: c}
	err := in.read()
	switch {
	case err == nil, errors.Is(err, io.EOF), errors.Is(err, io.ErrClosedPipe), errors.Is(err, net.ErrClosed), errors.Is(err, errClosed):
	default:
		c.front.log.Debug("client lost", "client", c.socket.RemoteAddr(), "err", err)
	}
	c.subs.end()
	_ = c.server.Close() // the server notices, as if the socket had gone
	if errors.Is(err, io.ErrClosedPipe) {
		// The server has closed first; its last words are on their way to the client.
		all.Wait()
	}
	c.close()
	all.Wait()
}

// close ends both sides. It may be called more than once and by anybody.
func (c *conn) close() {
	c.once.Do(func() {
		c.out.close()
		_ = c.socket.Close()
		_ = c.server.Close()
	})
}

// places makes texts by which answers find their way back: no subject can be one,
// since they begin with a space. Many share one piece of memory.
type places struct {
	text strings.Builder
	sid  string // of the last one
	head string // how that began
}

const placesSize = 4 << 10

// place returns that of an answer to a client's subscription.
func (p *places) place(client uint64, sid string, reply []byte) string {
	if p.head == "" || sid != p.sid {
		p.sid, p.head = sid, " "+strconv.FormatUint(client, 36)+" "+sid+" "
	}
	if need := len(p.head) + len(reply); p.text.Cap()-p.text.Len() < need {
		p.text = strings.Builder{}
		p.text.Grow(max(need, placesSize))
	}
	from := p.text.Len()
	p.text.WriteString(p.head)
	p.text.Write(reply)
	return p.text.String()[from:]
}
