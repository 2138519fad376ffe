//go:build unix

package cluster

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"metaq/client"
	"metaq/protocol"
)

// A coordinator dies right after a member was told that its group has begun, before the
// topic exists and before anything is committed. The next one knows of the begin: what
// came in between is consumed, though the members ask for the latest.
func TestAnotherCoordinatorDoesNotLetAGroupBeginAgain(t *testing.T) {
	w := newWorld(t, 1, 0, 1)
	got := make(chan client.Record, 10)
	join := func(broker int) *client.Consumer {
		con, err := w.connect(broker).NewConsumer(t.Context(), "g", []string{"coming"}, func(_ context.Context, r client.Record) error {
			got <- r
			return nil
		}, client.ConsumeFrom(client.Latest()))
		if err != nil {
			t.Fatal(err)
		}
		return con
	}
	first := join(0)
	var at int
	if _, err := fmt.Sscanf(w.tree()["/meta/nats/groups/g"], `{"epoch":1,"leader":%d`, &at); err != nil {
		t.Fatal(err, w.tree()["/meta/nats/groups/g"])
	}
	w.brokers[at].Kill()
	gone, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	_ = first.Close(gone) // its session ends with its coordinator
	w.unregistered(at, expiry)

	c := w.connect(1 - at)
	w.eventually("the topic", patience, func(ctx context.Context) error {
		_, err := c.Admin().CreateTopic(ctx, protocol.TopicCreate{Topic: "coming", Partitions: 1})
		if errors.Is(err, client.ErrExists) {
			return nil // by an attempt that was not answered in time
		}
		return err
	})
	p, err := c.NewProducer()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Send(t.Context(), client.Record{Topic: "coming", Value: []byte("first")}); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := join(1 - at)
	w.eventually("the first message", patience, func(ctx context.Context) error {
		select {
		case <-got:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	ctx, stop := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	defer stop()
	if err := second.Close(ctx); err != nil {
		t.Error(err)
	}
}
