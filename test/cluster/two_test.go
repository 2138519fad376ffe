package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"metaq/protocol"
	zktest "metaq/test/zk"
)

// Two brokers that start at the same time find each other, and every client reaches
// every partition through either.
func TestTwoBrokersAreOneCluster(t *testing.T) {
	w := newWorld(t, 1, 0, 1)
	w.create("orders", 3)

	info, err := w.connect(1).Admin().ClusterInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(info.Brokers) != 2 || len(info.Leaderless) != 0 || len(info.Failed) != 0 {
		t.Fatalf("cluster: %+v", info)
	}
	for i, b := range info.Brokers {
		if b.BrokerID != i || !b.Ready || b.Registry != w.zk.Servers[0].Address || b.NATS != w.brokers[i].URL {
			t.Errorf("broker %d: %+v", i, b)
		}
	}

	// Any broker takes any message, and the key decides alike at both.
	for i := range w.brokers {
		nc := w.nats(i)
		homes := map[int]int{}
		at := map[string]protocol.PartitionID{}
		for n := range 40 {
			m := nats.NewMsg("metaq.put.orders")
			m.Data = []byte("hello")
			key := string(rune('a' + n%20))
			if n < 20 {
				m.Header.Set(protocol.HeaderKey, key)
			}
			answer, err := nc.RequestMsg(m, 5*time.Second)
			if err != nil {
				t.Fatalf("broker %d, message %d: %v", i, n, err)
			}
			if err := protocol.DecodeError(answer.Data); err != nil {
				t.Fatalf("broker %d, message %d: %v", i, n, err)
			}
			var ack protocol.PubAck
			if err := json.Unmarshal(answer.Data, &ack); err != nil {
				t.Fatal(err)
			}
			homes[ack.Partition.Home]++
			if n >= 20 {
				continue
			}
			at[key] = ack.Partition
			want := protocol.PartitionOf([]byte(key), 6)
			if got := ack.Partition.Home*3 + ack.Partition.N; got != want {
				t.Errorf("key %s went to %s, not to the partition with index %d", key, ack.Partition, want)
			}
		}
		if homes[0] == 0 || homes[1] == 0 {
			t.Errorf("through broker %d messages went to %v only", i, homes)
		}
		for _, p := range []string{"0-0", "0-1", "0-2", "1-0", "1-1", "1-2"} {
			answer, err := nc.Request("metaq.get.orders."+p, []byte(`{}`), 5*time.Second)
			if err != nil || protocol.DecodeError(answer.Data) != nil {
				t.Errorf("get %s through broker %d: %v, %s", p, i, err, answer.Data)
			}
		}
	}

	// A partition that nobody leads has no responders; nothing waits for it.
	_, err = w.nats(0).Request("metaq.get.orders.7-0", []byte(`{}`), patience)
	if !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("a partition that nobody leads: %v", err)
	}

	// What brokers say to each other is closed to clients.
	nc := w.nats(0)
	answer, err := nc.Request("metaq.node.1.state", []byte(`{}`), patience)
	if err != nil || !errors.Is(protocol.DecodeError(answer.Data), protocol.ErrForbidden) {
		t.Errorf("a client reached another broker's own subject: %v, %s", err, answer.Data)
	}
	heard, err := nc.SubscribeSync("metaq.node.>")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.connect(1).Admin().ClusterInfo(t.Context()); err != nil {
		t.Fatal(err)
	}
	if m, err := heard.NextMsg(200 * time.Millisecond); err == nil {
		t.Errorf("a client heard what brokers say: %s %s", m.Subject, m.Data)
	}

	// Clients learn the addresses of all brokers by themselves.
	w.eventually("servers known to a client", patience, func(context.Context) error {
		if list := strings.Join(nc.Servers(), " "); !strings.Contains(list, hostPort(w.brokers[1].URL)) {
			return errors.New(list)
		}
		return nil
	})
}

// Brokers ask each other in pages too: a topic whose description is larger than a message
// is whole at each of them.
func TestBrokersDescribeAWideTopicToEachOther(t *testing.T) {
	w := &world{t: t, zk: zktest.Start(t, 1), root: "/meta"}
	for id := range 2 {
		w.add(w.start(id, map[string]string{"file": w.file("[system]\nmaxMessageSize=1024\nmaxTransferSize=4096\n[nats]\nmaxPayload=80KiB\n")}))
	}
	w.create("wide", 1000)
}
