package cluster_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"metaq/cluster"
	"metaq/cluster/registry"
	"metaq/cluster/registrytest"
	"metaq/internal/vfs/faultfs"
	"metaq/protocol"
)

// news collects what a Member tells.
type news struct {
	mu       sync.Mutex // guards what follows
	last     cluster.Snapshot
	changes  int
	behind   int // snapshots with regressions
	lost     []error
	rejoined int
	failed   error
}

func (n *news) events() cluster.MemberEvents {
	locked := func(f func()) {
		n.mu.Lock()
		defer n.mu.Unlock()
		f()
	}
	return cluster.MemberEvents{
		Changed: func(s cluster.Snapshot) {
			locked(func() {
				n.last = s
				n.changes++
				n.behind += min(1, len(s.Regressions))
			})
		},
		Lost:     func(err error) { locked(func() { n.lost = append(n.lost, err) }) },
		Rejoined: func() { locked(func() { n.rejoined++ }) },
		Failed:   func(err error) { locked(func() { n.failed = err }) },
	}
}

func (n *news) snapshot() cluster.Snapshot {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.last
}

func (n *news) wait(t testing.TB, what string, holds func(n *news) bool) {
	t.Helper()
	registrytest.Eventually(t, what, func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		return holds(n)
	})
}

func join(t testing.TB, o cluster.MemberOptions) (*cluster.Member, *news) {
	t.Helper()
	n := &news{}
	o.Events = n.events()
	o.Retry = 50 * time.Millisecond
	m, err := cluster.Join(registrytest.Context(t), o)
	registrytest.Check(t, err)
	t.Cleanup(func() { registrytest.Check(t, m.Close()) })
	return m, n
}

func brokerIDs(s cluster.Snapshot) (ids []int) {
	for _, b := range s.Brokers {
		ids = append(ids, b.ID)
	}
	return ids
}

func hasBrokers(want ...int) func(*news) bool {
	return func(n *news) bool {
		ids := brokerIDs(n.last)
		if len(ids) != len(want) {
			return false
		}
		for i := range ids {
			if ids[i] != want[i] {
				return false
			}
		}
		return true
	}
}

func TestMembersSeeOneAnotherAndTheirTopics(t *testing.T) {
	l := registrytest.OpenLocal(t, faultfs.New(0))
	a, aNews := join(t, cluster.MemberOptions{Open: l.Open, Broker: broker(0, "a"), Audit: time.Hour})
	b, bNews := join(t, cluster.MemberOptions{Open: l.Open, Broker: broker(1, "b"), Audit: time.Hour})
	aNews.wait(t, "both brokers at a", hasBrokers(0, 1))
	bNews.wait(t, "both brokers at b", hasBrokers(0, 1))
	ctx := registrytest.Context(t)

	registrytest.Check(t, a.CreateTopic(ctx, cluster.Topic{Name: "t", Partitions: 2}))
	for _, m := range []*cluster.Member{a, b} {
		_, err := m.ClaimEpochs(ctx, "t", make([]protocol.Epoch, 2))
		registrytest.Check(t, err)
	}
	all := func(n *news) bool { return len(n.last.Topics) == 1 && len(n.last.Topics[0].Claimed) == 4 }
	aNews.wait(t, "four partitions at a", all)
	bNews.wait(t, "four partitions at b", all)
	equal(t, aNews.snapshot(), bNews.snapshot())

	topics, err := b.Topics(ctx)
	registrytest.Check(t, err)
	topics[0].Partitions = 3
	registrytest.Check(t, b.SetTopic(ctx, topics[0]))
	aNews.wait(t, "the change of the topic at a", func(n *news) bool { return n.last.Topics[0].Partitions == 3 })
	registrytest.Check(t, b.Leave(ctx))
	aNews.wait(t, "b's leaving", hasBrokers(0))
	registrytest.WantErr(t, b.CreateTopic(ctx, cluster.Topic{Name: "u", Partitions: 1}), registry.ErrClosed)
}

// losing hands out sessions that the test can end.
type losing struct {
	mu       sync.Mutex // guards what follows
	sessions []registry.Registry
}

