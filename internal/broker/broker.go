package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"metaq/actors"
	"metaq/actors/group"
	"metaq/actors/system"
	"metaq/cluster"
	"metaq/cluster/registry"
	"metaq/cluster/zookeeper"
	"metaq/configs"
	"metaq/persistence/store"
	"metaq/protocol"
	"metaq/transport"
	"metaq/transport/front"
)

// Broker is a running broker. Its methods may be called from any goroutine.
type Broker struct {
	cfg     *configs.Server
	opts    Options
	log     *slog.Logger
	url     string // for clients
	metrics net.Addr
	closers []func(context.Context) error // in the order of start

	system atomic.Pointer[system.System] // set once all runs
	early  atomic.Pointer[error]         // what failed before

	elapsed *store.Elapsed    // by which ages are told
	room    *store.Room       // whether the disks are full
	shares  shares            // of the descriptors
	server  *transport.Server // nil with an external NATS
	members *members          // nil when the broker runs alone
	meter   prometheus.Registerer
	// coordination is nil when the broker runs alone: it coordinates all groups.
	coordination group.Coordination

	once sync.Once
	err  error // of the stop
}

// Run runs a broker until ctx ends, stops it in order and returns nil; or it
// returns why the broker could not start or go on.
func Run(ctx context.Context, cfg *configs.Server, o Options) error {
	b, err := Start(ctx, cfg, o)
	if err != nil {
		if ctx.Err() != nil {
			return nil // it was told to stop while it started
		}
		return err
	}
	var failed error
	select {
	case <-ctx.Done():
		b.log.Info("broker stopping", "reason", context.Cause(ctx))
	case failed = <-b.Done():
		b.log.Error("broker cannot go on", "err", failed)
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.opts.StopTimeout)
	defer cancel()
	err = b.Stop(stop)
	if failed != nil {
		return failed // the stop says the same once more
	}
	if err == nil {
		b.log.Info("broker stopped")
	}
	return err
}

// Start starts a broker and returns when it is ready. When it returns an error,
// nothing is left running or locked. A configured memory limit is that of the
// whole process, until the broker has stopped; the first broker raises
// GOMAXPROCS by one for good, unless the environment sets it.
func Start(ctx context.Context, cfg *configs.Server, o Options) (_ *Broker, err error) {
	o.complete()
	b := &Broker{cfg: cfg, opts: o, log: o.Logger.With("broker", cfg.System.BrokerID)}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close(context.WithoutCancel(ctx)))
		}
	}()
	began := o.Now()
	b.limitMemory()
	raiseHeapFloor()
	spareOnce()
	for _, notice := range cfg.Notices() {
		b.log.Warn("setting has no effect", "notice", notice)
	}
	dirs, err := store.Open(o.FS, cfg)
	if err != nil {
		return nil, err
	}
	b.onClose(func(context.Context) error { return dirs.Close() })
	if b.elapsed, err = store.StartElapsed(dirs, o.Now, b.log); err != nil {
		return nil, err
	}
	b.onClose(b.elapsed.Close)
	for _, r := range dirs.SetAside {
		b.log.Warn("damaged file was set aside and is made again", "path", r.Path, "kept", r.Kept)
	}
	metrics := prometheus.NewRegistry()
	b.meter = metrics
	b.shares = share(cfg, b.log)
	b.room = store.NewRoom(dirs, o.Now, b.log, metrics)
	b.onClose(b.room.Close)
	reg, closeRegistry, err := b.registry(dirs)
	if err != nil {
		return nil, err
	}
	b.onClose(func(context.Context) error { return closeRegistry() })
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if err := b.startHTTP(metrics); err != nil {
		return nil, err
	}
	connect, err := b.startNATS()
	if err != nil {
		return nil, err
	}
	if b.members != nil {
		b.coordination = coordination{reg}
		if err := b.enterCluster(ctx, reg); err != nil {
			return nil, err
		}
	}
	if err := b.startActors(ctx, dirs, reg, closeRegistry, connect, metrics); err != nil {
		return nil, err
	}
	b.log.Info("broker ready", "nats", b.url, "registry", reg.Where(), "data", dirs.Describe(),
		"version", o.Version, "zone", cfg.System.DeleteWhen.Zone(began), "took", o.Now().Sub(began).Round(time.Millisecond))
	return b, nil
}

func (b *Broker) onClose(f func(context.Context) error) { b.closers = append(b.closers, f) }

// close undoes the start, the last step first.
func (b *Broker) close(ctx context.Context) error {
	var errs []error
	for _, f := range slices.Backward(b.closers) {
		errs = append(errs, f(ctx))
	}
	return errors.Join(errs...)
}

