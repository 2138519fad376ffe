package cluster_test

// One test for each of the rules of the design's chapter on the registry, against real
// servers.

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"metaq/cluster"
	"metaq/cluster/registry"
	"metaq/cluster/registrytest"
	"metaq/cluster/zookeeper"
	"metaq/internal/vfs/faultfs"
	"metaq/protocol"
	zktest "metaq/test/zk"
)

func zkRegister(t testing.TB, reg registry.Registry, b cluster.Broker) *cluster.Registration {
	t.Helper()
	c, err := cluster.NewCatalog(reg, registrytest.Root(t))
	registrytest.Check(t, err)
	r, err := c.Register(registrytest.Context(t), b, nil)
	registrytest.Check(t, err)
	return r
}

// throughProxies connects one client by proxies to all servers.
func throughProxies(t testing.TB, e *zktest.Ensemble) (zookeeper.Options, func(zktest.Fault)) {
	t.Helper()
	var proxies []*zktest.Proxy
	var addresses []string
	for _, s := range e.Servers {
		p := zktest.NewProxy(t, s.Address)
		proxies = append(proxies, p)
		addresses = append(addresses, p.Address)
	}
	o := registrytest.ZooKeeperOptions(e)
	o.Connect = strings.Join(addresses, ",")
	return o, func(f zktest.Fault) {
		for _, p := range proxies {
			p.Set(f)
		}
	}
}

func TestRule1EveryOwnershipWriteChecksWhatGivesTheRight(t *testing.T) {
	e := registrytest.ZooKeeper(t)
	ctx := registrytest.Context(t)
	oldSession, newSession := registrytest.Session(t, registrytest.ZooKeeperOpener(t, registrytest.ZooKeeperOptions(e))), registrytest.Session(t, registrytest.ZooKeeperOpener(t, registrytest.ZooKeeperOptions(e)))
	old := zkRegister(t, oldSession, broker(0, "same"))
	registrytest.Check(t, old.CreateTopic(ctx, cluster.Topic{Name: "t", Partitions: 2}))
	_, err := old.ClaimGroup(ctx, "g")
	registrytest.Check(t, err)
	registrytest.CaughtUp(t, newSession)
	young := zkRegister(t, newSession, broker(0, "same"))
	epochs, err := young.ClaimEpochs(ctx, "t", make([]protocol.Epoch, 2))
	registrytest.Check(t, err)

	// The old incarnation's session lives, and its connection is fine. It may do nothing.
	registrytest.Check(t, oldSession.Err())
	_, err = old.ClaimEpochs(ctx, "t", make([]protocol.Epoch, 2))
	registrytest.WantErr(t, err, cluster.ErrFenced)
	registrytest.WantErr(t, old.CreateTopic(ctx, cluster.Topic{Name: "u", Partitions: 1}), cluster.ErrFenced)
	registrytest.WantErr(t, old.DeleteTopic(ctx, "t"), cluster.ErrFenced)
	registrytest.WantErr(t, old.Advertise(ctx, []cluster.TopicAd{{Topic: "t", Partitions: 9, Publish: true}}), cluster.ErrFenced)
	registrytest.WantErr(t, old.MirrorOffsets(ctx, []cluster.OffsetMark{{Group: "g", Topic: "t"}}), cluster.ErrFenced)
	_, err = old.ClaimGroup(ctx, "g")
	registrytest.WantErr(t, err, cluster.ErrFenced)
	partitions, err := young.Partitions(ctx, "t")
	registrytest.Check(t, err)
	equal(t, partitions[0].Epoch, epochs[0])
	topics, err := young.Topics(ctx)
	registrytest.Check(t, err)
	equal(t, len(topics), 1)
}

