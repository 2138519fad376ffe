//go:build unix

package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"metaq/client"
	"metaq/protocol"
	zktest "metaq/test/zk"
)

// expiry is after what time a broker that has gone is known to have gone: ZooKeeper counts
// sessions in ticks, and looks at them once a tick.
const expiry = back + 2*zktest.TickTime

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

// serves holds the cluster to its promise: within a session timeout and a second of
// since, a topic can be made, every broker leads its partition of it, messages flow, and
// those that were sent before have an outcome.
func (w *world) serves(topic string, since time.Time, flows ...*traffic) {
	w.t.Helper()
	deadline := since.Add(back)
	admin := w.connect(0).Admin()
	w.eventually("topic "+topic, time.Until(deadline), func(ctx context.Context) error {
		_, err := admin.CreateTopic(ctx, protocol.TopicCreate{Topic: topic, Partitions: 1})
		if errors.Is(err, client.ErrExists) {
			return nil // an attempt before had an unknown outcome
		}
		return err
	})
	w.wholeBy(topic, len(w.brokers), deadline)
	for _, f := range flows {
		f.flows(50, time.Until(deadline))
		f.settles(time.Until(deadline))
	}
	w.t.Logf("topic %s: served after %s, with a session timeout of %s", topic, time.Since(since).Round(time.Millisecond), sessionTimeout)
}

// flood puts messages with a key through a broker, each as a request, until the function
// that it returns is called; that one says how many were answered.
func (w *world) flood(id int, subject, key string) (stop func() (asked, answered int)) {
	w.t.Helper()
	nc, ctx := w.nats(id), w.t.Context()
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	var asked, answered atomic.Int64
	for range 50 {
		all.Go(func() {
			for ctx.Err() == nil {
				m := nats.NewMsg(subject)
				m.Header.Set(protocol.HeaderKey, key)
				asked.Add(1)
				if _, err := nc.RequestMsg(m, sessionTimeout); err == nil {
					answered.Add(1)
				}
			}
		})
	}
	return func() (int, int) {
		cancel()
		all.Wait()
		return int(asked.Load()), int(answered.Load())
	}
}

