package durability

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"metaq/protocol"
)

// wire is a plain NATS client.
type wire struct {
	ctx context.Context
	nc  *nats.Conn
}

func dial(ctx context.Context, t testing.TB, url string) wire {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return wire{ctx, nc}
}

// ask sends a request and reads its answer into reply; a refusal is a
// *protocol.Error.
func (w wire) ask(subject string, body []byte, reply any) error {
	m, err := w.nc.RequestWithContext(w.ctx, subject, body)
	if err != nil {
		return err
	}
	if err := protocol.DecodeError(m.Data); err != nil {
		return err
	}
	return json.Unmarshal(m.Data, reply)
}

// askJSON is ask with a request that is encoded first.
func (w wire) askJSON(subject string, request, reply any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	return w.ask(subject, body, reply)
}

// put stores one message, in a batch of its own when nobody else puts.
func (w wire) put(topic, partition, value string) (protocol.PubAck, error) {
	var ack protocol.PubAck
	err := w.ask("metaq.put."+topic+"."+partition, []byte(value), &ack)
	return ack, err
}

// get returns the values from the offset on, as many as one answer holds.
func (w wire) get(topic, partition string, from protocol.Offset) ([]string, error) {
	var reply protocol.GetReply
	if err := w.askJSON("metaq.get."+topic+"."+partition, protocol.GetRequest{Offset: &from}, &reply); err != nil {
		return nil, err
	}
	var values []string
	for _, m := range reply.Messages {
		payload, err := m.Payload()
		if err != nil {
			return nil, err
		}
		values = append(values, string(payload))
	}
	return values, nil
}

// until polls until the condition holds.
func until(ctx context.Context, t testing.TB, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("it never came: %s", what)
		}
	}
}
