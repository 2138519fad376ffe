package cluster_test

// One test for each of the rules of the design's chapter on the registry, against real
// servers.

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"metaq/cluster"
	"metaq/internal/vfs/faultfs"
	"metaq/protocol"
	zktest "metaq/test/zk"
)

// roots are different for each run of a test: the ensemble remembers the earlier ones.
var roots sync.Map // from testing.TB to string

// root gives each run of a test its own part of the ensemble.
func root(t testing.TB) string {
	mine, _ := roots.LoadOrStore(t, "/"+strings.ReplaceAll(t.Name(), "/", "-")+"-"+rand.Text()[:6])
	return mine.(string)
}

func zkRegister(t testing.TB, reg cluster.Registry, b cluster.Broker) *cluster.Registration {
	t.Helper()
	c, err := cluster.NewCatalog(reg, root(t))
	check(t, err)
	r, err := c.Register(testContext(t), b, nil)
	check(t, err)
	return r
}

// caughtUp lets a session see what others have written.
func caughtUp(t testing.TB, reg cluster.Registry) {
	t.Helper()
	check(t, reg.Multi(testContext(t), cluster.Check("/", 0)))
}

// throughProxies connects one client by proxies to all servers.
func throughProxies(t testing.TB, e *zktest.Ensemble) (cluster.ZooKeeperOptions, func(zktest.Fault)) {
	t.Helper()
	var proxies []*zktest.Proxy
	var addresses []string
	for _, s := range e.Servers {
		p := zktest.NewProxy(t, s.Address)
		proxies = append(proxies, p)
		addresses = append(addresses, p.Address)
	}
	o := zkOptions(e)
	o.Connect = strings.Join(addresses, ",")
	return o, func(f zktest.Fault) {
		for _, p := range proxies {
			p.Set(f)
		}
	}
}

func TestRule1EveryOwnershipWriteChecksWhatGivesTheRight(t *testing.T) {
	e := zooKeeper(t)
	ctx := testContext(t)
	oldSession, newSession := session(t, zkOpener(t, zkOptions(e))), session(t, zkOpener(t, zkOptions(e)))
	old := zkRegister(t, oldSession, broker(0, "same"))
	check(t, old.CreateTopic(ctx, cluster.Topic{Name: "t", Partitions: 2}))
	_, err := old.ClaimGroup(ctx, "g")
	check(t, err)
	caughtUp(t, newSession)
	young := zkRegister(t, newSession, broker(0, "same"))
	epochs, err := young.ClaimEpochs(ctx, "t", make([]protocol.Epoch, 2))
	check(t, err)

	// The old incarnation's session lives, and its connection is fine. It may do nothing.
	check(t, oldSession.Err())
	_, err = old.ClaimEpochs(ctx, "t", make([]protocol.Epoch, 2))
	wantErr(t, err, cluster.ErrFenced)
	wantErr(t, old.CreateTopic(ctx, cluster.Topic{Name: "u", Partitions: 1}), cluster.ErrFenced)
	wantErr(t, old.DeleteTopic(ctx, "t"), cluster.ErrFenced)
	wantErr(t, old.Advertise(ctx, []cluster.TopicAd{{Topic: "t", Partitions: 9, Publish: true}}), cluster.ErrFenced)
	wantErr(t, old.MirrorOffsets(ctx, []cluster.OffsetMark{{Group: "g", Topic: "t"}}), cluster.ErrFenced)
	_, err = old.ClaimGroup(ctx, "g")
	wantErr(t, err, cluster.ErrFenced)
	partitions, err := young.Partitions(ctx, "t")
	check(t, err)
	equal(t, partitions[0].Epoch, epochs[0])
	topics, err := young.Topics(ctx)
	check(t, err)
	equal(t, len(topics), 1)
}

