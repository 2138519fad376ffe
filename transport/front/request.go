package front

import (
	"iter"

	"github.com/nats-io/nats.go"
)

// Request is a message of a client that is for the gateway.
type Request struct {
	nats.Msg
	next *Request // that the same client sent after it
}

// Requests are some of one client, in the order in which it sent them. They are handed
// over together, so that the gateway is woken up once for them.
type Requests struct {
	Bytes       int // of the messages
	n           int
	first, last *Request
}

// ManyRequests is the most that are handed over together: the gateway is to begin while the
// client is still read from.
const ManyRequests = 16

// manyBytes is when they are handed over, however few they are.
const manyBytes = 64 << 10

// add appends a request; full says that it is time to hand all over.
func (r *Requests) add(next *Request) (full bool) {
	if r.n++; r.n == 1 {
		r.first = next
	} else {
		r.last.next = next
	}
	r.last = next
	r.Bytes += next.Size()
	return r.n >= ManyRequests || r.Bytes >= manyBytes
}

// All gives their messages, once.
func (r *Requests) All() iter.Seq[*nats.Msg] {
	return func(yield func(*nats.Msg) bool) {
		for at := r.first; at != nil; {
			m := at
			at, m.next = m.next, nil // who keeps one does not keep the others
			if !yield(&m.Msg) {
				return
			}
		}
	}
}