// registry opens the registry that the configuration names.
func (b *Broker) registry(dirs *store.Dirs) (*topicRegistry, func() error, error) {
	log := b.log
	witness, err := openWitness(dirs, log)
	if err != nil {
		return nil, nil, err
	}
	var open registry.Opener
	closeRegistry, rebuild := func() error { return nil }, false
	events := cluster.MemberEvents{Failed: b.fail}
	if b.cfg.UseZooKeeper() {
		b.members = newMembers(b.cfg.System.BrokerID, witness, log, b.meter)
		events = b.members.events(b.fail)
		zk, err := b.zooKeeper()
		if err != nil {
			return nil, nil, err
		}
		open = zk.Open
	} else {
		local, again, err := localRegistry(dirs, log)
		if err != nil {
			return nil, nil, err
		}
		open, closeRegistry, rebuild = local.Open, local.Close, again
	}
	return &topicRegistry{
		local: !b.cfg.UseZooKeeper(),
		join: func(ctx context.Context, info protocol.BrokerInfo) (*cluster.Member, error) {
			return b.join(ctx, cluster.MemberOptions{
				Open: open, Root: b.cfg.ZooKeeper.Root, Witness: witness, Log: log,
				Broker: cluster.Broker{
					ID: info.BrokerID, Token: dirs.Token, Version: info.Version, NATS: info.NATS, Route: b.route(),
					Host: b.host(), ServerPort: b.cfg.System.ServerPort, Started: info.Started,
				},
				Events: events,
				Audit:  min(cluster.DefaultAudit, b.cfg.ZooKeeper.SessionTimeout),
				Lease:  b.lease(),
			})
		},
		prepared: func(ctx context.Context, m *cluster.Member) error { return b.prepare(ctx, dirs, m, witness, rebuild) },
	}, closeRegistry, nil
}

// lease returns for how long this broker coordinates groups without news of ZooKeeper: less
// than a session, so that others can take over sooner, but for a broker that is alone. With the
// local registry there is nobody else.
func (b *Broker) lease() cluster.LeaseOptions {
	if !b.cfg.UseZooKeeper() {
		return cluster.LeaseOptions{}
	}
	session := b.cfg.ZooKeeper.SessionTimeout
	return cluster.LeaseOptions{Length: min(b.cfg.ZooKeeper.LeaseTime, session), Alone: session}
}

// zooKeeper prepares the way to the ensemble; it does not connect.
func (b *Broker) zooKeeper() (*zookeeper.ZooKeeper, error) {
	z := &b.cfg.ZooKeeper
	auth, err := z.Credentials()
	if err != nil {
		return nil, err
	}
	secure, err := z.TLSConfig()
	if err != nil {
		return nil, err
	}
	return zookeeper.New(zookeeper.Options{
		Connect: strings.Join(z.Connect, ","), SessionTimeout: z.SessionTimeout,
		Auth: auth, WorldRead: z.WorldRead, Root: z.Root, TLS: secure, Log: b.log,
	})
}

// enterCluster registers the broker, however long that takes, and learns who else is
// there, before anything serves: a put must find the whole partition list.
func (b *Broker) enterCluster(ctx context.Context, reg *topicRegistry) error {
	err := reg.Register(ctx, protocol.BrokerInfo{
		BrokerID: b.cfg.System.BrokerID, Version: b.opts.Version, NATS: b.url, Started: b.opts.Now(),
	})
	if err != nil {
		return err
	}
	m, err := reg.Now()
	if err != nil {
		return err
	}
	b.onClose(func(context.Context) error { return m.Close() }) // after Leave it has nothing to do
	b.onClose(func(context.Context) error { b.members.stop(); return nil })
	return b.members.start(ctx, m, b.server)
}

// clusterName keeps clusters apart that reach each other's ports: it is made of where
// in ZooKeeper the cluster is.
func (b *Broker) clusterName() string {
	_, chroot, err := zookeeper.ParseConnect(strings.Join(b.cfg.ZooKeeper.Connect, ","))
	if err != nil {
		chroot = "" // NewZooKeeper has refused it
	}
	return "metaq:" + chroot + "/" + strings.Trim(b.cfg.ZooKeeper.Root, "/")
}

// route is where the other brokers' NATS servers reach ours; "" with an external one.
func (b *Broker) route() string {
	if b.server == nil || b.server.ClusterPort() == 0 {
		return ""
	}
	return "nats-route://" + net.JoinHostPort(b.host(), strconv.Itoa(b.server.ClusterPort()))
}

