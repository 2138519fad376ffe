package transport

import (
	"slices"

	"github.com/nats-io/nats.go"

	"metaq/protocol"
	"metaq/transport/front"
)

// A message's headers become the record's, with two exceptions: Metaq-Key
// becomes the record's key and is not kept as a header, and those that
// protocol.RefusedHeader has something against are refused.
//
// The NATS client library hands headers over as a map, so their order on the
// wire is lost; they are stored sorted by name, the values of one name in their
// order.

var errMalformed = protocol.ErrBadRequest.With("the message's header block is malformed")

// malformed says whether m's header block could not be read. The library passes such a
// message on without headers, the front with a mark.
func malformed(m *nats.Msg) bool {
	_, marked := m.Header[front.Malformed]
	return marked || m.Header == nil && headerSize(m) > 0
}

// recordOf returns the record of a put. It shares m's bytes.
func recordOf(m *nats.Msg) (protocol.Record, error) {
	r := protocol.Record{Value: m.Data}
	if malformed(m) {
		return r, errMalformed
	}
	if len(m.Header) == 0 {
		return r, nil
	}
	names := make([]string, 0, len(m.Header))
	count := 0
	for name, values := range m.Header {
		if err := protocol.RefusedHeader(name); err != nil {
			return r, err
		}
		if name == protocol.HeaderKey {
			if len(values) > 1 {
				return r, protocol.ErrBadRequest.With("header %s stands %d times: a message has one key", name, len(values))
			}
			r.Key = []byte(values[0])
			continue
		}
		names = append(names, name)
		count += len(values)
	}
	if count == 0 {
		return r, nil
	}
	slices.Sort(names)
	r.Headers = make([]protocol.Header, 0, count)
	for _, name := range names {
		for _, value := range m.Header[name] {
			r.Headers = append(r.Headers, protocol.Header{Name: name, Value: value})
		}
	}
	return r, nil
}

// headerSize is the number of bytes of a received message's header block.
func headerSize(m *nats.Msg) int {
	return m.Size() - len(m.Subject) - len(m.Reply) - len(m.Data)
}

// heldBy is about the memory in bytes that a record of m with headers may hold: names and
// values from the NATS library share the whole header block, whatever it says. Those from
// the front do not.
func heldBy(m *nats.Msg) int {
	if len(m.Header) == 0 || m.Sub == nil {
		return 0
	}
	return headerSize(m) + len(m.Data)
}

// recordSize is what counts against the largest message: payload, key and
// headers.
func recordSize(r *protocol.Record) int {
	n := len(r.Value) + len(r.Key)
	for i := range r.Headers {
		n += len(r.Headers[i].Name) + len(r.Headers[i].Value)
	}
	return n
}
