package actors

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"metaq/internal/aligned"
	"metaq/protocol"
)

var errDisk = errors.New("input/output error")

// fakeDisk is what survives the closing of fake logs: it is a LogStore.
type fakeDisk struct {
	mu      sync.Mutex // guards what follows
	logs    map[string]*fakeLog
	aside   []string
	fail    map[string]error // of the next opens, by partition
	opens   int
	blocked chan struct{} // when set, opens wait for it
}

func newFakeDisk() *fakeDisk {
	return &fakeDisk{logs: make(map[string]*fakeLog), fail: make(map[string]error)}
}

func (d *fakeDisk) Open(topic string, id protocol.PartitionID, _ Settings) (Log, error) {
	d.mu.Lock()
	blocked := d.blocked
	d.mu.Unlock()
	if blocked != nil {
		<-blocked
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.opens++
	name := topic + "-" + id.String()
	if err := d.fail[name]; err != nil {
		return nil, err
	}
	l, ok := d.logs[name]
	if !ok {
		l = &fakeLog{}
		d.logs[name] = l
	}
	return l, l.open()
}

func (d *fakeDisk) SetAside(topic string, id protocol.PartitionID) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	name := topic + "-" + id.String()
	if l, ok := d.logs[name]; ok {
		if l.isOpen() {
			return fmt.Errorf("%s is open", name)
		}
		delete(d.logs, name)
		d.aside = append(d.aside, name)
	}
	return nil
}

func (d *fakeDisk) log(t testing.TB, name string) *fakeLog {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	l, ok := d.logs[name]
	if !ok {
		t.Fatalf("no log %s", name)
	}
	return l
}

func (d *fakeDisk) setFail(name string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail[name] = err
}

// fakeLog is a Log in memory. It checks what it is given as a real one does.
type fakeLog struct {
	mu      sync.Mutex // guards what follows
	opened  bool
	poison  error
	batches []fakeBatch
	synced  int // batches
	start   protocol.Offset
	goneIDs []protocol.GoneID
	epoch   protocol.Epoch
	syncs   int
	appends int
	inPlace int // of them, those that lay where Lead said
	rolls   int // batches of a segment; 0: there is one
	parks   int
	expires int

	appendErr, syncErr, readErr, closeErr, epochErr error // of the next call
	keepUnsynced                                    bool  // on recovery, as a crash of only the process does
	panicNext                                       bool  // in Append
	panicRead                                       bool
	onStart                                         func() // called once by Start, without the lock
	beforeSync, beforeAppend                        func() // called without the lock
}

type fakeBatch struct {
	header protocol.BatchHeader
	bytes  []byte
}

func (l *fakeLog) open() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.opened {
		return errors.New("log is open already")
	}
	l.opened, l.poison = true, nil
	if !l.keepUnsynced {
		l.batches = l.batches[:l.synced]
	}
	l.synced = len(l.batches)
	return nil
}

func (l *fakeLog) isOpen() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.opened
}

// update changes the log's faults.
func (l *fakeLog) update(f func(*fakeLog)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(l)
}

// stallSyncs lets each sync say that it begins, and wait until it may go on.
func (l *fakeLog) stallSyncs() (syncing, goOn chan bool) {
	syncing, goOn = make(chan bool), make(chan bool)
	l.update(func(l *fakeLog) {
		l.beforeSync = func() {
			syncing <- true
			<-goOn
		}
	})
	return syncing, goOn
}

func take(err *error) error {
	e := *err
	*err = nil
	return e
}

