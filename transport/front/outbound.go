package front

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// backlog is how much may wait for a client before it is not read from: who does
	// not take answers cannot ask.
	backlog = 4 << 20
	// readBacklog is how much may wait for a client before no get of it is read: an answer of
	// the usual size, and something of the next one.
	readBacklog = 1 << 20
	// countedStep is how much may change before it is counted for all clients, so that small
	// answers do not touch a number that all connections share.
	countedStep = 64 << 10
	// writePatience is how long a client may take nothing before it is cut off, as
	// with the NATS server.
	writePatience = 10 * time.Second
)

// outbox is what waits for a client: what the server sends, with answers in
// between its messages.
type outbox struct {
	mu      sync.Mutex
	changed sync.Cond // room was made, all was written, or it was closed
	next    queue     // in the order of the socket
	held    queue     // answers that came in the middle of a message from the server
	writing int       // bytes that who writes has taken
	busy    bool      // the writer writes, or push
	hand    queue     // what push writes; it is its own while busy
	closed  bool
	ending  bool        // close when all is written
	limit   int         // more waiting bytes than this cut the client off
	over    atomic.Bool // it was closed because of the limit

	total   *atomic.Int64 // of all clients; nil: it is not counted
	counted int           // what of it is this one's
	noted   atomic.Int64  // the same, to be looked at without mu

	wake   chan struct{} // the writer has something to do
	from   relayed       // where the server's bytes stand
	socket pusher        // or nil
}

// pusher writes what a socket takes at once.
type pusher interface {
	// push returns the number of bytes that were taken. It does not wait.
	push(parts []part) int
}

func newOutbox(limit int) *outbox {
	o := &outbox{limit: limit, wake: make(chan struct{}, 1)}
	o.changed.L = &o.mu
	return o
}

func (o *outbox) waitingLocked() int { return o.next.size + o.held.size + o.writing }

// countLocked brings the count of all clients up to date. What the socket of a closed client
// is just taking ends with the socket, a moment later: it does not count any more, so that no
// other client is cut off for it.
func (o *outbox) countLocked() {
	n := o.waitingLocked()
	if o.closed {
		n = 0
	}
	if change := n - o.counted; o.total != nil && (change >= countedStep || -change >= countedStep || n == 0 && change != 0) {
		o.total.Add(int64(change))
		o.counted = n
		o.noted.Store(int64(n))
	}
}

// say adds a line of the protocol.
func (o *outbox) say(line string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed {
		o.answersLocked().bytes([]byte(line))
		o.signal()
	}
}

// greet sets what is said after the first PONG.
func (o *outbox) greet(greeting func() []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.from.greeting = greeting
}

// greetLocked says the greeting, unless it has been said.
func (o *outbox) greetLocked(q *queue) {
	if o.from.greeting != nil {
		q.bytes(o.from.greeting())
		o.from.greeting = nil
	}
}

// inform says an INFO. Libraries that have sent CONNECT and PING take nothing but PONG and
// give up on anything else, so a client that still waits for its first PONG is told what is
// new by the greeting behind it.
func (o *outbox) inform(line []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || o.from.greeting != nil {
		return
	}
	o.answersLocked().bytes(line)
	o.signal()
}

func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// answer adds a message to the client. It does not wait; false means that the
// client has gone, or is cut off because it does not take what it asked for. When
// done is there, data is lent until done is called, which it is in any case.
func (o *outbox) answer(sid, subject string, data []byte, done func()) bool {
	o.mu.Lock()
	o.addLocked(sid, subject, data, done)
	open := !o.closed
	o.mu.Unlock()
	if done != nil && len(data) >= lendFrom {
		return o.push()
	}
	o.signal()
	return open
}

// push writes what waits as far as the client takes it at once, in the goroutine of its
// caller: what was just read is in this processor's cache, and the way to the writer is
// spared. The writer does the rest. False means that the client has gone.
func (o *outbox) push() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.socket != nil && !o.busy && !o.closed {
		o.hand, o.next = o.next, o.hand
		o.writing, o.busy = o.hand.size, true
		o.mu.Unlock()
		n := o.socket.push(o.hand.parts)
		o.mu.Lock()
		o.writing, o.busy = 0, false
		o.hand.cut(n)
		o.hand.take(&o.next) // what came meanwhile comes after it
		o.hand, o.next = o.next, o.hand
		if o.closed {
			o.next.drop()
		}
		o.changed.Broadcast()
	}
	o.countLocked()
	if o.next.size > 0 || o.closed || o.ending {
		o.signal()
	}
	return !o.closed
}

// noResponders is the header block that says that nobody listens.
const noResponders = "NATS/1.0 503\r\n\r\n"

// nobody adds the answer for a subject to which nobody listens: the server's, without the
// subject in a header that newer servers add.
func (o *outbox) nobody(sid, subject string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed {
		o.answersLocked().bytes(fmt.Appendf(nil, "HMSG %s %s %d %d\r\n%s\r\n", subject, sid, len(noResponders), len(noResponders), noResponders))
		o.signal()
	}
	return !o.closed
}

// addLocked adds a message, or closes the outbox when too much waits.
func (o *outbox) addLocked(sid, subject string, data []byte, done func()) {
	if !o.closed && o.waitingLocked() > o.limit {
		o.over.Store(true)
		o.closeLocked()
	}
	if o.closed {
		if done != nil {
			done()
		}
		return
	}
	o.answersLocked().message(sid, subject, data, done)
	o.countLocked()
}

