package front

import (
	"bytes"
	"errors"
)

const (
	firstBuffer = 4 << 10  // of a connection that says little
	fullBuffer  = 64 << 10 // of one that says much
	maxLine     = 4 << 10  // of the protocol, but for CONNECT
	small       = 1 << 10  // a header block that may stay with what it came with
	mostCopies  = 1 << 20  // of the buffer for copies that is kept
)

// What clients are told as by the server.
const (
	confirmation     = "+OK\r\n"
	unknownOperation = "Unknown Protocol Operation"
	tooLargePayload  = "Maximum Payload Violation"
	noHeaders        = "message headers not supported"
	invalidSubject   = "Invalid Subject"
	invalidPublish   = "Invalid Publish Subject"
)

// errClosed ends a connection's goroutines without a word.
var errClosed = errors.New("front: connection closed")

// inbound is what a client says. It is used by one goroutine.
type inbound struct {
	c    *conn
	mem  *memory
	buf  []byte // its bytes
	from int    // buf[from:to] was read and not looked at
	to   int
	lent int // requests that lie in it and were not handed over

	said      connect
	last      like // how the PUB line began that was read last
	tail      bool // the end of a payload that is for the server comes next
	unsettled bool // the server may not have looked at a SUB yet
	pings     int  // that were passed on

	subject string // the last one that was taken, since most come again
	way     way    // of it
	name    string // under which the gateway gets it
	places  places
	taken   *Requests // that were not handed over; nil: there are none
	copies  []byte    // of what was taken, for others, to be passed on behind it
}

// read hands everything on until the client or the server goes.
func (in *inbound) read() error {
	for {
		err := in.look()
		in.hand()
		if err != nil {
			return err
		}
		if err := in.passCopies(); err != nil {
			return err
		}
		if !in.c.out.room(backlog) {
			return errClosed
		}
		in.makeRoom(in.to == len(in.buf))
		n, err := in.c.socket.Read(in.buf[in.to:])
		if err != nil {
			return err
		}
		in.to += n
	}
}

func (in *inbound) use(m *memory) { in.mem, in.buf = m, m.b }

// makeRoom makes room behind buf[from:to]: where requests lie that are in use nothing is
// read to again. What was read full grows.
func (in *inbound) makeRoom(full bool) {
	size := len(in.buf)
	if full && size < fullBuffer {
		size *= 2
	}
	rest := in.buf[in.from:in.to]
	switch same := size == len(in.buf); {
	case same && in.mem.alone():
	case same && size-in.to >= size/4:
		return
	default:
		before := in.mem
		defer before.leave()
		in.use(memoryOf(size))
	}
	in.from, in.to = 0, copy(in.buf, rest)
}

// look goes through what was read. What is not ours goes to the server in as few
// writes as possible.
func (in *inbound) look() error {
	pass := in.from // buf[pass:from] is for the server
	for in.from < in.to {
		if in.tail {
			if in.to-in.from < len(lineEnd) {
				break
			}
			if !bytes.HasPrefix(in.buf[in.from:in.to], []byte(lineEnd)) {
				return in.fail(pass, unknownOperation)
			}
			in.from += len(lineEnd)
			in.tail = false
			in.confirm()
			continue
		}
		o, line, p, why := in.next()
		if why != "" {
			return in.fail(pass, why)
		}
		if o == opNone {
			break
		}
		stays, err := false, error(nil)
		switch o {
		case opPub, opHeaderPub:
			if w := in.wayOf(p.subject); w == core {
				pass, err = in.chat(pass, p, line)
			} else {
				if whole := len(line) + p.size + len(lineEnd); whole > in.to-in.from && whole <= len(in.buf)/4 {
					return in.forward(pass, in.from) // its rest comes with what follows it
				}
				if err = in.forward(pass, in.from); err == nil {
					err = in.serve(w, p, line)
				}
				pass = in.from
			}
			if err != nil {
				return err
			}
			continue
		case opSub:
			switch in.c.subs.add(line) {
			case noLine:
				return in.fail(pass, unknownOperation)
			case invalid:
				in.c.out.say("-ERR '" + invalidSubject + "'\r\n")
				stays = true
			case passed:
				in.confirm()
				if stays = in.c.park(o, line); !stays {
					in.unsettled = true
				}
			}
		case opUnsub:
			if !in.c.subs.remove(line) {
				return in.fail(pass, unknownOperation)
			}
			in.confirm()
			if stays = in.c.park(o, line); !stays {
				in.unsettled = true
			}
		case opPing:
			if pass == in.from && in.c.server.Load() == nil { // the server has heard of nothing
				in.c.out.ponged()
				stays = true
				break
			}
			if in.pings++; in.said.verbose { // its answer comes before the next confirmation
				in.from += len(line)
				if err := in.forward(pass, in.from); err != nil {
					return err
				}
				if pass = in.from; !in.c.out.pong(in.pings) {
					return errClosed
				}
				continue
			}
		case opPong:
			in.c.parked.pings.Store(0)
			stays = pass == in.from && in.c.server.Load() == nil
		case opOK:
			stays = true
		case opConnect:
			// The server would forget this connection's subscriptions, which are known here.
			return in.fail(pass, connectTwice)
		default: // what comes after it may be no protocol any more
			return in.fail(pass, unknownOperation)
		}
		if stays {
			if err := in.forward(pass, in.from); err != nil {
				return err
			}
			pass = in.from + len(line)
		}
		in.from += len(line)
	}
	return in.forward(pass, in.from)
}

