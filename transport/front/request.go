package front

import (
	"iter"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
)

// Request is a message of a client that is for the gateway.
type Request struct {
	nats.Msg
	memory *memory  // in which Data lies; nil: its own
	next   *Request // that the same client sent after it
}

// Memory is where a request's Data lies.
type Memory interface {
	// Release says that so many requests in it are not looked at any more.
	Release(requests int)
}

// Memory returns where Data lies with that of others; nil when it lies alone.
func (m *Request) Memory() Memory {
	if m.memory == nil {
		return nil
	}
	return m.memory
}

// Requests are some of one client, in the order in which it sent them. They are handed
// over together, so that the gateway is woken up once for them.
type Requests struct {
	Bytes       int // of the messages, as they were sent
	n           int
	first, last *Request
}

// ManyRequests is the most that are handed over together: the gateway is to begin while the
// client is still read from.
const ManyRequests = 16

// manyBytes is when they are handed over, however few they are.
const manyBytes = 64 << 10

// add appends a request that was sent in so many bytes; many says that it is time to hand
// all over.
func (r *Requests) add(next *Request, bytes int) (many bool) {
	if r.n++; r.n == 1 {
		r.first = next
	} else {
		r.last.next = next
	}
	r.last = next
	r.Bytes += bytes
	return r.n >= ManyRequests || r.Bytes >= manyBytes
}

// head gives m the headers of a block, which may be empty. Names and values share a copy of
// all of it; where most of it says nothing, they get memory of their own.
func (m *Request) head(block []byte) {
	if len(block) == 0 {
		return
	}
	headers, err := nats.DecodeHeadersMsg(block)
	if err != nil {
		m.Header = nats.Header{Malformed: nil}
		return
	}
	if m.Header = headers; len(block) > small && sizeOf(headers) < len(block)/2 {
		m.Header = ownMemory(headers)
	}
}

func ownMemory(h nats.Header) nats.Header {
	own := make(nats.Header, len(h))
	for name, values := range h {
		name = strings.Clone(name)
		for _, value := range values {
			own[name] = append(own[name], strings.Clone(value))
		}
	}
	return own
}

func sizeOf(h nats.Header) (n int) {
	for name, values := range h {
		for _, value := range values {
			n += len(name) + len(value)
		}
	}
	return n
}

// All gives them in their order.
func (r *Requests) All() iter.Seq[*Request] {
	return func(yield func(*Request) bool) {
		for m := r.first; m != nil; m = m.next {
			if !yield(m) {
				return
			}
		}
	}
}

// spares are lists of empty requests.
var spares = sync.Pool{New: func() any {
	all := make([]Request, ManyRequests)
	for i := range all[1:] {
		all[i].next = &all[i+1]
	}
	return &all[0]
}}

func spareRequests() *Request { return spares.Get().(*Request) } //nolint:forcetypeassert // the pool's own

// Done says that nobody looks at any of them again: they are used for others.
func (r *Requests) Done() {
	for m := range r.All() {
		m.Msg, m.memory = nats.Msg{}, nil
	}
	if r.first != nil {
		spares.Put(r.first)
	}
	*r = Requests{}
}