func TestZooKeeperServersDieOneByOne(t *testing.T) {
	w := newWorld(t, 3, 0, 1)
	w.create("t", 2)
	f, group := w.produce(w.connect(0), "t"), w.consume("workers", "t")
	f.flows(100, patience)

	first := w.inUse(0)
	kill(t, first)
	w.serves("with-two", time.Now(), f) // with a quorum everything works

	second := w.inUse(0)
	kill(t, second)
	alone := time.Now()
	// Without one messages go on, also when all sessions would have been over, and so do
	// the groups that run.
	for time.Since(alone) < 2*sessionTimeout {
		f.flows(50, back)
	}
	group.reads(f.ledger, back)
	w.eventually("the metric that says so", time.Second, func(context.Context) error {
		if v := w.metric(w.metrics[0], "metaq_registry_readable"); v != "0" {
			return fmt.Errorf("metaq_registry_readable is %q", v)
		}
		return nil
	})
	w.eventually("the line in the log that says so", time.Second, func(context.Context) error {
		if !strings.Contains(w.brokers[0].Log(), "registry unavailable: messages go on") {
			return errors.New("it does not")
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
	w.quorum()
	w.serves("with-three", time.Now(), f) // no restart of anything
	f.stop()
	group.reads(f.ledger, patience)
	w.judge("t", f.ledger)
	if lost := w.metric(w.metrics[0], "metaq_registry_sessions_lost_total"); lost != "0" {
		t.Errorf("%s sessions were lost for want of a quorum", lost)
	}
}

func kill(t testing.TB, s *zktest.Server) {
	t.Helper()
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
}

// quorum waits until ZooKeeper serves.
func (w *world) quorum() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	if err := w.zk.WaitQuorum(ctx); err != nil {
		w.t.Fatal(err)
	}
}

func TestABrokerIsKilledAndComesBack(t *testing.T) {
	w := newWorld(t, 1, 0, 1)
	w.create("t", 2)
	f := w.produce(w.connect(0), "t")
	f.flows(100, patience)
	nc := w.nats(0)
	key := keyOf(t, 4, func(i int) bool { return i >= 2 }) // of broker 1

	// Every put is answered, also those that it takes with it: all of them go through broker 0.
	before, stop := w.number(0, "metaq_sent_on_total"), w.flood(0, "metaq.put.t", key)
	w.eventually("puts that are sent on", patience, func(context.Context) error {
		if on := w.number(0, "metaq_sent_on_total") - before; on < 50 {
			return fmt.Errorf("%d of 50", on)
		}
		return nil
	})
	w.brokers[1].Kill()
	if asked, answered := stop(); answered != asked {
		t.Errorf("%d puts were sent, %d were answered", asked, answered)
	}
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
	w.wholeBy("t", 4, began.Add(back))
	w.serves("again", began, f)
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

// A broker that is frozen keeps its connections and answers nobody, until its routes are
// cut; when it goes on, its session is over.
func TestABrokerIsPausedLongerThanItsSession(t *testing.T) {
	w := newWorld(t, 1, 0, 1)
	w.create("t", 2)
	f := w.produce(w.connect(0), "t")
	f.flows(100, patience)
	nc := w.nats(0)

	w.brokers[1].Pause()
	paused := time.Now()
	t.Cleanup(w.brokers[1].Resume) // so that it can be stopped
	// Whatever names no broker is soon answered, and each time: no share goes to it any
	// more. What was sent on to it is answered, too.
	others := 0
	w.eventually("an answer to each put without a key", back, func(context.Context) error {
		answer, err := nc.Request("metaq.put.t", []byte("x"), time.Second)
		if err == nil {
			err = protocol.DecodeError(answer.Data)
		}
		if others++; err != nil {
			others = 0
			return err
		}
		if others < 50 {
			return fmt.Errorf("%d in a row", others)
		}
		return nil
	})
	t.Logf("the frozen broker had no share any more after %s", time.Since(paused).Round(time.Millisecond))
	w.eventually("its registration to go", time.Until(paused.Add(expiry)), func(ctx context.Context) error {
		info, err := w.connect(0).Admin().ClusterInfo(ctx)
		if err != nil {
			return err
		}
		if len(info.Brokers) != 1 || len(info.Leaderless) != 2 {
			return fmt.Errorf("brokers %+v, leaderless %+v", info.Brokers, info.Leaderless)
		}
		return nil
	})
	w.brokers[1].Resume()
	resumed := time.Now()
	w.wholeBy("t", 4, resumed.Add(back))
	w.serves("again", resumed, f)
	f.stop()
	w.judge("t", f.ledger)
}

// Each server is frozen once, so that the leader of the ensemble is among them.
func TestTheZooKeeperServerInUseFreezes(t *testing.T) {
	w := newWorld(t, 3, 0, 1)
	w.create("t", 2)
	f := w.produce(w.connect(0), "t")
	f.flows(100, patience)
	freeze := func(what string, frozen *zktest.Server) {
		t.Helper()
		if err := frozen.Pause(); err != nil {
			t.Fatal(err)
		}
		// How long an election takes is ZooKeeper's matter.
		w.zkLeader(frozen)
		w.serves(what+"-frozen", time.Now(), f) // through another server
		if now := w.inUse(0); now == frozen {
			t.Error("the broker is still connected to the frozen server")
		}
		if err := frozen.Resume(); err != nil {
			t.Fatal(err)
		}
		w.serves(what+"-thawed", time.Now(), f)
		w.quorum()
	}
	freeze("in-use", w.inUse(0))
	freeze("leader", w.zkLeader(nil))
	f.stop()
	w.judge("t", f.ledger)
}

// zkLeader is the server that leads the ensemble, once there is one, and it is another one.
func (w *world) zkLeader(other *zktest.Server) (leader *zktest.Server) {
	w.t.Helper()
	w.eventually("a leader of ZooKeeper", patience, func(ctx context.Context) error {
		var errs []error
		for _, s := range w.zk.Servers {
			if s == other {
				continue
			}
			mode, err := s.Mode(ctx)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			if mode == "leader" {
				leader = s
				return nil
			}
			errs = append(errs, fmt.Errorf("%s is a %s", s.Address, mode))
		}
		return errors.Join(errs...)
	})
	return leader
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
	w.unregistered(0, patience)
	// Its own clients are still served by it.
	if answer, err := w.nats(0).Request("metaq.put.t.0-0", []byte("x"), time.Second); err != nil || protocol.DecodeError(answer.Data) != nil {
		t.Errorf("a put to the broker without a session: %v", err)
	}
	proxy.Set(zktest.Healthy)
	healed := time.Now()
	w.wholeBy("t", 4, healed.Add(back))
	w.serves("again", healed, f)
	f.stop()
	w.judge("t", f.ledger)
}

// A ZooKeeper that was restored from a backup knows neither the topics since then nor
// the epochs: the brokers tell it, and messages go on.
func TestZooKeeperIsSetBack(t *testing.T) {
	for _, servers := range []int{1, 3} {
		t.Run(fmt.Sprint(servers), func(t *testing.T) { setBack(t, servers) })
	}
}

func setBack(t *testing.T, servers int) {
	w := newWorld(t, servers, 0, 1)
	w.create("old", 2)
	restart := func(between func() error) time.Time {
		t.Helper()
		for _, s := range w.zk.Servers {
			if err := s.Stop(); err != nil {
				t.Fatal(err)
			}
		}
		if err := between(); err != nil {
			t.Fatal(err)
		}
		for _, s := range w.zk.Servers {
			if err := s.Start(); err != nil {
				t.Fatal(err)
			}
		}
		w.quorum()
		return time.Now()
	}
	w.serves("new", restart(w.zk.Save))
	f, g := w.produce(w.connect(0), "old"), w.produce(w.connect(1), "new")
	f.flows(100, patience)
	g.flows(100, patience)
	before := w.epochs("old")

	restored := restart(w.zk.Restore)
	w.eventually("the lost topic in the registry", time.Until(restored.Add(back)), func(context.Context) error {
		tree := w.tree()
		for _, path := range []string{"/meta/nats/topics/new", "/meta/nats/partitions/new/0", "/meta/nats/partitions/new/1"} {
			if _, there := tree[path]; !there {
				return fmt.Errorf("%s is not there", path)
			}
		}
		return nil
	})
	w.wholeBy("old", 4, restored.Add(back))
	w.wholeBy("new", 2, restored.Add(back))
	w.serves("later", restored, f, g)
	for id, epoch := range w.epochs("old") {
		if epoch < before[id] {
			t.Errorf("the epoch of %s went from %d to %d", id, before[id], epoch)
		}
	}
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