func TestRule2SessionLossIsTheDeathOfAnIncarnation(t *testing.T) {
	e := registrytest.ZooKeeper(t)
	o, set := throughProxies(t, e)
	o.SessionTimeout = time.Second
	watcher := registrytest.Session(t, registrytest.ZooKeeperOpener(t, registrytest.ZooKeeperOptions(e)))
	path := registrytest.Root(t)
	registrytest.Put(t, watcher, path, "")
	mortal := registrytest.Session(t, registrytest.ZooKeeperOpener(t, o))
	registrytest.Check(t, mortal.Create(registrytest.Context(t), path+"/e", nil, registry.Ephemeral))
	hint := make(chan struct{}, 1)
	registrytest.Check(t, mortal.Watch(registrytest.Context(t), registry.WatchData, path+"/other", hint))

	set(zktest.Stalled)
	// These writes wait while the session ends: the first on its way, the other in the
	// client, for a connection.
	writes := make(chan error, 2)
	late := func(name string) {
		writes <- mortal.Create(registrytest.Context(t), path+name, nil, registry.Persistent)
	}
	go late("/late-1")
	registrytest.Eventually(t, "disconnected", func() bool { return !mortal.Status().Connected })
	go late("/late-2")
	registrytest.Eventually(t, "the ephemeral node goes", func() bool {
		registrytest.CaughtUp(t, watcher)
		_, err := watcher.Get(registrytest.Context(t), path+"/e")
		return errors.Is(err, registry.ErrNotFound)
	})
	set(zktest.Healthy)
	select {
	case <-mortal.Done():
	case <-time.After(registrytest.Patience):
		t.Fatal("the session does not know that it is over")
	}
	registrytest.WantErr(t, mortal.Err(), registry.ErrSessionLost)
	for range cap(writes) {
		if err := <-writes; !errors.Is(err, registry.ErrUnknownOutcome) && !errors.Is(err, registry.ErrSessionLost) {
			t.Fatalf("a write that waited: %v", err)
		}
	}
	<-hint // the end of a session hints its watches
	id := mortal.Session()
	registrytest.WantErr(t, mortal.Create(registrytest.Context(t), path+"/later", nil, registry.Ephemeral), registry.ErrSessionLost)
	registrytest.Check(t, mortal.Close())

	next := registrytest.Session(t, registrytest.ZooKeeperOpener(t, o))
	if next.Session() == id {
		t.Fatal("a new incarnation has the old session")
	}
	names, err := next.Children(registrytest.Context(t), path)
	registrytest.Check(t, err)
	equal(t, names, []string{}) // nothing that waited was done in a new session
}

func TestRule3DisconnectedIsNotExpired(t *testing.T) {
	e := registrytest.ZooKeeper(t)
	o, set := throughProxies(t, e)
	o.SessionTimeout = 20 * time.Second
	var connected, disconnected atomic.Int32
	o.Events = zookeeper.Events{
		Connected:    func(string) { connected.Add(1) },
		Disconnected: func(string) { disconnected.Add(1) },
	}
	reg := registrytest.Session(t, registrytest.ZooKeeperOpener(t, o))
	r := zkRegister(t, reg, broker(0, "a"))
	id := reg.Session()
	for range 3 {
		set(zktest.Cut)
		registrytest.Eventually(t, "disconnected", func() bool { return !reg.Status().Connected })
		registrytest.Check(t, reg.Err())
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		_, err := r.Brokers(ctx)
		cancel()
		registrytest.WantErr(t, err, registry.ErrUnavailable)
		set(zktest.Healthy)
		brokers, err := r.Brokers(registrytest.Context(t))
		registrytest.Check(t, err)
		equal(t, len(brokers), 1)
	}
	equal(t, reg.Session(), id)
	registrytest.Check(t, r.CreateTopic(registrytest.Context(t), cluster.Topic{Name: "t", Partitions: 1}))
	registrytest.Eventually(t, "news of the connection", func() bool { return connected.Load() >= 2 && disconnected.Load() >= 1 })
}

// deaf is a session whose watches never hint.
type deaf struct{ registry.Registry }

