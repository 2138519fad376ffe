package transport

import (
	"github.com/nats-io/nats.go"

	"metaq/actors"
	"metaq/protocol"
)

// Get: <prefix>.get.<topic>.<partition>, a protocol.GetRequest in JSON.
//
//	limits    maxControlSize of request; Options.PartitionReads and
//	          Options.Reads in flight, those that wait included; the answer at
//	          most max_bytes of batches and one NATS payload
//	400       name or partition not allowed; not the JSON expected; a negative
//	          number; an unknown format
//	403       the topic does not serve readers
//	404, 429, 503 as for a put
//	413       one message is larger than the NATS payload when it is JSON
//	416       from the partition: offset below the log start or beyond the end
//	ignored   without a reply subject

// maxControlSize is the largest request that is JSON, in bytes.
const maxControlSize = 64 << 10

// get serves one get.
func (g *Gateway) get(t *target, m *nats.Msg) error {
	var request protocol.GetRequest
	topic, i, err := g.read(t, m, &request)
	if err != nil || topic == nil {
		return err
	}
	if !topic.route.AcceptSubscribe {
		return protocol.ErrNotAccepted.With("topic %s does not serve readers: acceptSubscribe is false", t.topic)
	}
	if err := request.Check(); err != nil {
		return err
	}
	account, size := topic.reads[i], len(m.Data)
	if err := account.admit(1, size); err != nil {
		return err
	}
	g.send(topic.route.Leaders[i], &actors.Get{Request: request, Ticket: actors.Ticket{From: account, Bytes: size}}, m)
	return nil
}

// read decodes a request that changes nothing into request and finds its
// partition. The topic is nil when nobody would get the answer.
func (g *Gateway) read(t *target, m *nats.Msg, request any) (topic *topicState, i int, err error) {
	if m.Reply == "" {
		g.metrics.noReply.Inc()
		return nil, 0, nil
	}
	if err := t.needPartition(); err != nil {
		return nil, 0, err
	}
	if err := decodeControl(m.Data, request); err != nil {
		return nil, 0, err
	}
	if topic = g.topic(t.topic); topic == nil {
		return nil, 0, g.noTopic(t.topic)
	}
	i, err = topic.find(t.partition)
	return topic, i, err
}

// decodeControl reads a request that is JSON.
func decodeControl(b []byte, request any) error {
	if len(b) > maxControlSize {
		return protocol.ErrTooLarge.With("request has %d bytes, the limit is %d", len(b), maxControlSize)
	}
	return protocol.DecodeRequest(b, request)
}
