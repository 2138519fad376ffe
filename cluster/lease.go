package cluster

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"metaq/cluster/registry"
	"metaq/protocol"
)

// LeaseOptions are those of the lease under which a broker coordinates groups.
type LeaseOptions struct {
	// Length is for how long the broker is coordinator without news of the registry, and how
	// long others wait before they take over. 0: no lease, others go by its registration.
	Length time.Duration
	// Alone is the length while no other broker is registered.
	Alone time.Duration
}

// AskLease asks another broker for a promise or a consent.
type AskLease func(ctx context.Context, broker int, ask protocol.LeaseAsk) (protocol.LeaseAnswer, error)

// leases is the shell of leaseCore: it writes this broker's lease record, reads those of the
// others, and asks and answers the others. It runs two goroutines until close: one that works
// with the registry and may hang with it, and one that asks for promises then.
type leases struct {
	log   *slog.Logger
	token string
	every time.Duration // between two writes
	end   context.CancelFunc
	all   sync.WaitGroup

	mu      sync.Mutex // guards what follows; nothing is waited for under it
	core    *leaseCore
	ask     AskLease
	told    bool      // the log says that the lease has run out
	sighted int       // the broker that said last that it sees the registry
	when    time.Time // it said so
}

func newLeases(o LeaseOptions, b Broker, log *slog.Logger) *leases {
	return &leases{
		log: log, token: b.Token, every: o.Length / 4, end: func() {},
		core: newLeaseCore(b.ID, rand.Text(), o.Length, o.Alone, time.Now()),
	}
}

// start writes the lease for the first time, if that can be done, and begins to keep it.
func (l *leases) start(ctx context.Context, now func() *Registration) {
	l.renew(ctx, now())
	ctx, l.end = context.WithCancel(context.WithoutCancel(ctx))
	l.all.Go(func() { l.loop(ctx, l.every, func() { l.renew(ctx, now()) }) })
	l.all.Go(func() { l.loop(ctx, l.every/2, func() { l.prolong(ctx) }) })
}

func (l *leases) close() {
	l.end()
	l.all.Wait()
}

func (l *leases) loop(ctx context.Context, every time.Duration, do func()) {
	for registry.Wait(ctx, every) {
		do()
	}
}

// renew writes the lease record and reads those of the others.
func (l *leases) renew(ctx context.Context, r *Registration) {
	err := registry.ErrUnavailable
	if r != nil {
		ctx, cancel := context.WithTimeout(ctx, 2*l.every)
		defer cancel()
		var voters map[int]string
		if voters, err = l.look(ctx, r); err == nil {
			err = l.write(ctx, r, voters)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil && !l.core.sees(time.Now()) {
		l.core.blind()
	}
	l.tellLocked(err)
}

// tellLocked says at each change in the log whether groups are coordinated here.
func (l *leases) tellLocked(err error) {
	over := !l.core.holds(time.Now(), l.core.term)
	switch {
	case over && !l.told:
		l.log.Warn("lease has run out, no group is coordinated here until the registry answers, or all other brokers say that it does not", "error", err)
	case !over && l.told:
		l.log.Info("lease is held again, groups are coordinated here")
	}
	l.told = over
}

// look reads the other brokers' leases and returns those of them that are registered, with
// their runs: blank for one that has no lease.
func (l *leases) look(ctx context.Context, r *Registration) (map[int]string, error) {
	registered, err := childrenOf(ctx, r.reg, r.paths.brokers())
	if err != nil {
		return nil, err
	}
	known, err := childrenOf(ctx, r.reg, registry.ParentOf(r.paths.lease(0)))
	if err != nil {
		return nil, err
	}
	voters := map[int]string{}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(slices.Concat(registered, known)))) {
		id, err := strconv.Atoi(name)
		if err != nil || id == r.self.ID {
			continue
		}
		record, _, err := l.read(ctx, r, id)
		if err != nil {
			return nil, err
		}
		if slices.Contains(registered, name) {
			voters[id] = record.Holder
		}
	}
	return voters, nil
}