func (l *fakeLog) Append(b, around []byte) error {
	l.mu.Lock()
	before := l.beforeAppend
	l.mu.Unlock()
	if before != nil {
		before()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.appends++
	if l.panicNext {
		l.panicNext = false
		panic("planted")
	}
	if l.poison != nil || !l.opened {
		return errors.Join(errors.New("append to a log that is gone"), l.poison)
	}
	if err := take(&l.appendErr); err != nil {
		if !keptNothing(err) {
			l.poison = err
		}
		return err
	}
	switch {
	case around == nil:
	case &around[:cap(around)][cap(around)-1] != &b[:cap(b)][cap(b)-1]:
		return errors.New("batches do not lie where it was said")
	case aligned.Within(around, b, l.leadLocked()) != nil:
		l.inPlace++
	}
	for len(b) > 0 {
		h, err := protocol.CheckBatch(b, 0)
		if err != nil {
			return err
		}
		if h.Base != l.nextLocked() {
			return fmt.Errorf("batch at %d does not continue the log, which ends at %d", h.Base, l.nextLocked())
		}
		if most := l.syncedLocked(); h.Base-protocol.Offset(h.Unsynced) > most {
			return fmt.Errorf("batch at %d claims that only %d are not synced, synced is %d", h.Base, h.Unsynced, most)
		}
		if h.Position != l.positionLocked() || h.MaxTime != protocol.HeldTime(h.MaxTime, l.timeLocked()) || h.Epoch != l.epoch {
			return fmt.Errorf("batch at %d has position %d, time %d, epoch %d", h.Base, h.Position, h.MaxTime, h.Epoch)
		}
		l.batches = append(l.batches, fakeBatch{h, slices.Clone(b[:h.Length])})
		b = b[h.Length:]
	}
	return nil
}

func (l *fakeLog) Lead() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.leadLocked()
}

// leadLocked is as if each rolls batches began a segment, where a log has so many.
func (l *fakeLog) leadLocked() (n int) {
	from := 0
	if l.rolls > 0 {
		from = len(l.batches) / l.rolls * l.rolls
	}
	for _, b := range l.batches[from:] {
		n += len(b.bytes)
	}
	return n % aligned.Block
}

func (l *fakeLog) Sync() error {
	l.mu.Lock()
	before := l.beforeSync
	l.mu.Unlock()
	if before != nil {
		before()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.syncs++
	if l.poison == nil {
		l.poison = take(&l.syncErr)
	}
	if l.poison != nil {
		return l.poison
	}
	l.synced = len(l.batches)
	return nil
}

func (l *fakeLog) SetEpoch(e protocol.Epoch) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := take(&l.epochErr); err != nil {
		return err
	}
	if e < l.epoch {
		return fmt.Errorf("epoch %d is below %d", e, l.epoch)
	}
	l.epoch = e
	return nil
}

func (l *fakeLog) Read(dst []byte, from, limit protocol.Offset, maxBytes int) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.panicRead {
		l.panicRead = false
		panic("planted")
	}
	if err := take(&l.readErr); err != nil {
		return dst, err
	}
	if from < l.start {
		return dst, protocol.NewRangeError(from, l.start, limit)
	}
	base := len(dst)
	for _, b := range l.batches {
		if b.header.Next() <= from || b.header.Base >= limit {
			continue
		}
		if len(dst) > base && len(dst)-base+len(b.bytes) > maxBytes {
			break
		}
		dst = append(dst, b.bytes...)
	}
	return dst, nil
}

func (l *fakeLog) OffsetAt(millis int64, limit protocol.Offset) (protocol.Offset, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.batches {
		if b.header.MaxTime >= millis && b.header.Base < limit {
			return b.header.Base, nil
		}
	}
	return limit, nil
}

// OffsetSince has the append clock show the date.
func (l *fakeLog) OffsetSince(at int64, limit protocol.Offset) (protocol.Offset, error) {
	return l.OffsetAt(at, limit)
}

func (l *fakeLog) GoneIDs() ([]protocol.GoneID, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.goneIDs, nil
}

func (l *fakeLog) AppendedAt(_ protocol.Offset, millis int64) int64 { return millis }

func (l *fakeLog) nextLocked() protocol.Offset {
	if n := len(l.batches); n > 0 {
		return l.batches[n-1].header.Next()
	}
	return l.start
}

func (l *fakeLog) syncedLocked() protocol.Offset {
	if l.synced > 0 {
		return l.batches[l.synced-1].header.Next()
	}
	return l.start
}

func (l *fakeLog) positionLocked() protocol.Position {
	if n := len(l.batches); n > 0 {
		return l.batches[n-1].header.NextPosition()
	}
	return 0
}

func (l *fakeLog) timeLocked() int64 {
	if n := len(l.batches); n > 0 {
		return l.batches[n-1].header.MaxTime
	}
	return 0
}

func (l *fakeLog) Start() protocol.Offset {
	l.mu.Lock()
	f := l.onStart
	l.onStart = nil
	l.mu.Unlock()
	if f != nil {
		f()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.start
}

func (l *fakeLog) Next() protocol.Offset {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.nextLocked()
}

func (l *fakeLog) NextPosition() protocol.Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.positionLocked()
}

