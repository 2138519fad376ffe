package front

import (
	"fmt"
	"io"
	"strings"
)

// errRefused ends a connection that the front refuses. As at the server's own end, the last
// words still reach the client.
var errRefused = fmt.Errorf("front: connection refused: %w", io.ErrClosedPipe)

// refuse says why and ends the connection.
func (in *inbound) refuse(why string) error {
	in.hand()
	if err := in.passCopies(); err != nil {
		return err
	}
	in.c.out.say("-ERR '" + why + "'\r\n")
	in.c.front.told(in.c.socket, why)
	return errRefused
}

// mayPublish reports whether clients may publish to a subject. The rest of the broker's own
// is what brokers say to each other, and what the front brings the gateway.
func (f *Front) mayPublish(subject []byte) bool {
	if !f.owns(subject) {
		return true
	}
	for _, closed := range f.closedTo {
		if len(subject) >= len(closed)-1 && string(subject[:len(closed)-1]) == closed[:len(closed)-1] &&
			(len(subject) == len(closed)-1 || subject[len(closed)-1] == '.') {
			return false
		}
	}
	return true
}

// forbidden drops a message to a subject that clients may not publish to. Who waits for an
// answer gets a refusal, everybody else the protocol's error.
func (in *inbound) forbidden(p publication, line []byte) error {
	subject, reply := string(p.subject), string(p.reply)
	sid, wanted := "", false
	if reply != "" {
		sid, wanted = in.c.subs.wants(p.reply)
	}
	if err := in.drop(len(line), p.size); err != nil {
		return err
	}
	f := in.c.front
	f.told(in.c.socket, "publishes to a subject of the broker's own")
	if wanted {
		in.c.out.answer(sid, reply, f.opts.Forbidden(subject), nil)
	} else {
		in.c.out.say(fmt.Sprintf("-ERR 'Permissions Violation for Publish to %q'\r\n", strings.ToValidUTF8(subject, "?")))
	}
	return nil
}
