package transport

import (
	"github.com/nats-io/nats.go"

	"metaq/actors"
	"metaq/protocol"
)

// Offsets: <prefix>.offsets.<topic>.<partition>, a protocol.OffsetsRequest in
// JSON. Limits and refusals are those of a get, but for 403, 413 and 416.

// offsets serves one request for the ends of a log.
func (g *Gateway) offsets(t *target, m *nats.Msg) error {
	var request protocol.OffsetsRequest
	topic, i, err := g.read(t, m, &request)
	if err != nil || topic == nil {
		return err
	}
	account, size := topic.reads[i], len(m.Data)
	if err := account.admit(1, size); err != nil {
		return err
	}
	g.send(topic.route.Leaders[i], &actors.Offsets{Request: request, Ticket: actors.Ticket{From: account, Bytes: size}}, m)
	return nil
}