// read reads another broker's lease and notes what it saw. A missing one is blank.
func (l *leases) read(ctx context.Context, r *Registration, broker int) (leaseRecord, found, error) {
	path := r.paths.lease(broker)
	n, err := readOne(ctx, r.reg, path)
	if err != nil || !n.ok {
		return leaseRecord{}, n, err
	}
	record, err := decode[leaseRecord](path, n.Node)
	if err == nil {
		l.mu.Lock()
		l.core.observe(time.Now(), broker, record, n.Version)
		l.mu.Unlock()
	}
	return record, n, err
}

// write writes the lease record.
func (l *leases) write(ctx context.Context, r *Registration, voters map[int]string) error {
	path := r.paths.lease(r.self.ID)
	l.mu.Lock()
	sure := l.core.sure
	l.mu.Unlock()
	if !sure {
		n, err := readOne(ctx, r.reg, path)
		if err != nil {
			return err
		}
		var record *leaseRecord
		if n.ok {
			got, err := decode[leaseRecord](path, n.Node)
			if err != nil {
				return err
			}
			record = &got
		}
		l.mu.Lock()
		may := l.core.found(record, n.Version, l.token)
		l.mu.Unlock()
		if !may {
			return l.inherit(ctx, r, *record, n.Version)
		}
	}
	l.mu.Lock()
	record := l.core.propose(time.Now(), l.token, voters)
	version, exists := l.core.version, l.core.exists
	l.mu.Unlock()
	// The revision of the broker's own node stays: this write hints nobody.
	op, next := registry.Create(path, encode(record), registry.Persistent), registry.Version(0)
	if exists {
		op, next = registry.Set(path, encode(record), version), version+1
	}
	sent := time.Now()
	err := r.reg.Multi(ctx, r.fence, op)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.core.unsure()
		return err
	}
	l.core.confirmed(sent, record, next)
	return nil
}

// inherit ends the lease of another run with the same broker id, of another data directory:
// it may live.
func (l *leases) inherit(ctx context.Context, r *Registration, record leaseRecord, version registry.Version) error {
	l.mu.Lock()
	l.core.observe(time.Now(), r.self.ID, record, version)
	l.mu.Unlock()
	if !l.mayEnd(ctx, r.self.ID, record, version) {
		return fmt.Errorf("%w: another run of broker %d has the lease still", registry.ErrUnavailable, r.self.ID)
	}
	return r.reg.Multi(ctx, r.fence, registry.Set(r.paths.lease(r.self.ID), encode(leaseRecord{}), version))
}

// release gives the lease back: groups are not coordinated here any more.
func (l *leases) release(ctx context.Context, r *Registration) error {
	l.close()
	l.mu.Lock()
	l.core.depose()
	version, sure := l.core.version, l.core.sure
	l.mu.Unlock()
	if !sure {
		return nil // it runs out
	}
	return r.reg.Multi(ctx, r.fence, registry.Set(r.paths.lease(r.self.ID), encode(leaseRecord{}), version))
}

// take returns what a claim of something that a broker has must carry: the end of the
// broker's lease, where it has one that may be ended. It returns false where the broker has
// to be believed.
func (l *leases) take(ctx context.Context, r *Registration, broker int) ([]registry.Op, bool, error) {
	record, n, err := l.read(ctx, r, broker)
	if err != nil {
		return nil, false, err
	}
	path := r.paths.lease(broker)
	switch {
	case !n.ok: // of a release without leases
		alive, err := readOne(ctx, r.reg, r.paths.broker(broker))
		return nil, err == nil && !alive.ok, err
	case record.Holder == "":
		return []registry.Op{registry.Check(path, n.Version)}, true, nil
	case !l.mayEnd(ctx, broker, record, n.Version):
		return nil, false, nil
	default:
		return []registry.Op{registry.Set(path, encode(leaseRecord{}), n.Version)}, true, nil
	}
}