func (deaf) Watch(context.Context, registry.WatchKind, string, chan<- struct{}) error { return nil }

func TestRule4WatchesAreHintsAndTheAuditFindsTheRest(t *testing.T) {
	e := registrytest.ZooKeeper(t)
	open := registrytest.ZooKeeperOpener(t, registrytest.ZooKeeperOptions(e))
	_, hinted := join(t, cluster.MemberOptions{Open: open, Root: registrytest.Root(t), Broker: broker(0, "a"), Audit: time.Hour})
	_, audited := join(t, cluster.MemberOptions{
		Root: registrytest.Root(t), Broker: broker(1, "b"), Audit: 300 * time.Millisecond,
		Open: func(ctx context.Context) (registry.Registry, error) {
			reg, err := open(ctx)
			return deaf{reg}, err
		},
	})
	c, _ := join(t, cluster.MemberOptions{Open: open, Root: registrytest.Root(t), Broker: broker(2, "c"), Audit: time.Hour})
	hinted.wait(t, "three brokers by a hint", hasBrokers(0, 1, 2))
	audited.wait(t, "three brokers by the audit", hasBrokers(0, 1, 2))
	registrytest.Check(t, c.CreateTopic(registrytest.Context(t), cluster.Topic{Name: "t", Partitions: 3}))
	_, err := c.ClaimEpochs(registrytest.Context(t), "t", make([]protocol.Epoch, 3))
	registrytest.Check(t, err)
	claimed := func(n *news) bool { return len(n.last.Topics) == 1 && len(n.last.Topics[0].Claimed) == 3 }
	hinted.wait(t, "the claim by a hint", claimed)
	audited.wait(t, "the claim by the audit", claimed)
	registrytest.Check(t, c.Close())
	hinted.wait(t, "the broker's going by a hint", hasBrokers(0, 1))
	audited.wait(t, "the broker's going by the audit", hasBrokers(0, 1))
}

func TestRule4WatchesOutliveAReconnect(t *testing.T) {
	e := registrytest.ZooKeeper(t)
	o, set := throughProxies(t, e)
	o.SessionTimeout = 20 * time.Second
	reg, other := registrytest.Session(t, registrytest.ZooKeeperOpener(t, o)), registrytest.Session(t, registrytest.ZooKeeperOpener(t, registrytest.ZooKeeperOptions(e)))
	registrytest.Put(t, other, registrytest.Root(t), "")
	registrytest.CaughtUp(t, reg)
	hint := make(chan struct{}, 1)
	registrytest.Check(t, reg.Watch(registrytest.Context(t), registry.WatchChildren, registrytest.Root(t), hint))
	set(zktest.Cut)
	registrytest.Eventually(t, "disconnected", func() bool { return !reg.Status().Connected })
	registrytest.Put(t, other, registrytest.Root(t)+"/while-away", "")
	set(zktest.Healthy)
	select {
	case <-hint:
	case <-time.After(registrytest.Patience):
		t.Fatal("no hint of a change that happened while disconnected")
	}
}

func TestRule5UnknownOutcomeIsReadBack(t *testing.T) {
	e := registrytest.ZooKeeper(t)
	s := e.Servers[0]
	p := zktest.NewProxy(t, s.Address)
	o := registrytest.ZooKeeperOptions(e)
	o.Connect, o.SessionTimeout = p.Address, 20*time.Second
	reg := registrytest.Session(t, registrytest.ZooKeeperOpener(t, o))
	r := zkRegister(t, reg, broker(0, "a"))
	ctx := registrytest.Context(t)

	// The answer is lost, then the connection. The raw write does not know its outcome.
	lose := func(write func() error) error {
		before := p.Lost()
		p.Set(zktest.LoseReplies)
		result := make(chan error, 1)
		go func() { result <- write() }()
		registrytest.Eventually(t, "the answer is lost", func() bool { return p.Lost() > before })
		p.Set(zktest.Cut)
		p.Set(zktest.Healthy)
		return <-result
	}
	err := lose(func() error { return reg.Create(ctx, registrytest.Root(t)+"/raw", nil, registry.Persistent) })
	registrytest.WantErr(t, err, registry.ErrUnknownOutcome)
	_, err = reg.Get(ctx, registrytest.Root(t)+"/raw")
	registrytest.Check(t, err)

	// The records' writes find out.
	registrytest.Check(t, lose(func() error { return r.CreateTopic(ctx, cluster.Topic{Name: "t", Partitions: 1}) }))
	var epochs []protocol.Epoch
	registrytest.Check(t, lose(func() (err error) { epochs, err = r.ClaimEpochs(ctx, "t", make([]protocol.Epoch, 1)); return err }))
	equal(t, epochs, []protocol.Epoch{1})
	recorded, err := r.Partitions(ctx, "t")
	registrytest.Check(t, err)
	equal(t, recorded[0].Epoch, protocol.Epoch(1))
}

