package front

import (
	"bytes"
	"strconv"
)

// way is where a publication goes.
type way int

const (
	core    way = iota // to the server: what clients say to each other
	closed             // nowhere: clients may not publish there
	heard              // to the gateway, which listens to the subject, and to others who do
	data               // to the gateway
	control            // to the gateway, alone and in no order with others
)

// wayOf returns where a message to subject goes.
func (in *inbound) wayOf(subject []byte) way {
	if in.way >= data && string(subject) == in.subject {
		return in.way // that of the broker's own subjects does not change
	}
	f := in.c.front
	switch {
	case f.owns(subject):
		switch {
		case beginsWith(subject, f.requests):
			return data
		case beginsWith(subject, f.control):
			return control
		case !f.mayPublish(subject):
			return closed
		}
	case f.hears(subject) && f.desk.Load() != nil:
		return heard
	}
	return core
}

// serve takes a publication that does not go to the server.
func (in *inbound) serve(w way, p publication, line []byte) error {
	f := in.c.front
	if w == closed {
		return in.forbidden(p, line)
	}
	in.judge(p)
	var err error
	switch {
	case f.desk.Load() == nil:
		err = in.unserved(p, line)
	case p.header > MaxHeader:
		err = in.oversized(w, p, line)
	default:
		err = in.take(w, p, line)
	}
	if err == nil {
		in.confirm()
	}
	return err
}

// replyOf returns where the gateway sends the answer: to the one subscription of this client
// that wants it, or else by the server, which knows who does.
func (in *inbound) replyOf(p publication) (string, error) {
	if len(p.reply) == 0 {
		return "", nil
	}
	// What would be a request is the gateway's to judge.
	if !bytes.HasPrefix(p.reply, in.c.front.prefix) {
		if sid, ok := in.c.subs.wants(p.reply); ok {
			return in.places.place(in.c.id, sid, p.reply), nil
		}
	}
	return string(p.reply), in.settle()
}

// note makes a publication's subject the last one that was taken.
func (in *inbound) note(w way, subject []byte) {
	in.way = w
	if string(subject) == in.subject {
		return
	}
	in.subject = string(subject)
	if in.name = in.subject; w == heard {
		in.name = in.c.front.heard + in.subject
	}
}

// take takes a request for the gateway, or what goes to a subject that it listens to.
func (in *inbound) take(w way, p publication, line []byte) error {
	f := in.c.front
	in.note(w, p.subject)
	reply, err := in.replyOf(p)
	if err != nil {
		return err
	}
	if w == control || len(f.reads) > 0 && bytes.HasPrefix(p.subject, f.reads) {
		in.hand() // before what may wait, or comes alone
		if w == data && !in.c.out.room(readBacklog) {
			return errClosed
		}
	}
	watched := w == heard || f.watchers.Load() > 0
	if watched { // by this client itself, perhaps, which has just said so
		if err := in.settle(); err != nil {
			return err
		}
	}
	head := len(line)
	whole, own, err := in.whole(head + p.size + len(lineEnd))
	if err != nil {
		return err
	}
	if !isWhole(whole) {
		return in.refuse(unknownOperation)
	}
	if own != nil {
		defer own.Release(1)
	}
	if in.taken == nil {
		in.taken = newRequests()
		in.taken.Client = in.c.id
	}
	m := in.taken.add(len(whole))
	m.Subject, m.Reply = in.name, reply
	payload := whole[head : head+p.size : head+p.size]
	m.head(payload[:p.header])
	switch m.Data = payload[p.header:]; {
	case w == control, p.header > small:
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
	switch {
	case !watched || !f.opts.Wanted(in.subject):
	case w == heard:
		in.copies = append(in.copies, whole...)
	default:
		in.copyRequest(p, payload)
	}
	if w == control {
		in.taken.Control = true
		in.hand()
	}
	if in.taken != nil && in.taken.many() || len(in.copies) >= manyBytes {
		in.hand()
		return in.passCopies()
	}
	return nil
}

// copyRequest makes a copy of a request for those who watch. It has no reply subject: the
// gateway answers, and nobody else can.
func (in *inbound) copyRequest(p publication, payload []byte) {
	b := in.copies
	if p.header > 0 {
		b = append(b, 'H')
	}
	b = append(append(append(b, pub...), p.subject...), ' ')
	if p.header > 0 {
		b = append(strconv.AppendInt(b, int64(p.header), 10), ' ')
	}
	b = append(strconv.AppendInt(b, int64(p.size), 10), lineEnd...)
	in.copies = append(append(b, payload...), lineEnd...)
}

// passCopies brings others what was taken, once the gateway has it.
func (in *inbound) passCopies() error {
	if len(in.copies) == 0 {
		return nil
	}
	err := in.tell(in.copies)
	if in.copies = in.copies[:0]; cap(in.copies) > mostCopies {
		in.copies = nil
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

// unserved answers a request while there is no gateway: like a server to which nobody
// listens. What clients subscribe to does not matter: no request goes to them.
func (in *inbound) unserved(p publication, line []byte) error {
	reply, err := in.replyOf(p)
	if err != nil {
		return err
	}
	if err := in.drop(len(line), p.size); err != nil {
		return err
	}
	if Mine(reply) {
		in.c.front.Nobody(reply)
	}
	return nil
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
	m := in.c.unfinished()
	defer m.end()
	for n := len(b); ; {
		size := min(full, max(8*n, fullBuffer))
		if size > fullBuffer && !m.growTo(size) {
			if own != nil {
				own.Release(1)
			}
			return nil, nil, errClosed
		}
		next := memoryOf(size)
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
