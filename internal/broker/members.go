package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"metaq/actors"
	"metaq/actors/group"
	"metaq/cluster"
	"metaq/cluster/registry"
	"metaq/protocol"
	"metaq/transport"
)

// members follows the registry for a broker in a cluster: what it shows goes to the
// NATS server, as routes, and to the actors. It is the actors' Cluster, with the
// gateway's part for what goes over NATS.
//
// It runs two goroutines until stop: one takes pictures of the cluster, the other
// shows our topics to MetaQ's tools.
type members struct {
	*transport.Gateway // set before the actors start
	home               int
	server             *transport.Server // nil with an external NATS
	witness            *cluster.Witness
	log                *slog.Logger
	member             *cluster.Member // set before the goroutines start

	shown  latest[cluster.Snapshot]
	routes latest[*actors.Routes]
	first  chan struct{} // closed when the first picture is there
	cancel context.CancelFunc
	all    sync.WaitGroup

	disown     atomic.Pointer[group.Groups] // what is to be given up when a session was lost
	readable   atomic.Bool
	unreadable atomic.Int64 // records
	lost       prometheus.Counter

	mu      sync.Mutex // guards what follows; held while deliver is called, which must not block
	now     *actors.Members
	deliver func(*actors.Members)
}

// latest hands the newest of some values over; older ones may be skipped.
type latest[T any] struct {
	news  chan struct{} // capacity 1
	mu    sync.Mutex
	value T // guarded by mu
}

func newLatest[T any]() latest[T] { return latest[T]{news: make(chan struct{}, 1)} }

func (l *latest[T]) put(v T) {
	l.mu.Lock()
	l.value = v
	l.mu.Unlock()
	select {
	case l.news <- struct{}{}:
	default:
	}
}

func (l *latest[T]) get() T {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.value
}

func newMembers(home int, witness *cluster.Witness, log *slog.Logger, metrics prometheus.Registerer) *members {
	m := &members{
		home: home, witness: witness, log: log, first: make(chan struct{}),
		shown: newLatest[cluster.Snapshot](), routes: newLatest[*actors.Routes](),
	}
	m.readable.Store(true)
	auto := promauto.With(metrics)
	gauge := func(name, help string, value func() float64) {
		auto.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "metaq", Name: name, Help: help}, value)
	}
	is := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	gauge("registry_connected", "1 while a ZooKeeper server is connected. At 0 for longer than a few seconds: look at the ensemble.",
		func() float64 { return is(m.member != nil && m.member.Status().Connected) })
	gauge("registry_readable", "1 while the registry answers. At 0 messages go on, and changes of membership and topics wait.",
		func() float64 { return is(m.readable.Load()) })
	gauge("registry_unreadable_records", "Records in the registry that cannot be read and are left out. Above 0: the log names them; what they are about does not serve.",
		func() float64 { return float64(m.unreadable.Load()) })
	gauge("cluster_brokers", "Brokers registered at this moment, this one too. A fall means that a broker is away.",
		func() float64 {
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.now == nil {
				return 0
			}
			return float64(len(m.now.Brokers))
		})
	gauge("group_lease_held", "1 while this broker may coordinate groups. At 0 its groups are refused: ZooKeeper has not answered for longer than zk.zkGroupLeaseMs.",
		func() float64 { return is(m.member != nil && m.member.Holds(m.member.Term())) })
	m.lost = auto.NewCounter(prometheus.CounterOpts{
		Namespace: "metaq", Name: "registry_sessions_lost_total",
		Help: "Sessions with ZooKeeper that ended against our will. A rise means pauses longer than zk.zkSessionTimeoutMs, or a failing ensemble.",
	})
	return m
}

// events are for cluster.Join. None of them blocks.
func (m *members) events(fail func(error)) cluster.MemberEvents {
	return cluster.MemberEvents{
		Changed: func(s cluster.Snapshot) {
			m.unreadable.Store(int64(len(s.Unreadable)))
			m.shown.put(s)
		},
		Lost: func(error) {
			m.lost.Inc()
			m.reads(false)
		},
		Readable: m.reads,
		Rejoined: func() {
			m.reads(true)
			if groups := m.disown.Load(); groups != nil {
				groups.Disown()
			}
		},
		Failed: fail,
	}
}

// reads notes whether the registry answers.
func (m *members) reads(does bool) {
	switch was := m.readable.Swap(does); {
	case does && !was:
		m.log.Info("registry available again")
	case !does && was:
		m.log.Warn("registry unavailable: messages go on, changes of membership and topics wait")
	}
}