func TestRule6RestartTakesOverAndAStrangerIsRefused(t *testing.T) {
	e := registrytest.ZooKeeper(t)
	o, set := throughProxies(t, e)
	o.SessionTimeout = 20 * time.Second
	ads := []cluster.TopicAd{{Topic: "t", Partitions: 5, Publish: true, Subscribe: true}}
	killed := registrytest.Session(t, registrytest.ZooKeeperOpener(t, o))
	registrytest.Check(t, zkRegister(t, killed, broker(0, "token")).Advertise(registrytest.Context(t), ads))
	set(zktest.Cut) // as if killed: no goodbye, and the session lives on

	reg := registrytest.Session(t, registrytest.ZooKeeperOpener(t, registrytest.ZooKeeperOptions(e)))
	stranger := broker(0, "other token")
	c, err := cluster.NewCatalog(reg, registrytest.Root(t))
	registrytest.Check(t, err)
	_, err = c.Register(registrytest.Context(t), stranger, nil)
	registrytest.WantErr(t, err, cluster.ErrBrokerIDTaken)
	if !strings.Contains(err.Error(), "10.0.0.1") || !strings.Contains(err.Error(), "2026-01-02") {
		t.Errorf("%q names neither host nor start", err)
	}

	begin := time.Now()
	registrytest.Check(t, zkRegister(t, reg, broker(0, "token")).Advertise(registrytest.Context(t), ads))
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("taking over took %v", took)
	}
	for _, path := range []string{"/brokers/ids/0/master", "/brokers/topics-pub/t/0-m", "/nats/brokers/0"} {
		n, err := reg.Get(registrytest.Context(t), registrytest.Root(t)+path)
		registrytest.Check(t, err)
		equal(t, n.Owner, reg.Session())
	}
}

func TestRule7CallsEndInTimeOnAFrozenServer(t *testing.T) {
	e := registrytest.ZooKeeper(t)
	o := registrytest.ZooKeeperOptions(e)
	reg := registrytest.Session(t, registrytest.ZooKeeperOpener(t, o))
	registrytest.Put(t, reg, registrytest.Root(t), "")
	frozen := reg.Status().Server
	registrytest.Check(t, e.At(frozen).Pause())
	id := reg.Session()
	timed := func(want error, do func(ctx context.Context) error) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		begin := time.Now()
		registrytest.WantErr(t, do(ctx), want)
		if took := time.Since(begin); took > time.Second {
			t.Errorf("the call took %v", took)
		}
	}
	timed(registry.ErrUnavailable, func(ctx context.Context) error { _, err := reg.Get(ctx, registrytest.Root(t)); return err })
	timed(registry.ErrUnknownOutcome, func(ctx context.Context) error {
		return reg.Create(ctx, registrytest.Root(t)+"/a", nil, registry.Persistent)
	})
	// The session moves to another server before it is over.
	_, err := reg.Get(registrytest.Context(t), registrytest.Root(t))
	registrytest.Check(t, err)
	equal(t, reg.Session(), id)
	if now := reg.Status().Server; now == frozen {
		t.Errorf("still at the frozen server %s", now)
	}
}

