package transport

import (
	"encoding/base64"
	"net/textproto"
	"slices"
	"strings"

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

// A block is kept whole or refused. NATS's own rules hold for a value: blanks and tabs in
// front of it are not part of it.

var errMalformed = protocol.ErrBadRequest.With("the message's header block is malformed: it is NATS/1.0, one line NAME: VALUE for each header, and one empty line at the end")

// malformed reports whether m's header block could not be read. The library passes such a
// message on without headers, the front with a mark.
func malformed(m *nats.Msg) bool {
	_, marked := m.Header[front.Malformed]
	return marked || m.Header == nil && headerSize(m) > 0
}

// markPart marks m, which the library has delivered, as malformed when its headers are not
// all that its block said. The library skips lines without a name, and what follows an empty
// line; only the size of the block tells. Clients write a blank after each colon, or none.
//
// A block that is too large is also marked, unless another broker has sent it on.
func markPart(m *nats.Msg, sentOn bool) {
	if m.Header == nil {
		return
	}
	size, blanks := len("NATS/1.0\r\n\r\n"), 0
	for name, values := range m.Header {
		for _, value := range values {
			size += len(name) + len(value) + len(":\r\n")
			blanks++
		}
	}
	came, why := headerSize(m), ""
	if !sentOn {
		why = front.TooLarge(came, blanks)
	}
	switch {
	case why != "":
		m.Header = nats.Header{front.Malformed: {why}}
	case came != size && came != size+blanks:
		m.Header = nats.Header{front.Malformed: nil}
	}
}

// headerCarrier is the only header of a put that is sent on to another broker when the
// library would change its headers or refuse them: it holds the block of all of them.
const headerCarrier = "Metaq-Header-Block"

// sendable returns headers that the library sends as they are, and unpacked gives back.
func sendable(h nats.Header) nats.Header {
	plain := true
	for name, values := range h {
		plain = plain && name != headerCarrier && !strings.ContainsFunc(name, mayNotBeSent) &&
			!slices.ContainsFunc(values, changesWhenSent)
	}
	if plain {
		return h
	}
	block := []byte("NATS/1.0\r\n")
	for name, values := range h {
		for _, value := range values {
			block = append(append(append(append(block, name...), ':'), value...), "\r\n"...)
		}
	}
	block = append(block, "\r\n"...)
	return nats.Header{headerCarrier: {base64.StdEncoding.EncodeToString(block)}}
}

// mayNotBeSent reports whether the library refuses names with r; it allows more than these.
func mayNotBeSent(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
}

// changesWhenSent reports whether the library would trim value or replace bytes of it.
func changesWhenSent(value string) bool {
	return textproto.TrimString(value) != value || strings.ContainsAny(value, "\r\n")
}

// unpacked returns the headers of a put that another broker has sent on.
func unpacked(h nats.Header) nats.Header {
	carried := h[headerCarrier]
	if len(carried) != 1 {
		return h
	}
	block, err := base64.StdEncoding.DecodeString(carried[0])
	if err == nil {
		h, err = nats.DecodeHeadersMsg(block)
	}
	if err != nil {
		return nats.Header{front.Malformed: nil}
	}
	return h
}

// oversizedHeaders refuses a message whose header block was too large to be looked at.
func oversizedHeaders(m *nats.Msg) error {
	if m.Header == nil {
		return nil
	}
	if why := m.Header[front.Malformed]; len(why) > 0 {
		return protocol.ErrTooLarge.With("%s", why[0])
	}
	return nil
}

// givenSubject refuses a put that says itself where it was published. Consumers believe that
// header, so the broker alone writes it; another broker may have, before it sent a put on.
func givenSubject(t *target, m *nats.Msg) error {
	if len(m.Header) == 0 || t.heard || t.sentOn || len(m.Header[protocol.HeaderSubject]) == 0 {
		return nil
	}
	return protocol.ErrBadRequest.With("header %s is set by the broker, for messages of a topic's own subjects: leave it out, or publish to that subject",
		protocol.HeaderSubject)
}

// recordOf returns the record of a put. It shares m's bytes.
func recordOf(m *nats.Msg) (protocol.Record, error) {
	r := protocol.Record{Value: m.Data}
	if err := oversizedHeaders(m); err != nil {
		return r, err
	}
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
	if m.Sub == nil {
		return 0
	}
	if n := headerSize(m); n > 0 {
		return n + len(m.Data)
	}
	return 0
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