func (l *losing) opener(open registry.Opener) registry.Opener {
	return func(ctx context.Context) (registry.Registry, error) {
		reg, err := open(ctx)
		if err == nil {
			l.mu.Lock()
			l.sessions = append(l.sessions, reg)
			l.mu.Unlock()
		}
		return reg, err
	}
}

func (l *losing) endLast(t testing.TB) {
	t.Helper()
	l.mu.Lock()
	last := l.sessions[len(l.sessions)-1]
	l.mu.Unlock()
	registrytest.Check(t, last.Close())
}

func TestMemberRegistersAnewWhenItsSessionIsLost(t *testing.T) {
	l := registrytest.OpenLocal(t, faultfs.New(0))
	var sessions losing
	m, n := join(t, cluster.MemberOptions{Open: sessions.opener(l.Open), Broker: broker(0, "a"), Audit: time.Hour})
	ctx := registrytest.Context(t)
	registrytest.Check(t, m.Advertise(ctx, []cluster.TopicAd{{Topic: "t", Partitions: 1, Publish: true}}))
	_, err := m.ClaimGroup(ctx, "g")
	registrytest.Check(t, err)
	registrytest.Check(t, m.AdvertiseGroup(ctx, "g", cluster.GroupAd{Members: map[string][]string{"m": {"t"}}}))
	sessions.endLast(t)
	n.wait(t, "registered again", func(n *news) bool { return n.rejoined == 1 && len(n.lost) == 1 })
	reg := registrytest.Session(t, l.Open)
	registrytest.WantData(t, reg, "/meta/brokers/topics-pub/t/0-m", `{"numParts":1,"broker":"0-m"}`)
	registrytest.WantData(t, reg, "/meta/consumers/g/ids/g_m", "t")
	// A group that nobody else has claimed is still ours.
	registrytest.Check(t, m.MirrorOffsets(ctx, []cluster.OffsetMark{{Group: "g", Topic: "t", Progress: cluster.Progress{MessageID: -1, Offset: 3}}}))
	registrytest.WantData(t, reg, "/meta/consumers/g/offsets/t/0-0", "-1-3")
}

func TestMemberFailsWhenItsBrokerIDIsTakenMeanwhile(t *testing.T) {
	l := registrytest.OpenLocal(t, faultfs.New(0))
	var sessions losing
	taken := make(chan struct{})
	open := sessions.opener(l.Open)
	first := true
	m, n := join(t, cluster.MemberOptions{Broker: broker(0, "a"), Open: func(ctx context.Context) (registry.Registry, error) {
		if !first {
			<-taken
		}
		first = false
		return open(ctx)
	}})
	sessions.endLast(t)
	register(t, registrytest.Session(t, l.Open), broker(0, "stranger"), nil)
	close(taken)
	n.wait(t, "failure", func(n *news) bool { return n.failed != nil })
	registrytest.WantErr(t, n.failed, cluster.ErrBrokerIDTaken)
	registrytest.WantErr(t, m.CreateTopic(registrytest.Context(t), cluster.Topic{Name: "t", Partitions: 1}), cluster.ErrBrokerIDTaken)
}

// interrupted is a session that does something right after it has read a node, once.
type interrupted struct {
	registry.Registry
	path string
	then *atomic.Pointer[func()]
}

func (r interrupted) Get(ctx context.Context, path string) (registry.Node, error) {
	n, err := r.Registry.Get(ctx, path)
	if path == r.path {
		if do := r.then.Swap(nil); do != nil {
			(*do)()
		}
	}
	return n, err
}