// prepare brings registry and data directories together before topics open.
func (b *Broker) prepare(ctx context.Context, dirs *store.Dirs, m *cluster.Member, witness *cluster.Witness, rebuild bool) error {
	var replaced []string
	if b.members != nil {
		var err error
		if replaced, err = reenter(ctx, dirs, m, witness, b.log); err != nil {
			return err
		}
	}
	if rebuild {
		if err := restore(ctx, dirs, m, b.log); err != nil {
			return err
		}
	}
	topics, unreadable, err := m.ReadTopics(ctx)
	if err != nil {
		return fmt.Errorf("read the topics: %w", err)
	}
	known := make(map[string]int)
	for _, u := range unreadable {
		known[u.Topic] = protocol.MaxPartitions // it exists, and may be readable tomorrow
	}
	for _, t := range topics {
		known[t.Name] = t.Partitions
	}
	for _, t := range b.cfg.Topics {
		known[t.Name] = max(known[t.Name], t.NumPartitions)
	}
	for _, name := range replaced {
		delete(known, name)
	}
	topics = slices.DeleteFunc(topics, func(t cluster.Topic) bool { return slices.Contains(replaced, t.Name) })
	aside, err := dirs.SetAsideUnknown(known)
	for _, path := range aside {
		b.log.Warn("data that the registry does not know was set aside", "path", path)
	}
	if err != nil {
		return err
	}
	partitions := make(map[string]int, len(topics))
	for _, t := range topics {
		partitions[t.Name] = t.Partitions
	}
	for _, path := range dirs.Gone(partitions, witness.Highest) {
		b.log.Warn("partition's directory is gone, it begins anew and empty: stop the broker and put it back if that is not meant", "path", path)
	}
	return nil
}

func (b *Broker) startHTTP(metrics *prometheus.Registry) error {
	if b.cfg.Metrics.Listen == "" {
		return nil
	}
	h, err := transport.StartHTTP(transport.HTTPOptions{
		Listen: b.cfg.Metrics.Listen, Pprof: b.cfg.Metrics.Pprof, Metrics: metrics, Logger: b.log,
		Ready: func() error {
			if s := b.system.Load(); s == nil || !s.Ready() {
				return errors.New("the broker is not ready")
			}
			if trouble := b.room.Trouble(); trouble != "" {
				return errors.New(trouble)
			}
			return nil
		},
	})
	if err != nil {
		return err
	}
	b.metrics = h.Addr()
	b.onClose(h.Stop)
	b.log.Info("metrics served", "url", "http://"+h.Addr().String()+"/metrics")
	return nil
}

// startNATS starts the embedded server, or takes the one that is configured. It
// comes before the topics, so that a port in use is noticed at once; until the
// gateway subscribes, clients get "no responders".
func (b *Broker) startNATS() (transport.Dial, error) {
	n := b.cfg.NATS
	if len(n.URL) > 0 {
		b.url = protocol.PublicURLs(n.URL)
		return transport.ConnectURL(n.URL...), nil
	}
	o := transport.ServerOptions{
		Name: "metaq-" + strconv.Itoa(b.cfg.System.BrokerID), Host: n.Host, Port: n.Port,
		Subjects:   protocol.Subjects{Prefix: n.Prefix},
		MaxPayload: n.MaxPayload, MaxConnections: b.shares.clients, MaxPerAddress: n.MaxConnectionsPerAddress,
		MaxSubscriptions: n.MaxSubscriptions, MaxOutbound: outbound(&b.cfg.System),
		Logger: b.log,
	}
	if b.members != nil {
		o.Cluster = &transport.ClusterOptions{
			Name: b.clusterName(), Advertise: b.host(), Port: n.ClusterPort,
			Silence: min(b.cfg.ZooKeeper.SessionTimeout/3, maxSilence),
			Local:   transport.LocalSubjects(protocol.Subjects{Prefix: n.Prefix}),
		}
	}
	server, err := transport.StartServer(o)
	if err != nil {
		return nil, err
	}
	b.server = server
	b.onClose(func(context.Context) error { server.Stop(); return nil })
	_, port, err := net.SplitHostPort(server.Addr().String())
	if err != nil {
		return nil, err
	}
	b.url = "nats://" + net.JoinHostPort(b.host(), port)
	return server.Connect, nil
}

// maxSilence bounds how long a frozen broker's NATS server is waited for.
const maxSilence = 3 * time.Second

// host is where others reach this machine.
func (b *Broker) host() string {
	own, err := net.InterfaceAddrs()
	if err != nil {
		own = nil // without them there is the loopback
	}
	return b.cfg.AdvertiseHost(own)
}