func TestRule2SessionLossIsTheDeathOfAnIncarnation(t *testing.T) {
	e := zooKeeper(t)
	o, set := throughProxies(t, e)
	o.SessionTimeout = time.Second
	watcher := session(t, zkOpener(t, zkOptions(e)))
	path := root(t)
	put(t, watcher, path, "")
	mortal := session(t, zkOpener(t, o))
	check(t, mortal.Create(testContext(t), path+"/e", nil, cluster.Ephemeral))
	hint := make(chan struct{}, 1)
	check(t, mortal.Watch(testContext(t), cluster.WatchData, path+"/other", hint))

	set(zktest.Stalled)
	// These writes wait while the session ends: the first on its way, the other in the
	// client, for a connection.
	writes := make(chan error, 2)
	late := func(name string) {
		writes <- mortal.Create(testContext(t), path+name, nil, cluster.Persistent)
	}
	go late("/late-1")
	eventually(t, "disconnected", func() bool { return !mortal.Status().Connected })
	go late("/late-2")
	eventually(t, "the ephemeral node goes", func() bool {
		caughtUp(t, watcher)
		_, err := watcher.Get(testContext(t), path+"/e")
		return errors.Is(err, cluster.ErrNotFound)
	})
	set(zktest.Healthy)
	select {
	case <-mortal.Done():
	case <-time.After(patience):
		t.Fatal("the session does not know that it is over")
	}
	wantErr(t, mortal.Err(), cluster.ErrSessionLost)
	for range cap(writes) {
		if err := <-writes; !errors.Is(err, cluster.ErrUnknownOutcome) && !errors.Is(err, cluster.ErrSessionLost) {
			t.Fatalf("a write that waited: %v", err)
		}
	}
	<-hint // the end of a session hints its watches
	id := mortal.Session()
	wantErr(t, mortal.Create(testContext(t), path+"/later", nil, cluster.Ephemeral), cluster.ErrSessionLost)
	check(t, mortal.Close())

	next := session(t, zkOpener(t, o))
	if next.Session() == id {
		t.Fatal("a new incarnation has the old session")
	}
	names, err := next.Children(testContext(t), path)
	check(t, err)
	equal(t, names, []string{}) // nothing that waited was done in a new session
}

func TestRule3DisconnectedIsNotExpired(t *testing.T) {
	e := zooKeeper(t)
	o, set := throughProxies(t, e)
	o.SessionTimeout = 20 * time.Second
	var connected, disconnected atomic.Int32
	o.Events = cluster.ZooKeeperEvents{
		Connected:    func(string) { connected.Add(1) },
		Disconnected: func(string) { disconnected.Add(1) },
	}
	reg := session(t, zkOpener(t, o))
	r := zkRegister(t, reg, broker(0, "a"))
	id := reg.Session()
	for range 3 {
		set(zktest.Cut)
		eventually(t, "disconnected", func() bool { return !reg.Status().Connected })
		check(t, reg.Err())
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		_, err := r.Brokers(ctx)
		cancel()
		wantErr(t, err, cluster.ErrUnavailable)
		set(zktest.Healthy)
		brokers, err := r.Brokers(testContext(t))
		check(t, err)
		equal(t, len(brokers), 1)
	}
	equal(t, reg.Session(), id)
	check(t, r.CreateTopic(testContext(t), cluster.Topic{Name: "t", Partitions: 1}))
	eventually(t, "news of the connection", func() bool { return connected.Load() >= 2 && disconnected.Load() >= 1 })
}

// deaf is a session whose watches never hint.
type deaf struct{ cluster.Registry }

func (deaf) Watch(context.Context, cluster.WatchKind, string, chan<- struct{}) error { return nil }

func TestRule4WatchesAreHintsAndTheAuditFindsTheRest(t *testing.T) {
	e := zooKeeper(t)
	open := zkOpener(t, zkOptions(e))
	_, hinted := join(t, cluster.MemberOptions{Open: open, Root: root(t), Broker: broker(0, "a"), Audit: time.Hour})
	_, audited := join(t, cluster.MemberOptions{
		Root: root(t), Broker: broker(1, "b"), Audit: 300 * time.Millisecond,
		Open: func(ctx context.Context) (cluster.Registry, error) {
			reg, err := open(ctx)
			return deaf{reg}, err
		},
	})
	c, _ := join(t, cluster.MemberOptions{Open: open, Root: root(t), Broker: broker(2, "c"), Audit: time.Hour})
	hinted.wait(t, "three brokers by a hint", hasBrokers(0, 1, 2))
	audited.wait(t, "three brokers by the audit", hasBrokers(0, 1, 2))
	check(t, c.CreateTopic(testContext(t), cluster.Topic{Name: "t", Partitions: 3}))
	_, err := c.ClaimEpochs(testContext(t), "t", make([]protocol.Epoch, 3))
	check(t, err)
	claimed := func(n *news) bool { return len(n.last.Topics) == 1 && len(n.last.Topics[0].Claimed) == 3 }
	hinted.wait(t, "the claim by a hint", claimed)
	audited.wait(t, "the claim by the audit", claimed)
	check(t, c.Close())
	hinted.wait(t, "the broker's going by a hint", hasBrokers(0, 1))
	audited.wait(t, "the broker's going by the audit", hasBrokers(0, 1))
}

func TestRule4WatchesOutliveAReconnect(t *testing.T) {
	e := zooKeeper(t)
	o, set := throughProxies(t, e)
	o.SessionTimeout = 20 * time.Second
	reg, other := session(t, zkOpener(t, o)), session(t, zkOpener(t, zkOptions(e)))
	put(t, other, root(t), "")
	caughtUp(t, reg)
	hint := make(chan struct{}, 1)
	check(t, reg.Watch(testContext(t), cluster.WatchChildren, root(t), hint))
	set(zktest.Cut)
	eventually(t, "disconnected", func() bool { return !reg.Status().Connected })
	put(t, other, root(t)+"/while-away", "")
	set(zktest.Healthy)
	select {
	case <-hint:
	case <-time.After(patience):
		t.Fatal("no hint of a change that happened while disconnected")
	}
}

