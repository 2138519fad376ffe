package transport

import (
	"github.com/nats-io/nats.go"

	"metaq/protocol"
	"metaq/transport/front"
)

// nobody is the refusal of a request for a partition that nobody leads now, in the words
// that NATS has for it: no responders. Clients know what that means. JetStream's publishers
// try again by themselves, which they do not for any other refusal.
type nobody struct{}

// Error gives the text for logs.
func (nobody) Error() string { return "no responders" }

// Unwrap gives the class.
func (nobody) Unwrap() error { return protocol.ErrUnavailable }

// How the NATS client library reads NATS's own answer.
const (
	statusHeader = "Status"
	statusNobody = "503"
)

// noResponders is what the server writes, without the subject that newer ones add. Clients in other languages than Go read the
// status from the first line alone, where the library does not let us write it.
const noResponders = "NATS/1.0 503\r\n\r\n"

// writeNobody answers like a server to which nobody listens.
func (g *Gateway) writeNobody(nc *nats.Conn, reply string) {
	if front.Mine(reply) {
		g.opts.Front.Nobody(reply)
		return
	}
	g.byNATS(letter{nc: nc, reply: reply, nobody: true})
}