// answersLocked is where the next answer goes.
func (o *outbox) answersLocked() *queue {
	if o.from.inside() {
		return &o.held
	}
	return &o.next
}

// relay adds what the server sent. It waits while much waits for the client, but not for
// the answers that wait for the rest of its own message; false means that the client has
// gone.
func (o *outbox) relay(b []byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for !o.closed && o.next.size+o.writing > backlog {
		o.changed.Wait()
	}
	if o.closed {
		return false
	}
	for len(b) > 0 {
		n, passes := o.from.upTo(b)
		if passes {
			o.next.bytes(b[:n])
		}
		if o.from.pongs > 0 {
			o.greetLocked(&o.next)
		}
		b = b[n:]
		if !o.from.inside() {
			o.next.take(&o.held)
		}
	}
	o.countLocked()
	o.changed.Broadcast()
	o.signal()
	return true
}

// room waits until no more than most waits for the client; false means that it has gone.
func (o *outbox) room(most int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for !o.closed && o.waitingLocked() > most {
		o.changed.Wait()
	}
	return !o.closed
}

// flush waits until all is written, or the client has gone, or ctx ends.
func (o *outbox) flush(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() {
		o.mu.Lock()
		o.changed.Broadcast()
		o.mu.Unlock()
	})
	defer stop()
	o.mu.Lock()
	defer o.mu.Unlock()
	for !o.closed && o.waitingLocked() > 0 && ctx.Err() == nil {
		o.changed.Wait()
	}
}

// end closes the outbox once all is written.
func (o *outbox) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ending = true
	o.signal()
}

func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closeLocked()
}

func (o *outbox) closeLocked() {
	o.closed = true
	o.next.drop()
	o.held.drop()
	o.countLocked()
	o.changed.Broadcast()
	o.signal()
}

// write brings everything to the socket until the outbox is closed. It is one
// goroutine.
func (o *outbox) write(to net.Conn) error {
	var now queue
	defer func() {
		now.drop()
		o.written()
	}()
	for range o.wake {
		for {
			open := o.take(&now)
			if now.size == 0 {
				if !open {
					return nil
				}
				break
			}
			if err := now.write(to); err != nil {
				return err
			}
			o.written()
		}
	}
	return nil
}

// take moves what is to be written into now, which is empty; open is false when
// nothing comes any more.
func (o *outbox) take(now *queue) (open bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return false
	}
	if o.busy {
		return true // push wakes the writer when something is left
	}
	*now, o.next = o.next, *now
	o.writing, o.busy = now.size, now.size > 0
	return !o.ending
}

func (o *outbox) written() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.writing, o.busy = 0, false
	o.countLocked()
	o.changed.Broadcast()
}

// relayed follows the server's bytes, to know where a message ends. What the front says
// itself in the server's place does not pass.
type relayed struct {
	line    []byte // the beginning of a line whose end has not come
	skips   bool   // it does not pass
	payload int    // bytes of the message that are still to come
	pongs   int    // how many were relayed
	// greeting is what follows the first of them; nil: nothing, or it has been said.
	greeting func() []byte
	subs     *subs            // that hear of messages; may be nil
	refused  func(why string) // is told of the server's errors; may be nil
}

// kindOf returns what an error of the server says, without what it says it of: that is the
// client's choice.
func kindOf(line []byte) string {
	text := strings.Trim(string(withoutEnd(line)[len("-ERR"):]), " '")
	for _, end := range []string{" for ", "\"", ", "} {
		text, _, _ = strings.Cut(text, end)
	}
	return strings.ToValidUTF8(text[:min(len(text), maxKind)], "?")
}

const maxKind = 80

// inside says whether the bytes so far end within a message.
func (r *relayed) inside() bool { return r.payload > 0 || len(r.line) > 0 }

// maxKept is how much of a line is looked at; longer ones, such as the first one of
// the server, need no look.
const maxKept = 8 << 10

// upTo returns the number of bytes up to the next end of a message, or all, and whether the
// client gets them. INFO it does not get: the front says its own.
func (r *relayed) upTo(b []byte) (n int, passes bool) {
	if r.payload > 0 {
		n := min(r.payload, len(b))
		r.payload -= n
		return n, true
	}
	eol := bytes.IndexByte(b, '\n')
	if r.skips = r.skips || len(r.line) == 0 && b[0] == 'I'; r.skips {
		if eol < 0 {
			return len(b), false
		}
		r.skips = false
		return eol + 1, false
	}
	if eol < 0 {
		r.line = append(r.line, b[:min(len(b), max(1, maxKept-len(r.line)))]...)
		return len(b), true
	}
	line := b[:eol+1]
	if len(r.line) > 0 {
		line = append(r.line, line...)
		r.line = line[:0]
	}
	switch opOf(line) {
	case opMsg, opHeaderMsg:
		r.payload = delivered(line)
		r.subs.delivered(line)
	case opPong:
		r.pongs++
	case opErr:
		if r.refused != nil {
			r.refused(kindOf(line))
		}
	}
	return eol + 1, true
}

// ponged answers PING in the server's place.
func (o *outbox) ponged() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	q := o.answersLocked()
	q.bytes([]byte("PONG\r\n"))
	o.greetLocked(q)
	o.signal()
}

// pong waits until so many answers to PING were relayed; false means that the client has gone.
func (o *outbox) pong(times int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for !o.closed && o.from.pongs < times {
		o.changed.Wait()
	}
	return !o.closed
}