func TestRule7AServerThatNeverGreetsIsLeftSoon(t *testing.T) {
	e := registrytest.ZooKeeper(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	registrytest.Check(t, err)
	defer silent.Close()
	o := registrytest.ZooKeeperOptions(e)
	o.Connect = silent.Addr().String()
	o.DialTimeout = 200 * time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err = registrytest.ZooKeeperOpener(t, o)(ctx)
	registrytest.WantErr(t, err, registry.ErrUnavailable)
	if !strings.Contains(err.Error(), silent.Addr().String()) || !strings.Contains(err.Error(), "no greeting") {
		t.Errorf("%q does not say who was silent", err)
	}
	o.Connect += "," + e.Servers[0].Address
	begin := time.Now()
	reg := registrytest.Session(t, registrytest.ZooKeeperOpener(t, o))
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("opening took %v", took)
	}
	equal(t, reg.Status().Server, e.Servers[0].Address)
}

func TestRule8EpochsNeverGoBelowTheWitness(t *testing.T) {
	// The server refuses a client that has seen newer states: a new session.
	for name, auth := range map[string]string{"open": "", "closed": "metaq:secret"} {
		t.Run(name, func(t *testing.T) {
			n := setBack(t, 1, auth)
			n.wait(t, "registered with the older ZooKeeper", func(n *news) bool { return n.rejoined > 0 })
		})
	}
}

func TestRule8AnEnsembleThatWasSetBackMayKnowTheSession(t *testing.T) {
	// A new leader numbers its transactions above all that were: sessions go on.
	setBack(t, 3, "")
}

// setBack lets a broker live through the return of a ZooKeeper to an older state.
func setBack(t *testing.T, servers int, auth string) *news {
	e := zktest.Start(t, servers)
	fs := faultfs.New(0)
	registrytest.Check(t, fs.MkdirAll(registrytest.DataDir))
	w, err := cluster.OpenWitness(fs, registrytest.DataDir, false)
	registrytest.Check(t, err)
	o := registrytest.ZooKeeperOptions(e)
	o.Auth = auth
	m, n := join(t, cluster.MemberOptions{Open: registrytest.ZooKeeperOpener(t, o), Broker: broker(0, "a"), Witness: w, Audit: time.Hour})
	ctx := registrytest.Context(t)
	registrytest.Check(t, m.CreateTopic(ctx, cluster.Topic{Name: "t", Partitions: 1}))
	claim := func(want protocol.Epoch) {
		t.Helper()
		got, err := m.ClaimEpochs(registrytest.Context(t), "t", make([]protocol.Epoch, 1))
		registrytest.Check(t, err)
		equal(t, got, []protocol.Epoch{want})
	}
	restart := func(between func() error) {
		t.Helper()
		for _, s := range e.Servers {
			registrytest.Check(t, s.Kill())
		}
		registrytest.Check(t, between())
		for _, s := range e.Servers {
			registrytest.Check(t, s.Start())
		}
		registrytest.Check(t, e.WaitQuorum(registrytest.Context(t)))
	}
	claim(1)
	restart(e.Save)
	claim(2)
	claim(3)
	n.wait(t, "the third epoch", func(n *news) bool {
		return len(n.last.Topics) == 1 && len(n.last.Topics[0].Claimed) == 1 && n.last.Topics[0].Claimed[0].Epoch == 3
	})
	n.wait(t, "no regression so far", func(n *news) bool { return n.behind == 0 })
	restart(e.Restore)

	served := time.Now()
	n.wait(t, "the regression", func(n *news) bool { return len(n.last.Regressions) == 1 })
	equal(t, n.snapshot().Regressions, []cluster.Regression{{Topic: "t", Registry: 1, Witnessed: 3}})
	claim(4)
	if took := time.Since(served); took > o.SessionTimeout+time.Second {
		t.Errorf("back after %v, sessions last %v", took, o.SessionTimeout)
	}
	n.wait(t, "no regression", func(n *news) bool { return len(n.last.Regressions) == 0 })
	return n
}

