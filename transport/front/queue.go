package front

import (
	"net"
	"strconv"
	"sync"
	"time"
)

const (
	bufferSize = 64 << 10 // of a part that is made of many messages
	lendFrom   = 16 << 10 // from here on it is worth a part of its own not to copy
	atOnce     = 1 << 20  // bytes that have writePatience to be taken
)

// queue is a sequence of bytes in parts.
type queue struct {
	parts []part
	size  int // bytes of all parts
}

// part is a piece of a buffer, or bytes that are lent until done is called.
type part struct {
	b    []byte
	done func()
	last *[bufferSize]byte // the pool's buffer of which this is the last piece
}

var partBuffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// free gives a part back.
func (p *part) free() {
	if p.done != nil {
		p.done()
	}
	if p.last != nil {
		partBuffers.Put(p.last)
	}
	*p = part{}
}

// rest cuts off what has no bytes yet, as a piece of its own.
func (p *part) rest() part {
	rest := part{b: p.b[len(p.b):], last: p.last}
	p.b, p.last = p.b[:len(p.b):len(p.b)], nil
	return rest
}

// buffer returns the last part with room for n bytes.
func (q *queue) buffer(n int) *part {
	if last := len(q.parts) - 1; last >= 0 {
		if p := &q.parts[last]; p.done == nil && cap(p.b)-len(p.b) >= n {
			return p
		}
	}
	p := part{}
	if n <= bufferSize {
		p.last = partBuffers.Get().(*[bufferSize]byte)
		p.b = p.last[:0]
	} else {
		p.b = make([]byte, 0, n)
	}
	q.parts = append(q.parts, p)
	return &q.parts[len(q.parts)-1]
}

// bytes adds a copy of b.
func (q *queue) bytes(b []byte) {
	p := q.buffer(len(b))
	p.b = append(p.b, b...)
	q.size += len(b)
}

// mostDigits is the room for a message's line beside its names.
const mostDigits = 32

// message adds a MSG. With done, data is lent until done is called.
func (q *queue) message(sid, subject string, data []byte, done func()) {
	lend := done != nil && len(data) >= lendFrom
	room := len(sid) + len(subject) + mostDigits
	if !lend {
		room += len(data)
	}
	p := q.buffer(room)
	before := len(p.b)
	b := append(p.b, "MSG "...)
	b = append(b, subject...)
	b = append(b, ' ')
	b = append(b, sid...)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(len(data)), 10)
	b = append(b, lineEnd...)
	if !lend {
		b = append(append(b, data...), lineEnd...)
	}
	p.b = b
	q.size += len(b) - before
	switch {
	case lend:
		rest := p.rest() // the next message's line has room there
		q.parts = append(q.parts, part{b: data, done: done}, rest)
		q.size += len(data)
		q.bytes([]byte(lineEnd))
	case done != nil:
		done()
	}
}

// take moves what is in other to the end.
func (q *queue) take(other *queue) {
	q.parts = append(q.parts, other.parts...)
	q.size += other.size
	clear(other.parts)
	other.parts, other.size = other.parts[:0], 0
}

// cut drops the first n bytes.
func (q *queue) cut(n int) {
	q.size -= n
	gone := 0
	for ; gone < len(q.parts) && n >= len(q.parts[gone].b); gone++ {
		n -= len(q.parts[gone].b)
		q.parts[gone].free()
	}
	left := q.parts[:copy(q.parts, q.parts[gone:])]
	clear(q.parts[len(left):])
	if q.parts = left; n > 0 {
		q.parts[0].b = q.parts[0].b[n:]
	}
}

// drop gives everything back.
func (q *queue) drop() {
	for i := range q.parts {
		q.parts[i].free()
	}
	q.parts, q.size = q.parts[:0], 0
}

// write brings everything to the socket and leaves the queue empty. After an error
// it is to be dropped.
func (q *queue) write(to net.Conn) error {
	var now net.Buffers
	size := 0
	flush := func() error {
		if err := to.SetWriteDeadline(time.Now().Add(writePatience)); err != nil {
			return err
		}
		_, err := now.WriteTo(to)
		now, size = now[:0], 0
		return err
	}
	for _, p := range q.parts {
		for b := p.b; len(b) > 0; {
			n := min(len(b), atOnce-size)
			now, b, size = append(now, b[:n]), b[n:], size+n
			if size == atOnce {
				if err := flush(); err != nil {
					return err
				}
			}
		}
	}
	if size > 0 {
		if err := flush(); err != nil {
			return err
		}
	}
	q.drop()
	return nil
}
