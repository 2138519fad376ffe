package groups

import (
	"context"
	"slices"
	"testing"

	"metaq/client"
	"metaq/protocol"
)

// A partition and a topic that come while no member is there are read from their beginning,
// though the group began at the latest.
func TestAGroupBeginsOnce(t *testing.T) {
	c := connect(t, newWorld(t).url)
	produce(t, c, 0, 10)
	got := make(chan client.Record, 100)
	join := func() *client.Consumer {
		con, err := c.NewConsumer(t.Context(), "g", []string{"coming", "orders"}, func(_ context.Context, r client.Record) error {
			got <- r
			return nil
		}, client.ConsumeFrom(client.Latest()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { closeConsumer(t, con) })
		return con
	}
	closeConsumer(t, join())
	if _, err := c.Admin().SetTopic(t.Context(), protocol.TopicSet{Topic: "orders", Partitions: 5}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Admin().CreateTopic(t.Context(), protocol.TopicCreate{Topic: "coming", Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	p, err := c.NewProducer()
	if err != nil {
		t.Fatal(err)
	}
	late := client.PartitionID{N: 4}
	for _, r := range []client.Record{
		{Topic: "orders", Partition: late, Pinned: true, Value: []byte("a")},
		{Topic: "orders", Partition: late, Pinned: true, Value: []byte("b")},
		{Topic: "coming", Value: []byte("c")},
	} {
		if _, err := p.Send(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	join()
	var values []string
	for len(values) < 3 {
		values = append(values, string((<-got).Value))
	}
	slices.Sort(values)
	if !slices.Equal(values, []string{"a", "b", "c"}) {
		t.Errorf("the group got %v", values)
	}
}