func TestRule9OffsetsAreMirroredInOneMultiAndOnlyWhatChanged(t *testing.T) {
	e := registrytest.ZooKeeper(t)
	reg := &flaky{Registry: registrytest.Session(t, registrytest.ZooKeeperOpener(t, registrytest.ZooKeeperOptions(e)))}
	r := zkRegister(t, reg, broker(0, "a"))
	ctx := registrytest.Context(t)
	_, err := r.ClaimGroup(ctx, "g")
	registrytest.Check(t, err)
	marks := make([]cluster.OffsetMark, 500)
	for i := range marks {
		marks[i] = cluster.OffsetMark{
			Group: "g", Topic: "t", Partition: protocol.PartitionID{N: i}, Progress: cluster.Progress{MessageID: -7, Offset: int64(i)},
		}
	}
	registrytest.Check(t, r.MirrorOffsets(ctx, marks))
	reg.plan()
	for i := range marks {
		marks[i].Progress.Offset += 100
	}
	registrytest.Check(t, r.MirrorOffsets(ctx, marks))
	registrytest.Check(t, r.MirrorOffsets(ctx, marks))
	equal(t, reg.count(), 1)
	registrytest.WantData(t, reg, registrytest.Root(t)+"/consumers/g/offsets/t/0-42", "-7-142")
	got, err := r.Offsets(ctx, "g")
	registrytest.Check(t, err)
	equal(t, got, marks)
}

func TestMemberOutlivesTheLossOfTheQuorum(t *testing.T) {
	e := registrytest.ZooKeeper(t)
	o := registrytest.ZooKeeperOptions(e)
	o.SessionTimeout = 2 * time.Second
	m, n := join(t, cluster.MemberOptions{Open: registrytest.ZooKeeperOpener(t, o), Root: registrytest.Root(t), Broker: broker(0, "a"), Audit: 300 * time.Millisecond})
	n.wait(t, "itself", hasBrokers(0))
	// With a quorum every request is served. Should the session end before a write is
	// answered, as on a busy machine it may, its outcome is read back.
	use := func(name string) {
		t.Helper()
		registrytest.Check(t, e.WaitQuorum(registrytest.Context(t)))
		ctx := registrytest.Context(t)
		err := m.CreateTopic(ctx, cluster.Topic{Name: name, Partitions: 1})
		for errors.Is(err, registry.ErrUnknownOutcome) && ctx.Err() == nil {
			if err = m.CreateTopic(ctx, cluster.Topic{Name: name, Partitions: 1}); errors.Is(err, registry.ErrExists) {
				err = nil
			}
		}
		registrytest.Check(t, err)
	}
	server := func() (s *zktest.Server) {
		t.Helper()
		registrytest.Eventually(t, "a connection with a server that lives", func() bool {
			status := m.Status()
			s = e.At(status.Server)
			return status.Connected && s != nil && s.Running()
		})
		return s
	}
	use("all-three")
	first := server()
	registrytest.Check(t, first.Kill())
	use("two-of-three")
	second := server()
	registrytest.Check(t, second.Kill())
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second) // longer than the session
	defer cancel()
	err := m.CreateTopic(ctx, cluster.Topic{Name: "one-of-three", Partitions: 1})
	if !errors.Is(err, registry.ErrUnavailable) && !errors.Is(err, registry.ErrUnknownOutcome) {
		t.Fatalf("without a quorum: %v", err)
	}
	registrytest.Check(t, first.Start())
	use("two-again")
	registrytest.Check(t, second.Start())
	use("three-again")
	n.wait(t, "itself and its topics", func(n *news) bool { return hasBrokers(0)(n) && len(n.last.Topics) >= 4 })
}