// mayEnd reports whether a lease may be ended: it has lapsed, and somebody agrees without
// whom it cannot have been prolonged.
func (l *leases) mayEnd(ctx context.Context, broker int, record leaseRecord, version registry.Version) bool {
	l.mu.Lock()
	now, ask := time.Now(), l.ask
	lapsed := l.core.lapsed(now, broker, record, version)
	agreed, voters := false, map[int]string(nil)
	if lapsed {
		agreed, voters = l.core.agreed(now, broker, record, version)
	}
	l.mu.Unlock()
	if !lapsed || agreed {
		return agreed
	}
	return ask != nil && l.askAll(ctx, voters, protocol.LeaseAsk{Broker: broker, Version: int32(version)}) > 0
}

// askAll asks brokers at the same time and returns how many grant it.
func (l *leases) askAll(ctx context.Context, whom map[int]string, ask protocol.LeaseAsk) int {
	l.mu.Lock()
	send := l.ask
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, l.every)
	defer cancel()
	granted := make(chan bool, len(whom))
	for id, run := range whom {
		ask.Run = run
		go func(ask protocol.LeaseAsk) {
			a, err := send(ctx, id, ask)
			if err == nil && a.Sees {
				l.mu.Lock()
				l.sighted, l.when = id, time.Now()
				l.mu.Unlock()
			}
			granted <- err == nil && a.Granted
		}(ask)
	}
	n := 0
	for range whom {
		if <-granted {
			n++
		}
	}
	return n
}

// mayClaim reports whether groups may be claimed at this moment.
func (l *leases) mayClaim() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.core.mayClaim(time.Now())
}

// prolong asks for promises while the registry does not answer.
func (l *leases) prolong(ctx context.Context) {
	l.mu.Lock()
	sent := time.Now()
	whom, term, ask := l.core.wanted(sent), l.core.term, l.ask
	version, d := l.core.version, l.core.promise()
	l.mu.Unlock()
	if len(whom) == 0 || ask == nil {
		return
	}
	want := protocol.LeaseAsk{Broker: l.core.self, Version: int32(version), PromiseMs: d.Milliseconds()}
	if l.askAll(ctx, whom, want) < len(whom) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.core.prolonged(sent, whom, term)
	l.tellLocked(nil)
}

// answer decides about another broker's question.
func (l *leases) answer(ask protocol.LeaseAsk) protocol.LeaseAnswer {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, a := time.Now(), protocol.LeaseAnswer{}
	a.Sees = l.core.sees(now)
	switch d := time.Duration(ask.PromiseMs) * time.Millisecond; {
	case ask.PromiseMs == 0:
		a.Granted = l.core.consent(now, ask.Broker, registry.Version(ask.Version))
	case ask.Run == l.core.run && d > 0:
		a.Granted = l.core.promiseTo(now, ask.Broker, registry.Version(ask.Version), d)
	}
	return a
}

// Term is that of claims made from now on; see Holds.
func (m *Member) Term() uint64 {
	if m.leases == nil {
		return 0
	}
	m.leases.mu.Lock()
	defer m.leases.mu.Unlock()
	return m.leases.core.term
}

// Holds reports whether groups that were claimed in a term are certainly still coordinated
// here. In a term that is over another broker could have claimed them: claim again. In the
// present one false means that the registry has not answered for too long: nobody knows.
func (m *Member) Holds(term uint64) bool {
	if m.leases == nil {
		return true
	}
	m.leases.mu.Lock()
	defer m.leases.mu.Unlock()
	return m.leases.core.holds(time.Now(), term)
}

// Sighted returns a broker that said a little while ago that it sees the registry.
func (m *Member) Sighted() (int, bool) {
	if m.leases == nil {
		return 0, false
	}
	m.leases.mu.Lock()
	defer m.leases.mu.Unlock()
	return m.leases.sighted, !m.leases.when.IsZero() && time.Since(m.leases.when) < 2*m.leases.every
}

// AskPeers says how to ask the other brokers. Without it no lease is prolonged but by the
// registry.
func (m *Member) AskPeers(ask AskLease) {
	if m.leases == nil {
		return
	}
	m.leases.mu.Lock()
	defer m.leases.mu.Unlock()
	m.leases.ask = ask
}

// AnswerLease answers another broker's question.
func (m *Member) AnswerLease(ask protocol.LeaseAsk) protocol.LeaseAnswer {
	if m.leases == nil {
		return protocol.LeaseAnswer{}
	}
	return m.leases.answer(ask)
}