func (l *fakeLog) LastTime() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.timeLocked()
}

func (l *fakeLog) Size() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := int64(0)
	for _, b := range l.batches {
		if b.header.Next() > l.start {
			n += int64(len(b.bytes))
		}
	}
	return n
}

func (l *fakeLog) Expire(Retention) (func() error, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expires++
	l.start = l.nextLocked()
	return func() error { return nil }, nil
}

func (l *fakeLog) Park() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.parks++
	return nil
}

func (l *fakeLog) LastEpoch() protocol.Epoch {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.epoch
}

func (l *fakeLog) Epochs() []protocol.EpochStart {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []protocol.EpochStart
	for _, b := range l.batches {
		if n := len(out); n == 0 || out[n-1].Epoch != b.header.Epoch {
			out = append(out, protocol.EpochStart{Epoch: b.header.Epoch, First: b.header.Base})
		}
	}
	if n := len(out); n == 0 || out[n-1].Epoch != l.epoch {
		out = append(out, protocol.EpochStart{Epoch: l.epoch, First: l.nextLocked()})
	}
	return out
}

func (l *fakeLog) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.opened {
		return errors.New("log is closed twice")
	}
	l.opened = false
	if l.poison == nil {
		l.synced = len(l.batches)
	}
	return take(&l.closeErr)
}

// fakeRegistry is a Registry in memory.
type fakeRegistry struct {
	mu     sync.Mutex // guards what follows
	topics map[string]Topic
	epochs map[string][]protocol.Epoch
	calls  []string
	made   protocol.Epoch   // topics
	fail   map[string]error // by call, until taken away

	producers int64 // next id
	blocks    int   // attempts to take a block of them
}

func newFakeRegistry(topics ...Topic) *fakeRegistry {
	r := &fakeRegistry{topics: make(map[string]Topic), epochs: make(map[string][]protocol.Epoch), fail: make(map[string]error)}
	for _, t := range topics {
		r.topics[t.Name] = t
	}
	return r
}

func (r *fakeRegistry) call(name string) error {
	r.calls = append(r.calls, name)
	return r.fail[name]
}

func (r *fakeRegistry) setFail(call string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail[call] = err
}

func (r *fakeRegistry) Topics(context.Context) ([]Topic, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Topic
	for _, t := range r.topics {
		out = append(out, t)
	}
	return out, r.call("topics")
}

func (r *fakeRegistry) CreateTopic(_ context.Context, t Topic) (Topic, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.call("create " + t.Name); err != nil {
		return t, err
	}
	if _, ok := r.topics[t.Name]; ok {
		return t, protocol.ErrExists
	}
	r.made++
	t.Born = r.made
	r.topics[t.Name] = t
	return t, nil
}

func (r *fakeRegistry) SetTopic(_ context.Context, t Topic) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.call("set " + t.Name); err != nil {
		return err
	}
	r.topics[t.Name] = t
	return nil
}

func (r *fakeRegistry) DeleteTopic(_ context.Context, name string, born protocol.Epoch) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.call("delete " + name); err != nil {
		return err
	}
	if t, there := r.topics[name]; there && t.Born != born {
		return protocol.ErrConflict.With("topic %s is another one", name)
	}
	delete(r.topics, name)
	return nil
}

func (r *fakeRegistry) ClaimEpochs(_ context.Context, topic string, floor []protocol.Epoch) ([]protocol.Epoch, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.call("claim " + topic); err != nil {
		return nil, err
	}
	for len(r.epochs[topic]) < len(floor) {
		r.epochs[topic] = append(r.epochs[topic], 0)
	}
	for i, f := range floor {
		r.epochs[topic][i] = max(r.epochs[topic][i], f) + 1
	}
	return slices.Clone(r.epochs[topic][:len(floor)]), nil
}

func (r *fakeRegistry) TakeProducerIDs(_ context.Context, _ time.Time, n int) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.blocks++ // not in the story: it comes at any time
	if err := r.fail["take producer ids"]; err != nil {
		return 0, err
	}
	first := max(r.producers, 1)
	r.producers = first + int64(n)
	return first, nil
}

