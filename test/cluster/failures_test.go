//go:build unix

package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"metaq/client"
	"metaq/protocol"
	zktest "metaq/test/zk"
)

// back is how long service may take to return after the end of what broke it.
const back = sessionTimeout + slack

// inUse is the ZooKeeper server that a broker is connected to.
func (w *world) inUse(id int) *zktest.Server {
	w.t.Helper()
	var s *zktest.Server
	w.eventually("a connected broker", patience, func(ctx context.Context) error {
		info, err := w.connect(id).Admin().ClusterInfo(ctx)
		if err != nil {
			return err
		}
		if len(info.Brokers) <= id {
			return fmt.Errorf("brokers: %+v", info.Brokers)
		}
		if s = w.zk.At(info.Brokers[id].Registry); s == nil {
			return fmt.Errorf("registry of broker %d is %q", id, info.Brokers[id].Registry)
		}
		return nil
	})
	return s
}

// creates makes a topic within a time, and has every broker open it.
func (w *world) creates(topic string, within time.Duration) {
	w.t.Helper()
	admin := w.connect(0).Admin()
	w.eventually("a new topic", within, func(ctx context.Context) error {
		_, err := admin.CreateTopic(ctx, protocol.TopicCreate{Topic: topic, Partitions: 1})
		if errors.Is(err, client.ErrExists) {
			return nil // an attempt before had an unknown outcome
		}
		return err
	})
	w.whole(topic, len(w.brokers))
}