func TestRule5UnknownOutcomeIsReadBack(t *testing.T) {
	e := zooKeeper(t)
	s := e.Servers[0]
	p := zktest.NewProxy(t, s.Address)
	o := zkOptions(e)
	o.Connect, o.SessionTimeout = p.Address, 20*time.Second
	reg := session(t, zkOpener(t, o))
	r := zkRegister(t, reg, broker(0, "a"))
	ctx := testContext(t)

	// The answer is lost, then the connection. The raw write does not know its outcome.
	lose := func(write func() error) error {
		before := p.Lost()
		p.Set(zktest.LoseReplies)
		result := make(chan error, 1)
		go func() { result <- write() }()
		eventually(t, "the answer is lost", func() bool { return p.Lost() > before })
		p.Set(zktest.Cut)
		p.Set(zktest.Healthy)
		return <-result
	}
	err := lose(func() error { return reg.Create(ctx, root(t)+"/raw", nil, cluster.Persistent) })
	wantErr(t, err, cluster.ErrUnknownOutcome)
	_, err = reg.Get(ctx, root(t)+"/raw")
	check(t, err)

	// The records' writes find out.
	check(t, lose(func() error { return r.CreateTopic(ctx, cluster.Topic{Name: "t", Partitions: 1}) }))
	var epochs []protocol.Epoch
	check(t, lose(func() (err error) { epochs, err = r.ClaimEpochs(ctx, "t", make([]protocol.Epoch, 1)); return err }))
	equal(t, epochs, []protocol.Epoch{1})
	recorded, err := r.Partitions(ctx, "t")
	check(t, err)
	equal(t, recorded[0].Epoch, protocol.Epoch(1))
}

func TestRule6RestartTakesOverAndAStrangerIsRefused(t *testing.T) {
	e := zooKeeper(t)
	o, set := throughProxies(t, e)
	o.SessionTimeout = 20 * time.Second
	ads := []cluster.TopicAd{{Topic: "t", Partitions: 5, Publish: true, Subscribe: true}}
	killed := session(t, zkOpener(t, o))
	check(t, zkRegister(t, killed, broker(0, "token")).Advertise(testContext(t), ads))
	set(zktest.Cut) // as if killed: no goodbye, and the session lives on

	reg := session(t, zkOpener(t, zkOptions(e)))
	stranger := broker(0, "other token")
	c, err := cluster.NewCatalog(reg, root(t))
	check(t, err)
	_, err = c.Register(testContext(t), stranger, nil)
	wantErr(t, err, cluster.ErrBrokerIDTaken)
	if !strings.Contains(err.Error(), "10.0.0.1") || !strings.Contains(err.Error(), "2026-01-02") {
		t.Errorf("%q names neither host nor start", err)
	}

	begin := time.Now()
	check(t, zkRegister(t, reg, broker(0, "token")).Advertise(testContext(t), ads))
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("taking over took %v", took)
	}
	for _, path := range []string{"/brokers/ids/0/master", "/brokers/topics-pub/t/0-m", "/nats/brokers/0"} {
		n, err := reg.Get(testContext(t), root(t)+path)
		check(t, err)
		equal(t, n.Owner, reg.Session())
	}
}

func TestRule7CallsEndInTimeOnAFrozenServer(t *testing.T) {
	e := zooKeeper(t)
	o := zkOptions(e)
	reg := session(t, zkOpener(t, o))
	put(t, reg, root(t), "")
	frozen := reg.Status().Server
	check(t, e.At(frozen).Pause())
	id := reg.Session()
	timed := func(want error, do func(ctx context.Context) error) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		begin := time.Now()
		wantErr(t, do(ctx), want)
		if took := time.Since(begin); took > time.Second {
			t.Errorf("the call took %v", took)
		}
	}
	timed(cluster.ErrUnavailable, func(ctx context.Context) error { _, err := reg.Get(ctx, root(t)); return err })
	timed(cluster.ErrUnknownOutcome, func(ctx context.Context) error {
		return reg.Create(ctx, root(t)+"/a", nil, cluster.Persistent)
	})
	// The session moves to another server before it is over.
	_, err := reg.Get(testContext(t), root(t))
	check(t, err)
	equal(t, reg.Session(), id)
	if now := reg.Status().Server; now == frozen {
		t.Errorf("still at the frozen server %s", now)
	}
}

