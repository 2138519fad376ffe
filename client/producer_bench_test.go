package client

import (
	"context"
	"testing"

	"metaq/client/internal/clientfake"
	"metaq/protocol"
)

// nowhere is a link whose broker stores nothing and acknowledges at once.
type nowhere struct{ *clientfake.Link }

func (l nowhere) Post(_ context.Context, _ string, data []byte, done func([]byte, error)) {
	h, err := protocol.ParseBatchHeader(data)
	if err != nil {
		done(nil, err)
		return
	}
	ack := protocol.NewPubAck("orders", PartitionID{}, 0, h.Count)
	done(ack.Append(nil), nil)
}

// BenchmarkSendAsync is what a record costs the caller, its share of a batch and
// of the answer, without network and broker.
func BenchmarkSendAsync(b *testing.B) {
	_, l, _ := fakeCluster(b, "orders", 1)
	c := fakeClient(b, nowhere{l})
	p := mustProducer(b, c)
	rec := Record{Topic: "orders", Value: make([]byte, 128)}
	done := func(Result, error) {}
	b.SetBytes(128)
	b.ReportAllocs()
	for b.Loop() {
		if err := p.SendAsync(b.Context(), rec, done); err != nil {
			b.Fatal(err)
		}
	}
	if err := p.Close(context.WithoutCancel(b.Context())); err != nil {
		b.Fatal(err)
	}
}