func (r *fakeRegistry) Register(_ context.Context, b protocol.BrokerInfo) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if b.Ready {
		return r.call("announce")
	}
	return r.call("register")
}

func (r *fakeRegistry) Leave(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.call("leave")
}

func (r *fakeRegistry) Where() string { return "local" }

func (r *fakeRegistry) blocksAsked() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.blocks
}

func (r *fakeRegistry) story() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.calls)
}

// fakeGateway notes its steps in the registry's story, so that their order can
// be seen.
type fakeGateway struct {
	r        *fakeRegistry
	startErr error
	system   *actor.ActorSystem // for acknowledgements
}

func (g *fakeGateway) note(s string) {
	g.r.mu.Lock()
	defer g.r.mu.Unlock()
	g.r.calls = append(g.r.calls, s)
}

func (g *fakeGateway) Acknowledge(all iter.Seq2[*actor.PID, *protocol.PubAck]) {
	for to, ack := range all {
		if to != nil {
			g.system.Root.Send(to, *ack)
		}
	}
}

func (g *fakeGateway) Start(context.Context) error { g.note("gateway start"); return g.startErr }
func (g *fakeGateway) Drain(context.Context) error { g.note("gateway drain"); return nil }
func (g *fakeGateway) Close() error                { g.note("gateway close"); return nil }

// tickets counts what requests hold.
type tickets struct{ held atomic.Int64 }

func (a *tickets) Release(_, bytes int) { a.held.Add(-int64(bytes)) }

func (a *tickets) take() Ticket {
	a.held.Add(1)
	return Ticket{From: a, Bytes: 1}
}

// probe is a PID whose messages a test reads.
type probe struct {
	pid *actor.PID
	got chan any
}

func (p *probe) SendUserMessage(_ *actor.PID, m any) {
	_, m, _ = actor.UnwrapEnvelope(m)
	if _, ok := m.(*actor.DeadLetterResponse); !ok {
		p.got <- m
	}
}
func (p *probe) SendSystemMessage(*actor.PID, any) {}
func (p *probe) Stop(*actor.PID)                   {}

func newProbe(system *actor.ActorSystem) *probe {
	p := &probe{got: make(chan any, 100_000)}
	p.pid, _ = system.ProcessRegistry.Add(p, "probe"+system.ProcessRegistry.NextId())
	return p
}

// next returns the next answer.
func (p *probe) next(t testing.TB) any {
	t.Helper()
	select {
	case m := <-p.got:
		return m
	case <-time.After(10 * time.Second):
		t.Fatal("no answer within 10 s")
		return nil
	}
}

// rig is a broker over fakes.
type rig struct {
	*System
	t        testing.TB
	disk     *fakeDisk
	registry *fakeRegistry
	routes   atomic.Pointer[Routes]
	tickets  tickets
	probe    *probe
}

func quietLog() *slog.Logger { return slog.New(slog.DiscardHandler) }

// newRig returns a broker that has not been started, and its Deps.
func newRig(t testing.TB, topics ...Topic) (*rig, *Deps) {
	r := &rig{t: t, disk: newFakeDisk(), registry: newFakeRegistry(topics...)}
	system := NewActorSystem(quietLog())
	r.probe = newProbe(system)
	return r, &Deps{
		System: system, Describe: func() protocol.BrokerInfo { return protocol.BrokerInfo{Version: "test"} },
		Registry: r.registry, CloseRegistry: func() error { (&fakeGateway{r: r.registry}).note("close registry"); return nil },
		Logs: r.disk, Gateway: &fakeGateway{r: r.registry, system: system}, Source: "server.ini",
		Resolve: func(_ string, c protocol.TopicConfig) (Settings, error) {
			s := Settings{}
			if c.UnflushThreshold != nil {
				s.UnflushThreshold = *c.UnflushThreshold
			}
			if c.DeletePolicy != nil && *c.DeletePolicy == "wrong" {
				return s, errors.New("delete_policy is wrong: write delete,168")
			}
			s.NoPublish = c.AcceptPublish != nil && !*c.AcceptPublish
			return s, nil
		},
		Publish: func(routes *Routes) { r.routes.Store(routes) },
		Logger:  quietLog(),
		Options: Options{AutoCreate: true, Partitions: 2, Retry: time.Millisecond, Linger: time.Millisecond},
	}
}