// start follows a member and returns once the cluster is known.
func (m *members) start(ctx context.Context, member *cluster.Member, server *transport.Server) error {
	m.member, m.server = member, server
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	m.cancel = cancel
	m.all.Go(func() { m.follow(run) })
	m.all.Go(func() { m.advertise(run) })
	select {
	case <-m.first:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("read the cluster from the registry: %w", context.Cause(ctx))
	}
}

// stop ends the goroutines and waits for them.
func (m *members) stop() {
	if m.cancel != nil {
		m.cancel()
		m.all.Wait()
	}
}

// follow takes each picture of the cluster.
func (m *members) follow(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.shown.news:
		}
		s := m.shown.get()
		m.connect(s.Brokers)
		next := pictureOf(s, m.home)
		m.mu.Lock()
		if m.now == nil {
			close(m.first)
		}
		m.tell(m.now, next)
		m.now = next
		if m.deliver != nil {
			m.deliver(next)
		}
		m.mu.Unlock()
	}
}

// connect leads the NATS server to those of the other brokers.
func (m *members) connect(brokers []cluster.Broker) {
	if m.server == nil {
		return
	}
	urls := make(map[int]string)
	for _, b := range brokers {
		if b.ID != m.home && b.Route != "" {
			urls[b.ID] = b.Route
		}
	}
	if err := m.server.SetRoutes(urls); err != nil {
		m.log.Error("cannot connect to the other brokers", "err", err)
	}
}

// tell logs who came and who went.
func (m *members) tell(old, next *actors.Members) {
	index := func(p *actors.Members) map[int]string {
		by := make(map[int]string)
		if p != nil {
			for _, b := range p.Brokers {
				by[b.BrokerID] = b.NATS
			}
		}
		return by
	}
	was, is := index(old), index(next)
	for id, url := range is {
		if id != m.home && was[id] != url {
			m.log.Info("broker is there", "other", id, "nats", url)
		}
	}
	for id := range was {
		if _, there := is[id]; !there && id != m.home {
			m.log.Warn("broker is away: messages with keys of its partitions wait for it", "other", id)
		}
	}
}

// pictureOf turns a snapshot into the actors' words.
func pictureOf(s cluster.Snapshot, home int) *actors.Members {
	p := &actors.Members{}
	for _, b := range s.Brokers {
		p.Brokers = append(p.Brokers, protocol.BrokerInfo{BrokerID: b.ID, Version: b.Version, NATS: b.NATS, Started: b.Started})
	}
	for _, t := range s.Topics {
		topic := actors.MemberTopic{Topic: actors.Topic{Name: t.Name, Partitions: t.Partitions, Config: t.Config, Born: t.Born}}
		for _, c := range t.Claimed {
			topic.Claimed = append(topic.Claimed, c.ID)
		}
		topic.Behind = slices.ContainsFunc(s.Regressions, func(r cluster.Regression) bool {
			return r.Topic == t.Name && r.Partition.Home == home
		})
		p.Topics = append(p.Topics, topic)
	}
	return p
}

// others are the ids of the other brokers that are registered now.
func (m *members) others() []int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now.Others(m.home)
}

// coordinators reads from the registry which broker coordinates each group; those
// that nobody does are not in it.
func (m *members) coordinators(ctx context.Context) (map[string]int, error) {
	leaders := map[string]int{}
	if err := m.member.Away(); err != nil {
		return nil, err
	}
	err := m.member.With(ctx, func(r *cluster.Registration) error {
		groups, err := r.Groups(ctx)
		for _, g := range groups {
			if g.Leader != cluster.NoLeader {
				leaders[g.Name] = g.Leader
			}
		}
		return err
	})
	return leaders, err
}

// Follow implements actors.Cluster.
func (m *members) Follow(deliver func(*actors.Members)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.deliver = deliver
	deliver(m.now)
}

// Fate implements actors.Cluster.
func (m *members) Fate(ctx context.Context, topic string) (fate actors.Fate, err error) {
	err = m.member.With(ctx, func(r *cluster.Registration) error {
		fate, err = fateOf(ctx, r.Catalog, m.witness, m.home, topic)
		return err
	})
	return fate, err
}

