package cluster

import (
	"context"
	"fmt"
	"testing"

	"metaq/protocol"
	zktest "metaq/test/zk"
)

// A deletion waits behind another change for a registry that hangs, and its client closes its
// connection. When the registry answers again, the topic stays.
func TestADeletionWhoseClientHasGoneIsNotCarriedOut(t *testing.T) {
	w := &world{t: t, zk: zktest.Start(t, 1), root: "/meta"}
	proxy := zktest.NewProxy(t, w.zk.Servers[0].Address)
	w.add(w.start(0, map[string]string{"zookeeper": proxy.Address, "zk-session-timeout-ms": "30000"}))
	w.create("t", 1)
	stays, leaves := w.nats(0), w.nats(0)
	answers, err := stays.SubscribeSync(stays.NewInbox())
	if err == nil {
		err = stays.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	proxy.Set(zktest.Stalled)
	if err := stays.PublishRequest("metaq.admin.topic.create", answers.Subject, []byte(`{"topic":"first","partitions":1}`)); err != nil {
		t.Fatal(err)
	}
	inbox := leaves.NewInbox()
	if _, err := leaves.SubscribeSync(inbox); err != nil {
		t.Fatal(err)
	}
	if err := leaves.PublishRequest("metaq.admin.topic.delete", inbox, []byte(`{"topic":"t"}`)); err != nil {
		t.Fatal(err)
	}
	put := func(ctx context.Context) error {
		m, err := stays.RequestWithContext(ctx, "metaq.put.t.0-0", []byte("x"))
		if err == nil {
			err = protocol.DecodeError(m.Data)
		}
		return err
	}
	w.eventually("the deletion to close the topic", patience, func(ctx context.Context) error {
		if put(ctx) == nil {
			return fmt.Errorf("it takes messages")
		}
		return nil
	})
	leaves.Close()
	w.eventually("the deletion to be given up", patience, put)
	if n, _, err := answers.Pending(); err != nil || n > 0 {
		t.Fatalf("the change before it is answered already (%v): nothing is proved", err)
	}
	proxy.Set(zktest.Healthy)
	w.eventually("a change after it", patience, func(ctx context.Context) error {
		_, err := w.connect(0).Admin().CreateTopic(ctx, protocol.TopicCreate{Topic: "later", Partitions: 1})
		return err
	})
	if _, there := w.tree()["/meta/nats/topics/t"]; !there {
		t.Error("the topic was deleted for nobody")
	}
}
