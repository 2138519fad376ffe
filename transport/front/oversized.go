package front

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
)

// A header block becomes a map, many times its size, before anybody can judge the message. So
// it has limits of its own, and what is beyond them is read and dropped: the gateway gets the
// request without it, and refuses it in its turn.
const (
	// MaxHeader is the largest header block in bytes.
	MaxHeader = 64 << 10
	// MaxNames is the most headers of a message; one that stands twice counts twice.
	MaxNames = 256

	blockLines = 2 // the version, and the empty one at the end
)

// TooLarge returns why a header block of size bytes with this number of headers is refused; "" if it is not.
func TooLarge(size, headers int) string {
	switch {
	case size > MaxHeader:
		return TooManyBytes(strconv.Itoa(size))
	case headers > MaxNames:
		return fmt.Sprintf("the message has %d headers, the limit is %d: put more into the payload", headers, MaxNames)
	default:
		return ""
	}
}

// TooManyBytes is TooLarge for a size that is known to be.
func TooManyBytes(size string) string {
	return fmt.Sprintf("the message's header block has %s bytes, the limit is %d: put more into the payload", size, MaxHeader)
}

// owns reports whether a subject is one of the broker's own.
func (f *Front) owns(subject []byte) bool { return bytes.HasPrefix(subject, f.prefix) }

// oversized drops a message for the gateway whose header block is too large, and tells the
// gateway instead.
func (in *inbound) oversized(w way, p publication, line []byte) error {
	in.note(w, p.subject)
	reply, err := in.replyOf(p)
	if err != nil {
		return err
	}
	size := strconv.Itoa(p.header)
	if w == control {
		in.hand()
	}
	if err := in.drop(len(line), p.size); err != nil {
		return err
	}
	if in.taken == nil {
		in.taken = newRequests()
	}
	m := in.taken.add(len(in.name))
	m.Subject, m.Reply = in.name, reply
	m.Header = nats.Header{Malformed: {TooManyBytes(size)}}
	if in.taken.Control = w == control; in.taken.Control || in.taken.many() {
		in.hand()
	}
	return nil
}

// drop reads a publication whose line and payload have these sizes, and forgets it.
func (in *inbound) drop(line, payload int) error {
	whole := line + payload + len(lineEnd)
	here := min(whole, in.to-in.from)
	end := bytes.Clone(in.buf[in.from+here-min(here, len(lineEnd)) : in.from+here])
	in.from += here
	if whole > here {
		in.hand() // before what may wait
	}
	b := make([]byte, min(fullBuffer, whole-here))
	for rest := whole - here; rest > 0; {
		n, err := in.c.socket.Read(b[:min(len(b), rest)])
		if err != nil {
			return err
		}
		rest -= n
		end = append(end, b[max(0, n-len(lineEnd)):n]...)
		end = end[max(0, len(end)-len(lineEnd)):]
	}
	if string(end) != lineEnd {
		return in.refuse(unknownOperation) // nobody knows where it ends
	}
	return nil
}