// fateOf finds out what became of a topic. Who deletes a topic leaves the highest
// epoch of its partitions behind; a registry that was set back to a time before the
// topic has no such mark, or a lower one than this broker has seen. In a topic that is
// made again all epochs are above the mark: who has seen none of those has led the one
// before.
func fateOf(ctx context.Context, c *cluster.Catalog, w *cluster.Witness, home int, topic string) (actors.Fate, error) {
	_, err := c.Topic(ctx, topic)
	if err != nil && !errors.Is(err, registry.ErrNotFound) {
		return 0, err
	}
	there := err == nil
	if there {
		parts, err := c.Partitions(ctx, topic)
		if err != nil {
			return 0, err
		}
		if slices.ContainsFunc(parts, func(p cluster.Partition) bool { return p.ID.Home == home }) {
			return actors.FateThere, nil
		}
	}
	left, err := c.EpochFloor(ctx, topic)
	if err != nil {
		return 0, err
	}
	newest := slices.Max(append(w.Highest(topic, home), 0))
	switch {
	case there && newest > 0 && left >= newest:
		return actors.FateReplaced, nil
	case there:
		return actors.FateUnclaimed, nil
	case left >= newest:
		return actors.FateDeleted, nil
	default:
		return actors.FateForgotten, nil
	}
}

// publish takes the newest routes, for MetaQ's tools.
func (m *members) publish(r *actors.Routes) { m.routes.put(r) }

// advertiseRetry is the pause after a failed attempt.
const advertiseRetry = time.Second

// advertise shows the topics of this broker to MetaQ's tools and clients.
func (m *members) advertise(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.routes.news:
		}
		call, cancel := context.WithTimeout(ctx, 30*time.Second)
		err := m.member.Advertise(call, adsOf(m.routes.get(), m.home))
		cancel()
		if err == nil || ctx.Err() != nil || errors.Is(err, registry.ErrClosed) {
			continue
		}
		m.log.Warn("topics not shown to MetaQ's tools, trying again", "err", err, "wait", advertiseRetry)
		select {
		case <-ctx.Done():
		case <-time.After(advertiseRetry):
			m.routes.put(m.routes.get())
		}
	}
}

// adsOf lists the topics with the partitions that they have here.
func adsOf(r *actors.Routes, home int) []cluster.TopicAd {
	var ads []cluster.TopicAd
	for _, name := range slices.Sorted(maps.Keys(r.Topics)) {
		t, own := r.Topics[name], 0
		for _, id := range t.All {
			if id.Home == home {
				own++
			}
		}
		if own > 0 {
			ads = append(ads, cluster.TopicAd{Topic: name, Partitions: own, Publish: t.AcceptPublish, Subscribe: t.AcceptSubscribe})
		}
	}
	return ads
}

// joinPause bounds the pause between two attempts to join the cluster.
const joinPause = 5 * time.Second

// join registers the broker, and goes on trying: the ensemble may come later than the
// broker, and so may a chroot or the rights to it. What waiting cannot mend ends it.
func (b *Broker) join(ctx context.Context, o cluster.MemberOptions) (*cluster.Member, error) {
	if b.members == nil {
		return cluster.Join(ctx, o) // the local registry is there, or cannot be waited for
	}
	servers := strings.Join(b.cfg.ZooKeeper.Connect, ",")
	if b.opts.Wait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, b.opts.Wait, fmt.Errorf("--wait %s is over", b.opts.Wait))
		defer cancel()
	}
	var last error // the latest that says more than that the time is over
	var held time.Time
	for pause := time.Second; ; pause = min(2*pause, joinPause) {
		m, err := cluster.Join(ctx, o)
		if last == nil || !errors.Is(err, registry.ErrUnavailable) {
			last = err
		}
		switch {
		case err == nil:
			return m, nil
		case outlived(ctx, err) && (held.IsZero() || time.Since(held) < b.cfg.ZooKeeper.SessionTimeout+joinPause):
			if held.IsZero() {
				held = time.Now()
				b.log.Warn("broker id is held by a process that has ended, waiting for the end of its session", "err", err,
					"longest", b.cfg.ZooKeeper.SessionTimeout)
			}
			pause = min(pause, time.Second)
		case errors.Is(err, cluster.ErrBrokerIDTaken), errors.Is(err, registry.ErrInvalid):
			return nil, err
		case ctx.Err() != nil:
			return nil, fmt.Errorf("no registry at %s (%w): %w: start ZooKeeper, or correct zk.zkConnect and zk.zkRoot",
				servers, context.Cause(ctx), last)
		}
		if held.IsZero() || !errors.Is(err, cluster.ErrBrokerIDTaken) {
			b.log.Warn("registry cannot be used, trying again", "servers", servers, "root", b.cfg.ZooKeeper.Root, "err", err, "pause", pause)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}