// startActors starts the actor system, with the gateway at its edge.
func (b *Broker) startActors(ctx context.Context, dirs *store.Dirs, reg *topicRegistry, closeRegistry func() error,
	connect transport.Dial, metrics *prometheus.Registry,
) error {
	actorSystem := actors.NewActorSystem(b.log)
	b.onClose(func(context.Context) error { actorSystem.Shutdown(); return nil })
	c := b.cfg.System
	inAll := transport.Limits{Requests: int64(c.MaxInflightMessages), Bytes: c.MaxInflightBytes}
	inOne := transport.Limits{Requests: int64(c.MaxPartitionInflightMessages), Bytes: c.MaxPartitionInflightBytes}
	var edge *transport.ClusterEdge
	if b.members != nil {
		edge = &transport.ClusterEdge{BrokerID: c.BrokerID, Shared: b.server == nil, Lease: coordination{reg}.answerLease}
		if b.server != nil {
			edge.Connect, edge.Listens = b.server.ConnectPeers, b.server.PeerListens
		}
	}
	var clients *front.Front
	var listens func(subject string) bool
	if b.server != nil {
		clients, listens = b.server.Front(), b.server.Listens
	}
	gateway, err := transport.NewGateway(actorSystem, transport.Options{
		Cluster: edge, Front: clients, Listens: listens,
		Connect: connect, Name: "metaq-" + strconv.Itoa(c.BrokerID),
		Subjects: protocol.Subjects{Prefix: b.cfg.NATS.Prefix},
		Total:    inAll, Partition: inOne, Reads: inAll, PartitionReads: inOne,
		AutoCreate: c.AutoCreateTopics, BrokerID: c.BrokerID, Partitions: c.NumPartitions, MaxMessage: maxMessage(b.cfg),
		Version: b.opts.Version, Metadata: map[string]string{"broker_id": strconv.Itoa(c.BrokerID)},
		Fail: b.fail, Events: b.opts.Events, Logger: b.log, Metrics: metrics,
	})
	if err != nil {
		return err
	}
	groups, err := b.startGroups(actorSystem, dirs, metrics)
	if err != nil {
		return err
	}
	var others actors.Cluster
	if b.members != nil {
		b.members.Gateway = gateway
		others = b.members
	}
	running, err := system.Start(ctx, system.Deps{
		Cluster: others,
		System:  actorSystem, BrokerID: c.BrokerID,
		Describe: func() protocol.BrokerInfo {
			return protocol.BrokerInfo{
				BrokerID: c.BrokerID, Version: b.opts.Version, NATS: b.url,
				MaxPayload: gateway.MaxPayload(), MaxMessage: int(c.MaxMessageSize),
				Trouble: b.room.Trouble(),
			}
		},
		Registry: reg, CloseRegistry: closeRegistry,
		Logs:    &logs{dirs: dirs, room: b.room, files: newLogFiles(b.shares.logFiles, metrics), log: b.log, now: b.opts.Now, elapsed: b.elapsed.Now},
		Gateway: &groupsGateway{Gateway: gateway, groups: groups},
		Topics:  configuredTopics(b.cfg), Source: b.opts.Source,
		Resolve: func(topic string, t protocol.TopicConfig) (actors.Settings, error) {
			return resolve(b.cfg, time.Local, topic, t)
		},
		Publish: func(r *actors.Routes) {
			gateway.Publish(r)
			groups.Publish(r)
			if b.members != nil {
				b.members.publish(r)
			}
		},
		Logger: b.log, Metrics: metrics, Events: b.opts.Events, Now: b.opts.Now, Elapsed: b.elapsed.Now,
		Options: actors.Options{
			AutoCreate: c.AutoCreateTopics, AutoCreateLimit: c.AutoCreateLimit, AutoCreateRate: c.AutoCreateRate, MaxTopicSubjects: c.MaxTopicSubjects, MaxSubjects: c.MaxSubjects, MaxProducers: c.MaxProducers, MaxPartitions: c.MaxPartitions, MaxMessageIDs: c.MaxBrokerMessageIDs, Partitions: c.NumPartitions, MaxTransferSize: int(c.MaxTransferSize),
			JumpToEnd: c.UpdateConsumerOffsets,
		},
	})
	if err != nil {
		return err
	}
	b.onClose(running.Stop)
	if m, err := reg.Now(); err == nil {
		m.AskPeers(gateway.PeerLease)
	}
	b.system.Store(running)
	if err := b.early.Load(); err != nil {
		running.Fail(*err)
	}
	return nil
}

// fail stops the broker because of err.
func (b *Broker) fail(err error) {
	b.early.CompareAndSwap(nil, &err)
	if s := b.system.Load(); s != nil {
		s.Fail(err)
	}
}

// URL is where clients connect.
func (b *Broker) URL() string { return b.url }

// MetricsAddr is where metrics are served, or nil.
func (b *Broker) MetricsAddr() net.Addr { return b.metrics }

// Done yields one value when the broker ends by itself: why it cannot go on.
func (b *Broker) Done() <-chan error { return b.system.Load().Done() }

// Stop stops the broker in order: nothing acknowledged is lost, and nothing in
// flight goes unanswered. ctx bounds it. It may be called again.
func (b *Broker) Stop(ctx context.Context) error {
	b.once.Do(func() { b.err = b.close(ctx) })
	return b.err
}