// next is the line that comes next, with what is published by it; opNone says that its end
// has not come. Of one that does not follow the protocol it returns why.
func (in *inbound) next() (o op, line []byte, p publication, why string) {
	most, b := in.c.front.opts.MaxPayload, in.buf[in.from:in.to]
	if p, size, ok := in.last.again(b, most); ok {
		return opPub, b[:size], p, ""
	}
	eol := bytes.IndexByte(b, '\n')
	if eol < 0 {
		if len(b) > maxLine {
			why = connectTooLong
		}
		return opNone, nil, p, why
	}
	line = b[:eol+1]
	if len(line) > maxLine {
		return opOther, line, p, connectTooLong
	}
	if !unambiguous(line) {
		return opOther, line, p, unknownOperation
	}
	o = opOf(line)
	if o != opPub && o != opHeaderPub {
		return o, line, p, ""
	}
	if o == opHeaderPub && !in.said.headers {
		return o, line, p, noHeaders
	}
	p, ok := parsePublication(o, line, most)
	if !ok {
		if _, large := parsePublication(o, line, maxCount); large {
			return o, line, p, tooLargePayload
		}
		return o, line, p, unknownOperation
	}
	if o == opPub && !in.said.pedantic {
		in.last.begin(&p)
	}
	return o, line, p, ""
}

// confirm tells a verbose client that a line was understood.
func (in *inbound) confirm() {
	if in.said.verbose {
		in.c.out.say(confirmation)
	}
}

// judge tells a pedantic client of a subject to which nobody can publish. It is published to
// all the same, as by the server.
func (in *inbound) judge(p publication) {
	if in.said.pedantic && !literal(p.subject) {
		in.c.out.say("-ERR '" + invalidPublish + "'\r\n")
	}
}

// fail hands on what came before, says why the connection ends, and ends it.
func (in *inbound) fail(pass int, why string) error {
	if err := in.forward(pass, in.from); err != nil {
		return err
	}
	return in.refuse(why)
}

// forward hands buf[a:b] to the server, behind all that was taken.
func (in *inbound) forward(a, b int) error {
	if a == b {
		return nil
	}
	in.hand()
	if err := in.passCopies(); err != nil {
		return err
	}
	return in.tell(in.buf[a:b])
}

// tell writes to the server.
func (in *inbound) tell(b []byte) error {
	server, err := in.c.link()
	if err == nil {
		_, err = server.Write(b)
	}
	return err
}

// settling is a line that the server reads when it has looked at what came before.
var settling = []byte("PONG\r\n")

// settle returns when the server has looked at all that it got from this client: an answer
// that goes by the server must find the subscription that was made for it. The server reads
// from a pipe, and reads again only when it has looked at what it has read before.
func (in *inbound) settle() error {
	if !in.unsettled {
		return nil
	}
	in.hand()
	in.unsettled = false
	return in.tell(settling)
}

// chat hands on what clients say to each other, and what came before it from pass on. It
// returns from where on the rest is for the server.
func (in *inbound) chat(pass int, p publication, line []byte) (int, error) {
	in.judge(p)
	if in.c.front.opts.Park && bytes.HasPrefix(p.subject, []byte(inboxPrefix)) {
		in.c.front.wake(inboxOf(p.subject))
	}
	in.from += len(line)
	in.tail = true
	rest := p.size - (in.to - in.from)
	if rest <= 0 {
		in.from += p.size
		return pass, nil
	}
	// The rest of the payload goes through the buffer in pieces.
	if err := in.forward(pass, in.to); err != nil {
		return pass, err
	}
	in.from = in.to
	in.makeRoom(true)
	m := in.c.unfinished() // the server keeps what has come
	defer m.end()
	came := 0
	for room := in.buf[in.to:]; rest > 0; {
		n, err := in.c.socket.Read(room[:min(len(room), rest)])
		if err != nil {
			return pass, err
		}
		if came += n; !m.growTo(came) {
			return pass, errClosed
		}
		if err := in.tell(room[:n]); err != nil {
			return pass, err
		}
		rest -= n
	}
	return in.from, nil
}
