package front

import (
	"bytes"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
)

// Request is a message of a client that is for the gateway.
type Request struct {
	nats.Msg
	memory *memory // in which Data lies; nil: its own
	// Prepared is for the Receiver, to note what it found out on the connection's goroutine.
	Prepared any
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
	Bytes   int    // of the messages, as they were sent
	Control bool   // it is one request of Options.Control, and lies alone
	Client  uint64 // whose they are; never 0. No two clients have the same
	all     [ManyRequests]Request
	n       int
}

// ManyRequests is the most that are handed over together: the gateway is to begin while the
// client is still read from.
const ManyRequests = 16

// manyBytes is when they are handed over, however few they are.
const manyBytes = 64 << 10

// All are the requests. They are used for others after Done.
func (r *Requests) All() []Request { return r.all[:r.n] }

// add appends a request that was sent in so many bytes, and is to be filled in. There is a
// place, unless many said that it is time to hand all over.
func (r *Requests) add(bytes int) *Request {
	r.n++
	r.Bytes += bytes
	return &r.all[r.n-1]
}

func (r *Requests) many() bool { return r.n == ManyRequests || r.Bytes >= manyBytes }

// head gives m the headers of a block, which may be empty. Names and values share a copy of
// all of it; where most of it says nothing, they get memory of their own.
func (m *Request) head(block []byte) {
	if len(block) == 0 {
		return
	}
	if why := TooLarge(len(block), bytes.Count(block, []byte("\n"))-blockLines); why != "" {
		m.Header = nats.Header{Malformed: {why}}
		return
	}
	headers, err := nats.DecodeHeadersMsg(block)
	if err != nil || !wholeBlock(block, headers) {
		m.Header = nats.Header{Malformed: nil}
		return
	}
	if m.Header = headers; len(block) > small && sizeOf(headers) < len(block)/2 {
		m.Header = ownMemory(headers)
	}
}

// wholeBlock reports whether headers are all that a block says. The library skips lines
// that begin with a colon, ends at the first empty line, and makes headers of a status.
func wholeBlock(block []byte, headers nats.Header) bool {
	lines := 2 // the version, and the empty one at the end
	for _, values := range headers {
		lines += len(values)
	}
	version, _, _ := bytes.Cut(block, []byte("\n"))
	return bytes.Count(block, []byte("\n")) == lines && block[len(block)-1] == '\n' &&
		len(bytes.TrimSuffix(version, []byte("\r"))) == len("NATS/1.0")
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

// spares are empty.
var spares = sync.Pool{New: func() any { return new(Requests) }}

func newRequests() *Requests { return spares.Get().(*Requests) } //nolint:forcetypeassert // the pool's own

// Done says that nobody looks at any of them again.
func (r *Requests) Done() {
	clear(r.All())
	r.n, r.Bytes, r.Control = 0, 0, false
	spares.Put(r)
}