func TestRule7AServerThatNeverGreetsIsLeftSoon(t *testing.T) {
	e := zooKeeper(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer silent.Close()
	o := zkOptions(e)
	o.Connect = silent.Addr().String()
	o.DialTimeout = 200 * time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err = zkOpener(t, o)(ctx)
	wantErr(t, err, cluster.ErrUnavailable)
	if !strings.Contains(err.Error(), silent.Addr().String()) || !strings.Contains(err.Error(), "no greeting") {
		t.Errorf("%q does not say who was silent", err)
	}
	o.Connect += "," + e.Servers[0].Address
	begin := time.Now()
	reg := session(t, zkOpener(t, o))
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
	check(t, fs.MkdirAll(dataDir))
	w, err := cluster.OpenWitness(fs, dataDir, false)
	check(t, err)
	o := zkOptions(e)
	o.Auth = auth
	m, n := join(t, cluster.MemberOptions{Open: zkOpener(t, o), Broker: broker(0, "a"), Witness: w, Audit: time.Hour})
	ctx := testContext(t)
	check(t, m.CreateTopic(ctx, cluster.Topic{Name: "t", Partitions: 1}))
	claim := func(want protocol.Epoch) {
		t.Helper()
		got, err := m.ClaimEpochs(testContext(t), "t", make([]protocol.Epoch, 1))
		check(t, err)
		equal(t, got, []protocol.Epoch{want})
	}
	restart := func(between func() error) {
		t.Helper()
		for _, s := range e.Servers {
			check(t, s.Kill())
		}
		check(t, between())
		for _, s := range e.Servers {
			check(t, s.Start())
		}
		check(t, e.WaitQuorum(testContext(t)))
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
	e := zooKeeper(t)
	reg := &flaky{Registry: session(t, zkOpener(t, zkOptions(e)))}
	r := zkRegister(t, reg, broker(0, "a"))
	ctx := testContext(t)
	_, err := r.ClaimGroup(ctx, "g")
	check(t, err)
	marks := make([]cluster.OffsetMark, 500)
	for i := range marks {
		marks[i] = cluster.OffsetMark{
			Group: "g", Topic: "t", Partition: protocol.PartitionID{N: i}, Progress: cluster.Progress{MessageID: -7, Offset: int64(i)},
		}
	}
	check(t, r.MirrorOffsets(ctx, marks))
	reg.plan()
	for i := range marks {
		marks[i].Progress.Offset += 100
	}
	check(t, r.MirrorOffsets(ctx, marks))
	check(t, r.MirrorOffsets(ctx, marks))
	equal(t, reg.count(), 1)
	wantData(t, reg, root(t)+"/consumers/g/offsets/t/0-42", "-7-142")
	got, err := r.Offsets(ctx, "g")
	check(t, err)
	equal(t, got, marks)
}

func TestMemberOutlivesTheLossOfTheQuorum(t *testing.T) {
	e := zooKeeper(t)
	o := zkOptions(e)
	o.SessionTimeout = 2 * time.Second
	m, n := join(t, cluster.MemberOptions{Open: zkOpener(t, o), Root: root(t), Broker: broker(0, "a"), Audit: 300 * time.Millisecond})
	n.wait(t, "itself", hasBrokers(0))
	// With a quorum every request is served. Should the session end before a write is
	// answered, as on a busy machine it may, its outcome is read back.
	use := func(name string) {
		t.Helper()
		check(t, e.WaitQuorum(testContext(t)))
		ctx := testContext(t)
		err := m.CreateTopic(ctx, cluster.Topic{Name: name, Partitions: 1})
		for errors.Is(err, cluster.ErrUnknownOutcome) && ctx.Err() == nil {
			if err = m.CreateTopic(ctx, cluster.Topic{Name: name, Partitions: 1}); errors.Is(err, cluster.ErrExists) {
				err = nil
			}
		}
		check(t, err)
	}
	server := func() (s *zktest.Server) {
		t.Helper()
		eventually(t, "a connection with a server that lives", func() bool {
			status := m.Status()
			s = e.At(status.Server)
			return status.Connected && s != nil && s.Running()
		})
		return s
	}
	use("all-three")
	first := server()
	check(t, first.Kill())
	use("two-of-three")
	second := server()
	check(t, second.Kill())
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second) // longer than the session
	defer cancel()
	err := m.CreateTopic(ctx, cluster.Topic{Name: "one-of-three", Partitions: 1})
	if !errors.Is(err, cluster.ErrUnavailable) && !errors.Is(err, cluster.ErrUnknownOutcome) {
		t.Fatalf("without a quorum: %v", err)
	}
	check(t, first.Start())
	use("two-again")
	check(t, second.Start())
	use("three-again")
	n.wait(t, "itself and its topics", func(n *news) bool { return hasBrokers(0)(n) && len(n.last.Topics) >= 4 })
}