// metric reads one value of a broker's metrics.
func (w *world) metric(address, name string) string {
	w.t.Helper()
	r, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if value, found := strings.CutPrefix(line, name+" "); found {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func TestZooKeeperServersDieOneByOne(t *testing.T) {
	w := newWorld(t, 3, 0, 1)
	w.create("t", 2)
	f := w.produce(w.connect(0), "t")
	f.flows(100, patience)

	first := w.inUse(0)
	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	f.flows(100, back)
	w.creates("with-two", 2*back) // with a quorum everything works

	second := w.inUse(0)
	if err := second.Kill(); err != nil {
		t.Fatal(err)
	}
	// Without one messages go on, also when all sessions would have been over.
	until := time.Now().Add(2 * sessionTimeout)
	for time.Now().Before(until) {
		f.flows(50, back)
	}
	w.eventually("the metric that says so", patience, func(context.Context) error {
		if v := w.metric(w.metrics[0], "metaq_registry_readable"); v != "0" {
			return fmt.Errorf("metaq_registry_readable is %q", v)
		}
		return nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	if _, err := w.connect(0).Admin().CreateTopic(ctx, protocol.TopicCreate{Topic: "with-one", Partitions: 1}); err == nil {
		t.Error("a topic was created without a quorum")
	}
	cancel()

	for _, s := range []*zktest.Server{first, second} {
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
	}
	quorum, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := w.zk.WaitQuorum(quorum); err != nil {
		t.Fatal(err)
	}
	w.creates("with-three", 2*back) // no restart of anything
	f.flows(100, back)
	f.stop()
	w.judge("t", f.ledger)
}

func TestABrokerIsKilledAndComesBack(t *testing.T) {
	w := newWorld(t, 1, 0, 1)
	w.create("t", 2)
	f := w.produce(w.connect(0), "t")
	f.flows(100, patience)
	nc := w.nats(0)
	key := keyOf(t, 4, func(i int) bool { return i >= 2 }) // of broker 1

	w.brokers[1].Kill()
	// Its partitions have no leader: who names one, or a key of one, is told at once.
	w.eventually("no responders", back, func(context.Context) error {
		_, err := nc.Request("metaq.get.t.1-0", []byte(`{}`), time.Second)
		if !errors.Is(err, nats.ErrNoResponders) {
			return errors.Join(errors.New("not told at once"), err)
		}
		return nil
	})
	m := nats.NewMsg("metaq.put.t")
	m.Header.Set(protocol.HeaderKey, key)
	began := time.Now()
	answer, err := nc.RequestMsg(m, 5*time.Second)
	if err != nil || !errors.Is(protocol.DecodeError(answer.Data), protocol.ErrUnavailable) || time.Since(began) > time.Second {
		t.Errorf("a key of a broker that is away: %v, %s after %s", err, answer.Data, time.Since(began))
	}
	// What has no key goes to the others.
	for range 10 {
		answer, err := nc.Request("metaq.put.t", []byte("x"), time.Second)
		if err != nil || protocol.DecodeError(answer.Data) != nil {
			t.Errorf("without a key: %v, %s", err, answer.Data)
		}
	}

	began = time.Now()
	w.brokers[1].Start() // within its old session
	w.whole("t", 4)
	if d := time.Since(began); d > back {
		t.Errorf("the broker served after %s", d)
	}
	f.flows(200, back)
	f.stop()
	w.judge("t", f.ledger)
}

// keyOf finds a key whose partition has an index that will do.
func keyOf(t testing.TB, partitions int, will func(int) bool) string {
	t.Helper()
	for i := range 1000 {
		if key := fmt.Sprint("key", i); will(protocol.PartitionOf([]byte(key), partitions)) {
			return key
		}
	}
	t.Fatal("no key")
	return ""
}

func TestABrokerIsPausedLongerThanItsSession(t *testing.T) {
	w := newWorld(t, 1, 0, 1)
	w.create("t", 2)
	f := w.produce(w.connect(0), "t")
	f.flows(100, patience)

	w.brokers[1].Pause()
	t.Cleanup(w.brokers[1].Resume) // so that it can be stopped
	w.eventually("its registration to go", 2*back, func(ctx context.Context) error {
		info, err := w.connect(0).Admin().ClusterInfo(ctx)
		if err != nil {
			return err
		}
		if len(info.Brokers) != 1 || len(info.Leaderless) != 2 {
			return fmt.Errorf("brokers %+v, leaderless %+v", info.Brokers, info.Leaderless)
		}
		return nil
	})
	nc := w.nats(0)
	for range 10 {
		answer, err := nc.Request("metaq.put.t", []byte("x"), time.Second)
		if err != nil || protocol.DecodeError(answer.Data) != nil {
			t.Errorf("without a key: %v", err)
		}
	}
	w.brokers[1].Resume()
	resumed := time.Now()
	w.whole("t", 4)
	if d := time.Since(resumed); d > back {
		t.Errorf("the broker served after %s", d)
	}
	f.flows(200, back)
	f.stop()
	w.judge("t", f.ledger)
}

func TestTheZooKeeperServerInUseFreezes(t *testing.T) {
	w := newWorld(t, 3, 0, 1)
	w.create("t", 2)
	f := w.produce(w.connect(0), "t")
	f.flows(100, patience)
	frozen := w.inUse(0)
	if err := frozen.Pause(); err != nil {
		t.Fatal(err)
	}
	f.flows(100, back)
	w.creates("meanwhile", 3*back) // through another server
	if now := w.inUse(0); now == frozen {
		t.Error("the broker is still connected to the frozen server")
	}
	if err := frozen.Resume(); err != nil {
		t.Fatal(err)
	}
	w.creates("after", back)
	f.flows(100, back)
	f.stop()
	w.judge("t", f.ledger)
}

// A broker whose network to ZooKeeper is gone for longer than its session keeps
// serving, and registers as a new incarnation when the network is back.
func TestASessionExpires(t *testing.T) {
	w := &world{t: t, zk: zktest.Start(t, 1), root: "/meta"}
	proxy := zktest.NewProxy(t, w.zk.Servers[0].Address)
	w.add(w.start(0, map[string]string{"zookeeper": proxy.Address}))
	w.add(w.start(1, nil))
	w.create("t", 2)
	f := w.produce(w.connect(1), "t")
	f.flows(100, patience)

	proxy.Set(zktest.Cut)
	w.eventually("its registration to go", 3*back, func(context.Context) error {
		if _, there := w.tree()["/meta/nats/brokers/0"]; there {
			return errors.New("it is still there")
		}
		return nil
	})
	// Its own clients are still served by it.
	if answer, err := w.nats(0).Request("metaq.put.t.0-0", []byte("x"), time.Second); err != nil || protocol.DecodeError(answer.Data) != nil {
		t.Errorf("a put to the broker without a session: %v", err)
	}
	proxy.Set(zktest.Healthy)
	healed := time.Now()
	w.whole("t", 4)
	if d := time.Since(healed); d > back {
		t.Errorf("the broker was back after %s", d)
	}
	f.flows(200, back)
	f.stop()
	w.judge("t", f.ledger)
}

// A ZooKeeper that was restored from a backup knows neither the topics since then nor
// the epochs: the brokers tell it, and messages go on.
func TestZooKeeperIsSetBack(t *testing.T) {
	w := newWorld(t, 1, 0, 1)
	w.create("old", 2)
	server := w.zk.Servers[0]
	restart := func(between func() error) {
		t.Helper()
		if err := errors.Join(server.Stop(), between(), server.Start()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := w.zk.WaitQuorum(ctx); err != nil {
			t.Fatal(err)
		}
	}
	restart(w.zk.Save)
	w.creates("new", 4*back)
	f, g := w.produce(w.connect(0), "old"), w.produce(w.connect(1), "new")
	f.flows(100, patience)
	g.flows(100, patience)
	before := w.epochs("old")

	restart(w.zk.Restore)
	f.flows(100, back) // messages never stop
	g.flows(100, back)
	w.eventually("the lost topic in the registry", 5*back, func(context.Context) error {
		tree := w.tree()
		for _, path := range []string{"/meta/nats/topics/new", "/meta/nats/partitions/new/0", "/meta/nats/partitions/new/1"} {
			if _, there := tree[path]; !there {
				return fmt.Errorf("%s is not there", path)
			}
		}
		return nil
	})
	w.whole("old", 4)
	w.whole("new", 2)
	for id, epoch := range w.epochs("old") {
		if epoch < before[id] {
			t.Errorf("the epoch of %s went from %d to %d", id, before[id], epoch)
		}
	}
	f.flows(100, back)
	g.flows(100, back)
	f.stop()
	g.stop()
	w.judge("old", f.ledger)
	w.judge("new", g.ledger)
}

func (w *world) epochs(topic string) map[protocol.PartitionID]protocol.Epoch {
	w.t.Helper()
	info, err := w.connect(0).Admin().TopicInfo(w.t.Context(), topic)
	if err != nil {
		w.t.Fatal(err)
	}
	out := map[protocol.PartitionID]protocol.Epoch{}
	for _, p := range info.Partitions {
		out[p.Partition] = p.Epoch
	}
	return out
}
