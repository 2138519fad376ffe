package clienttest_test

import (
	"testing"

	"go.uber.org/goleak"

	"metaq/client"
	"metaq/client/clienttest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// The actor library's limiter of its log lines sleeps for a second after a
		// dead letter.
		goleak.IgnoreAnyFunction("github.com/asynkron/protoactor-go/actor.NewDeadLetter.NewThrottle.func4.1"))
}

func send(t *testing.T, url, topic, value string) (c *client.Client) {
	t.Helper()
	c, err := client.Connect(t.Context(), client.WithServers(url))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	p, err := c.NewProducer()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Send(t.Context(), client.Record{Topic: topic, Value: []byte(value)}); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTwoBrokersOfOneProcessShareNothing(t *testing.T) {
	first, second := clienttest.Start(t), clienttest.Start(t)
	if first == second {
		t.Fatalf("both brokers are at %s", first)
	}
	send(t, first, "orders", "one")
	c := send(t, second, "payments", "two")
	topics, err := c.Admin().ListTopics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(topics) != 1 || topics[0].Topic != "payments" {
		t.Errorf("the second broker has the topics %+v, want payments alone", topics)
	}
}

func TestABrokerMayBeClosedTwice(t *testing.T) {
	b := clienttest.NewBroker()
	c := send(t, b.URL, "orders", "one")
	c.Close()
	b.Close()
	b.Close()
	if c, err := client.Connect(t.Context(), client.WithServers(b.URL)); err == nil {
		if _, err := c.Admin().ListTopics(t.Context()); err == nil {
			t.Errorf("a broker that was closed answers at %s", b.URL)
		}
		c.Close()
	}
}