// bubble is synctest.Test for tests with actors. At the end, once the broker has
// stopped, it lets the library's timer for its log of dead letters run out, which
// else is a goroutine that is left over whenever the stop has made a dead letter.
func bubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { <-time.After(time.Hour) })
		test(t)
	})
}

// start starts the broker and stops it with the test.
func (r *rig) start(d *Deps) *rig {
	r.t.Helper()
	s, err := Start(r.t.Context(), *d)
	if err != nil {
		r.t.Fatal(err)
	}
	r.System = s
	r.t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			r.t.Errorf("stop: %v", err)
		}
		if held := r.tickets.held.Load(); held != 0 {
			r.t.Errorf("%d tickets were not given back", held)
		}
		r.disk.mu.Lock()
		defer r.disk.mu.Unlock()
		for name, l := range r.disk.logs {
			if l.isOpen() {
				r.t.Errorf("log %s is still open", name)
			}
		}
	})
	return r
}

func (r *rig) leader(topic string, n int) *actor.PID {
	r.t.Helper()
	route := r.routes.Load().Topics[topic]
	if route == nil {
		r.t.Fatalf("no route to %s", topic)
	}
	pid, ok := route.Leader(protocol.PartitionID{N: n})
	if !ok || pid == nil {
		r.t.Fatalf("no leader of %s 0-%d", topic, n)
	}
	return pid
}

func (r *rig) send(to *actor.PID, m any) {
	r.env.system.Root.RequestWithCustomSender(to, m, r.probe.pid)
}

// ask sends a request and returns its answer.
func (r *rig) ask(to *actor.PID, m any) any {
	r.t.Helper()
	r.send(to, m)
	return r.probe.next(r.t)
}

func (r *rig) admin(m any) any {
	r.t.Helper()
	return r.ask(r.env.system.NewLocalPID(TopicsActor), m)
}

// together is a message of puts that came one after the other. Nobody may say more than
// once for each that it was answered.
func together(all ...Put) *Puts {
	l := new(lent)
	l.users.Store(int64(len(all)))
	return &Puts{All: all, Memory: l}
}

func (r *rig) putTo(topic string, n int, value string) any {
	r.t.Helper()
	return r.ask(r.leader(topic, n), together(Put{Record: protocol.Record{Value: []byte(value)}, Ticket: r.tickets.take()}))
}

func (r *rig) get(topic string, n int, req protocol.GetRequest) any {
	r.t.Helper()
	return r.ask(r.leader(topic, n), &Get{Request: req, Ticket: r.tickets.take()})
}

// wait polls until the condition holds.
func (r *rig) wait(what string, condition func() bool) {
	r.t.Helper()
	waitFor(r.t, what, condition)
}

func waitFor(t testing.TB, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Second); !condition(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

// values decodes what a get returned.
func values(t testing.TB, answer any) []string {
	t.Helper()
	g, ok := answer.(*GetResult)
	if !ok {
		t.Fatalf("the get was answered with %T: %v", answer, answer)
	}
	defer g.Release()
	var out []string
	for b := g.Batches; len(b) > 0; {
		h, err := protocol.CheckBatch(b, 0)
		if err != nil {
			t.Fatal(err)
		}
		for rec, err := range protocol.DecodeRecords(&h, b) {
			if err != nil {
				t.Fatal(err)
			}
			if rec.Offset >= g.From {
				out = append(out, string(rec.Value))
			}
		}
		b = b[h.Length:]
	}
	return out
}

func offsetOf(t testing.TB, answer any) protocol.Offset {
	t.Helper()
	ack, ok := answer.(protocol.PubAck)
	if !ok {
		t.Fatalf("the put was answered with %T: %v", answer, answer)
	}
	return ack.Offset
}

func requireError(t testing.TB, answer any, want error) {
	t.Helper()
	_ = refusal(t, answer, want)
}

// refusal returns the error that a request was refused with.
func refusal(t testing.TB, answer any, want error) *protocol.Error {
	t.Helper()
	err, ok := answer.(error)
	if !ok || !errors.Is(err, want) {
		t.Fatalf("answered with %T %v, want %v", answer, answer, want)
	}
	return protocol.AsError(err)
}

func ptr[T any](v T) *T { return &v }