func TestAClaimDuringAReadingIsNoRegression(t *testing.T) {
	fs := faultfs.New(0)
	l := registrytest.OpenLocal(t, fs)
	w, err := cluster.OpenWitness(fs, registrytest.DataDir, false)
	registrytest.Check(t, err)
	var then atomic.Pointer[func()]
	m, n := join(t, cluster.MemberOptions{
		Broker: broker(0, "a"), Witness: w, Audit: time.Hour,
		Open: func(ctx context.Context) (registry.Registry, error) {
			reg, err := l.Open(ctx)
			return interrupted{reg, "/meta/nats/partitions/t/0", &then}, err
		},
	})
	ctx := registrytest.Context(t)
	claim := func() {
		_, err := m.ClaimEpochs(ctx, "t", make([]protocol.Epoch, 1))
		registrytest.Check(t, err)
	}
	claimed := func(epoch protocol.Epoch) func(*news) bool {
		return func(n *news) bool {
			for _, topic := range n.last.Topics {
				if topic.Name == "t" {
					return len(topic.Claimed) == 1 && topic.Claimed[0].Epoch == epoch
				}
			}
			return false
		}
	}
	registrytest.Check(t, m.CreateTopic(ctx, cluster.Topic{Name: "t", Partitions: 1}))
	claim()
	n.wait(t, "the first epoch", claimed(1))
	do := func() { claim() }
	then.Store(&do)
	registrytest.Check(t, m.CreateTopic(ctx, cluster.Topic{Name: "u", Partitions: 1})) // lets it read again
	n.wait(t, "the second epoch", claimed(2))
	n.wait(t, "no regression ever", func(n *news) bool { return n.behind == 0 })
}

func TestARecordThatCannotBeReadIsLeftOut(t *testing.T) {
	l := registrytest.OpenLocal(t, faultfs.New(0))
	var log strings.Builder
	m, n := join(t, cluster.MemberOptions{
		Open: l.Open, Broker: broker(0, "a"), Audit: 20 * time.Millisecond, Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	ctx := registrytest.Context(t)
	for _, name := range []string{"t", "spoilt", "half"} {
		registrytest.Check(t, m.CreateTopic(ctx, cluster.Topic{Name: name, Partitions: 1}))
		_, err := m.ClaimEpochs(ctx, name, make([]protocol.Epoch, 1))
		registrytest.Check(t, err)
	}
	reg, err := l.Open(ctx)
	registrytest.Check(t, err)
	defer reg.Close()
	put := func(path, data string) {
		t.Helper()
		if node, err := reg.Get(ctx, path); err == nil {
			registrytest.Check(t, reg.Multi(ctx, registry.Set(path, []byte(data), node.Version)))
			return
		}
		registrytest.Check(t, reg.Create(ctx, path, []byte(data), registry.Persistent))
	}
	put("/meta/nats/topics/spoilt", "garbage")
	put("/meta/nats/topics/a b", `{"partitions":1}`)
	put("/meta/nats/topics/huge", `{"partitions":1000000}`)
	put("/meta/nats/brokers/7", "garbage")
	catalog, err := cluster.NewCatalog(reg, "")
	registrytest.Check(t, err)
	n.wait(t, "four records that are left out", func(n *news) bool { return len(n.last.Unreadable) == 4 })
	s := n.snapshot()
	equal(t, brokerIDs(s), []int{0})
	equal(t, len(s.Topics), 2)
	topics, bad, err := catalog.ReadTopics(ctx)
	registrytest.Check(t, err)
	equal(t, len(topics), 2)
	equal(t, len(bad), 3)
	brokers, err := catalog.Brokers(ctx)
	registrytest.Check(t, err)
	equal(t, len(brokers), 1)

	// The cluster still works: what is changed next is seen by all.
	registrytest.Check(t, m.CreateTopic(ctx, cluster.Topic{Name: "u", Partitions: 1}))
	n.wait(t, "a new topic", func(n *news) bool { return len(n.last.Topics) == 3 })
	put("/meta/nats/topics/spoilt", `{"partitions":1}`)
	n.wait(t, "the record that was corrected", func(n *news) bool { return len(n.last.Topics) == 4 && len(n.last.Unreadable) == 3 })
	registrytest.Check(t, m.Leave(ctx))
	registrytest.Check(t, m.Close())
	if got := strings.Count(log.String(), "cannot be read, it is left out"); got != 4 {
		t.Errorf("%d lines about 4 records:\n%s", got, log.String())
	}
}
