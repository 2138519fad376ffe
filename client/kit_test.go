package client

import (
	"testing"
	"time"

	"metaq/client/internal/clientfake"
	"metaq/client/internal/link"
	"metaq/protocol"
)

// fakeClient returns a client of b over l.
func fakeClient(t testing.TB, l link.Link) *Client {
	t.Helper()
	o, err := newOptions(nil)
	if err != nil {
		t.Fatal(err)
	}
	return newClient(l, &o)
}

// fakeCluster is a broker with one topic, and a client of it.
func fakeCluster(t testing.TB, topic string, partitions int) (*clientfake.Broker, *clientfake.Link, *Client) {
	t.Helper()
	b := clientfake.NewBroker()
	b.Create(topic, partitions)
	l := clientfake.NewLink(b)
	return b, l, fakeClient(t, l)
}

func mustProducer(t testing.TB, c *Client, opts ...ProducerOption) *Producer {
	t.Helper()
	p, err := c.NewProducer(opts...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func mustClose(t testing.TB, p *Producer) {
	t.Helper()
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// recordsOf decodes everything that a partition holds.
func recordsOf(t testing.TB, b *clientfake.Broker, topic string, n int) []Record {
	t.Helper()
	var out []Record
	b.With(topic, n, func(p *clientfake.Partition) {
		for _, data := range p.Batches {
			h, err := protocol.CheckBatch(data, 0)
			if err != nil {
				t.Fatal(err)
			}
			for r, err := range protocol.DecodeRecords(&h, data) {
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, Record{
					Topic: topic, Partition: p.ID, Offset: r.Offset, Time: time.UnixMilli(r.Time).UTC(),
					Key: r.Key, Value: r.Value, Headers: r.Headers,
				})
			}
		}
	})
	return out
}
