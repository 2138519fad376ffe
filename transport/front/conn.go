package front

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// conn is one client: its socket, and perhaps a connection to the server on its behalf.
//
// Until CONNECT it is one goroutine and a small buffer. Then comes the writer, and once the client
// says something to others the connection to the server, with a goroutine that reads it.
type conn struct {
	front   *Front
	id      uint64
	socket  net.Conn
	server  atomic.Pointer[net.Conn] // nil while it is parked; set once, under mu
	said    connect                  // what it said of itself; set before it is greeted
	parked  parked
	serving sync.WaitGroup // the goroutine that reads what the server says
	subs    subs
	out     *outbox
	settled bool // guarded by front.doors.mu: it does not count as silent
	// statuses reports that the client wants to know when nobody listens.
	statuses atomic.Bool
	// hearsInfo reports that the client takes an INFO at any time.
	hearsInfo atomic.Bool
	greeted   atomic.Bool // CONNECT has been accepted

	mu     sync.Mutex // guards closed, and makes the connection to the server one
	closed bool
}

// greet says INFO and reads CONNECT. It returns what the client said, or the text that
// refuses it, or an error of the socket.
func (in *inbound) greet() (said connect, why string, err error) {
	c := in.c
	if t := c.front.opts.Limits.ConnectTimeout; t > 0 {
		_ = c.socket.SetDeadline(time.Now().Add(t)) // of a socket that was closed: the first read says so
	}
	if _, err := c.socket.Write(c.front.info.Load().lineFor(c.id, c.socket)); err != nil {
		return said, "", err
	}
	for {
		b := in.buf[in.from:in.to]
		eol := bytes.IndexByte(b, '\n')
		if why := wrongBeginning(b); why != "" {
			return said, why, nil
		}
		if eol >= 0 {
			line := b[:eol+1]
			in.from += len(line)
			if said, why = parseConnect(line); why == "" && said.credentials && c.front.opts.Anonymous {
				why = notAuthorized
			}
			if why != "" {
				return said, why, nil
			}
			break
		}
		if len(b) >= maxConnect {
			return said, connectTooLong, nil
		}
		n, err := c.socket.Read(in.buf[in.to:])
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return said, tooSilent, nil
		case err != nil:
			return said, "", err
		}
		in.to += n
		in.makeRoom(in.to == len(in.buf))
	}
	c.front.doors.settle(c)
	_ = c.socket.SetDeadline(time.Time{}) // the next read says what is wrong
	c.statuses.Store(said.headers && said.noResponders)
	c.said = said
	c.greeted.Store(true)
	if said.protocol > 0 {
		// Before hearsInfo: until the first PONG the client takes no INFO, see inform.
		c.out.greet(func() []byte { return c.front.info.Load().greeting(c.id, c.socket) })
		c.hearsInfo.Store(true)
	}
	return said, "", nil
}

// wrongBeginning returns why what a client says first is refused, as soon as that shows.
func wrongBeginning(b []byte) string {
	const word = "CONNECT"
	if n := min(len(b), len(word)); is(b[:n], word[:n]) {
		return ""
	}
	if eol := bytes.IndexByte(b, '\n'); eol >= 0 {
		b = b[:eol+1]
	} else if len(b) < len(word) && len(b) > 0 && bytes.IndexByte([]byte("PpSsUuHh"), b[0]) >= 0 {
		return "" // it may be another operation
	}
	switch opOf(b) {
	case opPub, opHeaderPub, opSub, opUnsub, opPing, opPong:
		return connectFirst
	default:
		return unknownOperation
	}
}

// dismiss tells a client that has not said CONNECT why it is closed, and closes it. It may be
// called by anybody.
func (c *conn) dismiss(why string) {
	c.front.doors.refused.Add(1)
	c.front.told(c.socket, why)
	_ = c.socket.SetWriteDeadline(time.Now().Add(lastWords))
	_, _ = io.WriteString(c.socket, "-ERR '"+why+"'\r\n")
	c.close()
}

// turnedAway is dismiss by the client's own goroutine, which gives it a moment to read why.
func (c *conn) turnedAway(why string) {
	c.front.doors.refused.Add(1)
	c.front.told(c.socket, why)
	_ = c.socket.SetDeadline(time.Now().Add(lastWords))
	_, _ = io.WriteString(c.socket, "-ERR '"+why+"'\r\n")
	if half, ok := c.socket.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, c.socket, maxConnect)
	}
	c.close()
}

// link returns the connection to the server, which it opens the first time. It may be called
// by anybody; when it returns, the server has looked at what was parked.
func (c *conn) link() (net.Conn, error) {
	if server := c.server.Load(); server != nil {
		return *server, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if server := c.server.Load(); server != nil {
		return *server, nil
	}
	if c.closed {
		return nil, errClosed
	}
	server, err := c.front.opts.Server()
	if err != nil {
		return nil, err // it is stopping
	}
	c.serving.Go(func() { c.hearServer(server) })
	if _, err = server.Write(append(c.said.line(), c.parked.lines...)); err == nil {
		_, err = server.Write(settling)
	}
	c.leaveParkLocked()     // only now: who writes to its inbox waits for this
	c.server.Store(&server) // also when it failed: close closes it
	if err != nil {
		_ = server.Close()
	}
	return server, err
}

// hearServer relays what the server says to the client.
func (c *conn) hearServer(server net.Conn) {
	buf := make([]byte, firstBuffer)
	for {
		n, err := server.Read(buf)
		if n > 0 && !c.out.relay(buf[:n]) || err != nil {
			break
		}
		c.front.relieve()
		if n == len(buf) && n < fullBuffer/2 {
			buf = make([]byte, fullBuffer/2)
		}
	}
	c.out.end() // what it said last has to arrive
}

// serve returns when the client has gone and all goroutines have ended.
func (c *conn) serve(in *inbound) {
	var all sync.WaitGroup
	all.Go(func() {
		if err := c.out.write(c.socket); errors.Is(err, os.ErrDeadlineExceeded) || c.out.over.Load() {
			c.front.cutOff.Add(1)
			c.front.told(c.socket, "cut off: it does not take what it asked for")
		}
		c.close()
	})
	if c.said.verbose {
		c.out.say(confirmation)
	}
	var err error
	if !c.front.opts.Park {
		_, err = c.link()
	}
	if err == nil {
		err = in.read()
	}
	switch {
	case err == nil, errors.Is(err, io.EOF), errors.Is(err, io.ErrClosedPipe), errors.Is(err, net.ErrClosed), errors.Is(err, errClosed):
	default:
		c.front.log.Debug("client lost", "client", c.socket.RemoteAddr(), "err", err)
	}
	c.subs.end()
	c.mu.Lock()
	c.leaveParkLocked()
	c.closed = true // nobody connects it any more
	c.mu.Unlock()
	if server := c.server.Load(); server != nil {
		_ = (*server).Close() // the server notices, as if the socket had gone
	}
	if errors.Is(err, io.ErrClosedPipe) {
		// The server has closed first, or the front refused something; the last words are on
		// their way to the client.
		c.out.end()
		all.Wait()
	}
	c.end()
	all.Wait()
	c.serving.Wait()
}

// close ends both sides. It may be called more than once and by anybody.
func (c *conn) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.end()
}

func (c *conn) end() {
	c.out.close()
	_ = c.socket.Close()
	if server := c.server.Load(); server != nil {
		_ = (*server).Close()
	}
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
