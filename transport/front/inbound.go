package front

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"time"
)

const (
	firstBuffer = 4 << 10  // of a connection that says little
	fullBuffer  = 64 << 10 // of one that says much
	maxLine     = 4 << 10  // the server judges longer lines
	small       = 1 << 10  // a header block that may stay with what it came with
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

	direct  bool   // what is for the gateway goes straight to it
	known   bool   // CONNECT has come
	verbose bool   // every line is answered
	headers bool   // it said that there may be headers
	last    like   // how the PUB line began that was read last
	tail    bool   // the end of a payload that is for the server comes next
	subject string // the last one that was taken, since most come again
	name    string // under which the gateway gets it
	places  places
	taken   *Requests // that were not handed over; nil: there are none
}

// read hands everything on until the client or the server goes.
func (in *inbound) read() error {
	in.use(memoryOf(firstBuffer))
	in.verbose = true
	defer func() { in.mem.leave() }()
	for {
		n, err := in.c.socket.Read(in.buf[in.to:])
		if !in.known && errors.Is(err, os.ErrDeadlineExceeded) {
			in.c.front.doors.refused.Add(1)
			return in.refuse(tooSilent)
		}
		if err != nil {
			return err
		}
		in.to += n
		full := in.to == len(in.buf)
		err = in.look()
		in.hand()
		if err != nil {
			return err
		}
		if !in.c.out.room(backlog) {
			return errClosed
		}
		in.makeRoom(full)
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
lines:
	for in.from < in.to {
		if in.tail {
			if in.to-in.from < len(lineEnd) {
				break
			}
			if !bytes.HasPrefix(in.buf[in.from:in.to], []byte(lineEnd)) {
				return in.raw(pass)
			}
			in.from += len(lineEnd)
			in.tail = false
			continue
		}
		o, line, p, ok := in.said()
		if !ok {
			return in.raw(pass)
		}
		switch o {
		case opNone:
			break lines
		case opPub, opHeaderPub:
			if !in.c.front.mayPublish(p.subject) {
				if err := in.forward(pass, in.from); err != nil {
					return err
				}
				if err := in.forbidden(p, line); err != nil {
					return err
				}
				pass = in.from
				continue
			}
			p.heard = in.c.front.hears(p.subject)
			if p.header > MaxHeader && (p.heard || in.c.front.owns(p.subject)) {
				if err := in.forward(pass, in.from); err != nil {
					return err
				}
				if err := in.oversized(p, line); err != nil {
					return err
				}
				pass = in.from
				continue
			}
			taken, sid := in.takes(p)
			if !taken && !p.heard {
				in.from += len(line)
				in.tail = true
				if in.to-in.from >= p.size {
					in.from += p.size
					continue
				}
				if err := in.pass(pass, p.size); err != nil {
					return err
				}
				pass = in.from
				continue
			}
			if whole := len(line) + p.size + len(lineEnd); whole > in.to-in.from && whole <= len(in.buf)/4 {
				break lines // its rest comes with what follows it
			}
			if err := in.forward(pass, in.from); err != nil {
				return err
			}
			var err error
			if taken {
				err = in.take(p, sid, line)
			} else {
				err = in.hear(o, p, line)
			}
			if err != nil {
				return err
			}
			pass = in.from
			continue
		case opSub:
			fresh, ok := in.c.subs.add(line)
			if !ok {
				return in.raw(pass)
			}
			in.direct = in.direct && fresh
		case opUnsub:
			if !in.c.subs.remove(line) {
				return in.raw(pass)
			}
		case opConnect:
			if in.known {
				// The server would forget this connection's subscriptions, which are known here.
				if err := in.forward(pass, in.from); err != nil {
					return err
				}
				return in.refuse("CONNECT was said before")
			}
			in.connect(line)
		case opPing, opPong:
		default: // what comes after it may be no protocol any more
			return in.raw(pass)
		}
		in.from += len(line)
	}
	return in.forward(pass, in.from)
}

// said is the line that comes next, with what is published by it; opNone says that its end
// has not come. ok is false for what the server has to judge.
func (in *inbound) said() (o op, line []byte, p publication, ok bool) {
	most, b := in.c.front.opts.MaxPayload, in.buf[in.from:in.to]
	if p, size, ok := in.last.again(b, most); ok {
		return opPub, b[:size], p, true
	}
	eol := bytes.IndexByte(b, '\n')
	if eol < 0 {
		return opNone, nil, p, len(b) <= maxLine
	}
	line = b[:eol+1]
	if !unambiguous(line) {
		return opOther, line, p, false
	}
	switch o = opOf(line); o {
	case opHeaderPub:
		p, ok = parsePublication(o, line, most)
		return o, line, p, ok && in.headers
	case opPub:
		p, ok = parsePublication(o, line, most)
		in.last.begin(&p)
		return o, line, p, ok
	default:
		return o, line, p, true
	}
}

// forward hands buf[a:b] to the server, behind all that was taken.
func (in *inbound) forward(a, b int) error {
	if a == b {
		return nil
	}
	in.hand()
	_, err := in.c.server.Write(in.buf[a:b])
	return err
}

// pass hands everything from pass on to the server, and then the rest of a payload
// of which the buffer has only a part.
func (in *inbound) pass(pass, rest int) error {
	rest -= in.to - in.from
	if err := in.forward(pass, in.to); err != nil {
		return err
	}
	in.from = in.to
	in.makeRoom(true)
	for room := in.buf[in.to:]; rest > 0; {
		n, err := in.c.socket.Read(room[:min(len(room), rest)])
		if err != nil {
			return err
		}
		if _, err := in.c.server.Write(room[:n]); err != nil {
			return err
		}
		rest -= n
	}
	return nil
}

// raw hands everything from pass on to the server, for good: it knows how to
// answer what does not follow the protocol.
func (in *inbound) raw(pass int) error {
	if !in.known {
		in.c.front.told(in.c.socket, "what it says is not the NATS protocol")
	}
	if err := in.forward(pass, in.to); err != nil {
		return err
	}
	in.hand()
	_, err := io.Copy(in.c.server, in.c.socket)
	return errors.Join(err, io.EOF)
}

// connect decides about the connection. Who gives a name, a token or a signature
// is the server's to judge.
func (in *inbound) connect(line []byte) {
	options := struct {
		Verbose, Pedantic, Headers     bool
		NoResponders                   bool `json:"no_responders"`
		User, Pass, Nkey, JWT, Account string
		AuthToken                      string `json:"auth_token"`
	}{Verbose: true, Pedantic: true} // as the server has it where they are not said
	text := line[len("CONNECT"):]
	err := json.Unmarshal(bytes.TrimSpace(text), &options)
	plain := err == nil && !options.Verbose && !options.Pedantic &&
		options.User+options.Pass+options.Nkey+options.JWT+options.Account+options.AuthToken == ""
	in.direct = plain && (in.direct || !in.known)
	if !in.known {
		in.c.front.doors.settle(in.c)
		_ = in.c.socket.SetReadDeadline(time.Time{}) // the next read says what is wrong
	}
	in.known, in.headers, in.verbose = true, options.Headers, options.Verbose
	in.c.statuses.Store(options.Headers && options.NoResponders)
}

// takes says whether a message goes straight to the gateway, and which subscription
// its answer goes to. After one that could and does not, none does; before the gateway
// takes any, they may go either way. What others subscribe to is passed on beside when it
// is heard, and else it goes by the server.
func (in *inbound) takes(p publication) (taken bool, sid string) {
	if !in.direct {
		return false, ""
	}
	f := in.c.front
	if !p.heard && !f.isRequest(p.subject) || f.desk.Load() == nil {
		return false, ""
	}
	switch {
	case !in.c.out.from.accepted.Load(), !p.heard && f.watchers.Load() > 0, bytes.HasPrefix(p.reply, f.prefix):
		in.direct = false
	case len(p.reply) > 0:
		sid, in.direct = in.c.subs.wants(p.reply)
	}
	return in.direct, sid
}

// take takes a request for the gateway, or what goes to a subject that it listens to.
func (in *inbound) take(p publication, sid string, line []byte) error {
	f, reply := in.c.front, ""
	if string(p.subject) != in.subject {
		in.subject = string(p.subject)
		if in.name = in.subject; p.heard {
			in.name = f.heard + in.subject
		}
	}
	if sid != "" {
		reply = in.places.place(in.c.id, sid, p.reply)
	}
	if len(f.reads) > 0 && bytes.HasPrefix(p.subject, f.reads) {
		in.hand() // before what may wait
		if !in.c.out.room(readBacklog) {
			return errClosed
		}
	}
	head := len(line)
	whole, own, err := in.whole(head + p.size + len(lineEnd))
	if err != nil {
		return err
	}
	if !isWhole(whole) {
		return in.broken(whole)
	}
	if own != nil {
		defer own.Release(1)
	}
	if in.taken == nil {
		in.taken = newRequests()
	}
	m := in.taken.add(len(whole))
	m.Subject, m.Reply = in.name, reply
	data := whole[head : head+p.size : head+p.size]
	m.head(data[:p.header])
	switch m.Data = data[p.header:]; {
	case p.header > small:
		m.Data = bytes.Clone(m.Data) // alone: the header block does not stay with it
	case own != nil:
		m.memory = own
		own.users.Add(1)
	case pinnedBytes.Load() > mostPinned:
		m.Data = bytes.Clone(m.Data)
	default:
		m.memory = in.mem
		in.lent++
	}
	if p.heard && f.opts.Wanted(in.subject) { // others hear it, too
		in.hand()
		_, err = in.c.server.Write(whole)
	} else if in.taken.many() {
		in.hand()
	}
	return err
}

// hand hands over what was taken. It comes before everything that may wait, and before
// what goes to the server.
func (in *inbound) hand() {
	if in.taken != nil {
		in.mem.users.Add(int32(in.lent))
		in.lent = 0
		in.c.front.deliver(in.taken)
		in.taken = nil
	}
}

// hear brings the gateway what goes to a subject that it listens to the long way: by
// the server but under a name of the broker's own, which stays in this server; and
// under the name that the client gave whoever else wants it.
func (in *inbound) hear(o op, p publication, line []byte) error {
	in.hand()
	f, subject := in.c.front, string(p.subject)
	own, head := p.appendLine(nil, o, f.heard), len(line)
	whole, mem, err := in.whole(head + p.size + len(lineEnd))
	if err != nil {
		return err
	}
	if !isWhole(whole) {
		return in.broken(whole)
	}
	if mem != nil {
		defer mem.Release(1)
	}
	wanted := f.opts.Wanted(subject)
	if wanted && in.verbose {
		in.c.out.from.spares.Add(1) // one +OK for both
	}
	if _, err = in.c.server.Write(own); err == nil {
		_, err = in.c.server.Write(whole[head:])
	}
	if err == nil && wanted {
		_, err = in.c.server.Write(whole)
	}
	return err
}

// broken hands on a publication that does not end where it said, and all that follows.
func (in *inbound) broken(whole []byte) error {
	if _, err := in.c.server.Write(whole); err != nil {
		return err
	}
	return in.raw(in.from)
}

// whole returns the request of full bytes that begins at buf[from], as it was sent. It lies
// in memory of its own, or, without, in the buffer.
func (in *inbound) whole(full int) (b []byte, own *memory, err error) {
	if in.to-in.from >= full {
		b = in.buf[in.from : in.from+full]
		in.from += full
		return b, nil, nil
	}
	// The rest of a large payload goes from the socket to where it stays. Memory is
	// taken as it comes, in few steps: who announces much may not send it.
	in.hand()
	b = in.buf[in.from:in.to]
	in.from = in.to
	for n := len(b); ; {
		next := memoryOf(min(full, max(8*n, fullBuffer)))
		copy(next.b, b)
		if own != nil {
			own.Release(1)
		}
		own, b = next, next.b[:min(full, len(next.b))]
		for n < len(b) {
			more, err := in.c.socket.Read(b[n:])
			if err != nil {
				return nil, nil, err
			}
			n += more
		}
		if n == full {
			return b, own, nil
		}
	}
}
