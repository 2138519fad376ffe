package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"time"

	"metaq/cluster/registry"
	"metaq/protocol"
)

// Defaults of MemberOptions.
const (
	DefaultAudit = 45 * time.Second
	DefaultRetry = time.Second
)

// MemberOptions says who joins what.
type MemberOptions struct {
	Open    registry.Opener
	Root    string   // zk.zkRoot; empty means DefaultRoot
	Broker  Broker   // what to announce; Token must be durable
	Witness *Witness // may be nil

	// Audit is the mean time between two readings of everything that no hint asked for;
	// each is moved by up to a third at random. 0 means DefaultAudit.
	Audit time.Duration
	// Retry is the pause after a failed attempt to reach the registry. 0 means DefaultRetry.
	Retry time.Duration

	Lease LeaseOptions

	Events MemberEvents
	Log    *slog.Logger // nil discards
}

// MemberEvents are called from the Member's goroutine, in order, and must not block:
// hand the news to somebody else. Nil ones are skipped.
type MemberEvents struct {
	// Changed delivers the cluster whenever it differs from the last delivery.
	Changed func(Snapshot)
	// Lost says that a session ended; the broker goes on serving, and the Member goes on
	// trying to register anew.
	Lost func(err error)
	// Rejoined says that the broker is registered again, as a new incarnation, with its
	// advertised topics. Epochs that were claimed are still recorded.
	Rejoined func()
	// Readable says, at each change, whether the registry can be read: false means that the
	// broker goes on serving, and that changes of membership wait. It begins as true.
	Readable func(bool)
	// Failed says that the Member cannot go on: another process has taken the broker id.
	Failed func(err error)
}

// Member keeps one broker registered: it opens a session, registers, watches, and when
// the session is lost does so again with a new one, until Close. Its methods work on
// the incarnation of the moment; between two they wait for the next one, as long as
// their context allows.
//
// It runs one goroutine.
type Member struct {
	o      MemberOptions
	leases *leases // nil without LeaseOptions
	cancel context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex // guards what follows
	now     *Registration
	changed chan struct{} // closed and replaced when now or failed changes
	failed  error         // why there will be no other incarnation
	// unread is when a reading of the registry failed, or the session was lost, and none
	// has succeeded since; zero: the last one did.
	unread time.Time

	told map[string]string // records that cannot be read, and why; of the goroutine
}

// Join registers the broker and returns when that is done; ctx bounds it. The first
// Changed follows. A *TakenError names another process with the same broker id.
func Join(ctx context.Context, o MemberOptions) (*Member, error) {
	if o.Audit == 0 {
		o.Audit = DefaultAudit
	}
	if o.Retry == 0 {
		o.Retry = DefaultRetry
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	m := &Member{o: o, done: make(chan struct{}), changed: make(chan struct{})}
	if o.Lease.Length > 0 {
		m.leases = newLeases(o.Lease, o.Broker, o.Log)
	}
	r, err := m.register(ctx)
	if err != nil {
		return nil, fmt.Errorf("join the cluster: %w", err)
	}
	m.now = r
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	m.cancel = cancel
	if m.leases != nil {
		m.leases.start(ctx, m.current)
	}
	go m.run(run, r)
	return m, nil
}

// register opens a session and registers in it.
func (m *Member) register(ctx context.Context) (*Registration, error) {
	reg, err := m.o.Open(ctx)
	if err != nil {
		return nil, err
	}
	c, err := NewCatalog(reg, m.o.Root)
	if err == nil {
		var r *Registration
		if r, err = c.Register(ctx, m.o.Broker, m.o.Witness); err == nil {
			r.leases = m.leases
			return r, nil
		}
	}
	return nil, errors.Join(err, reg.Close())
}

// run is the goroutine.
func (m *Member) run(ctx context.Context, r *Registration) {
	defer close(m.done)
	last := Snapshot{}
	for {
		m.follow(ctx, r, &last)
		lost := r.reg.Err()
		m.become(nil, nil)
		if err := r.reg.Close(); err != nil {
			m.o.Log.Warn("registry session not closed cleanly", "error", err)
		}
		if ctx.Err() != nil {
			return
		}
		m.o.Log.Warn("registry session lost, registering anew", "broker", m.o.Broker.ID, "error", lost)
		call(m.o.Events.Lost, lost)
		next, err := m.rejoin(ctx, r)
		if err != nil {
			if ctx.Err() == nil {
				m.o.Log.Error("cannot register again", "broker", m.o.Broker.ID, "error", err)
				m.become(nil, err)
				call(m.o.Events.Failed, err)
			}
			return
		}
		r = next
		m.become(r, nil)
		m.o.Log.Info("registered again", "broker", m.o.Broker.ID, "server", r.reg.Status().Server)
		if m.o.Events.Rejoined != nil {
			m.o.Events.Rejoined()
		}
	}
}

func call[T any](f func(T), v T) {
	if f != nil {
		f(v)
	}
}

// rejoin tries until it is registered, ctx ends, or another process has the broker id.
func (m *Member) rejoin(ctx context.Context, old *Registration) (*Registration, error) {
	// Claims of groups are checked by the version of their record, so they outlive a
	// session. The turn is kept: the dead session's last write is over, and none follows.
	select {
	case <-old.turn:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	claimed := old.groups
	for {
		r, err := m.register(ctx)
		if err == nil {
			r.groups = claimed
			if err = r.republish(ctx, old.published); err == nil {
				return r, nil
			}
			err = errors.Join(err, r.reg.Close())
		}
		if errors.Is(err, ErrBrokerIDTaken) || ctx.Err() != nil {
			return nil, err
		}
		m.o.Log.Warn("registry not reached, trying again", "error", err, "pause", m.o.Retry)
		if !registry.Wait(ctx, m.o.Retry) {
			return nil, ctx.Err()
		}
	}
}

// follow reads and delivers until the session or ctx ends.
func (m *Member) follow(ctx context.Context, r *Registration, last *Snapshot) {
	hint := make(chan struct{}, 1)
	readable := true
	for {
		s, err := m.read(ctx, r, hint)
		pause := m.o.Audit*2/3 + rand.N(m.o.Audit*2/3+1)
		switch {
		case err == nil:
			if !readable {
				m.o.Log.Info("registry can be read again", "server", r.reg.Status().Server)
			}
			if !reflect.DeepEqual(s, *last) {
				*last = s
				call(m.o.Events.Changed, s)
			}
		case ctx.Err() != nil || r.reg.Err() != nil:
			return
		default:
			if readable {
				m.o.Log.Warn("registry cannot be read, changes of membership wait", "error", err)
			}
			pause = m.o.Retry
		}
		if readable != (err == nil) {
			readable = err == nil
			m.answered(readable)
			call(m.o.Events.Readable, readable)
		}
		t := time.NewTimer(pause)
		select {
		case <-hint:
		case <-t.C:
		case <-r.reg.Done():
		case <-ctx.Done():
		}
		t.Stop()
		if r.reg.Err() != nil || ctx.Err() != nil {
			return
		}
	}
}

// read arms the watches, reads everything, and lets the witness see it.
func (m *Member) read(ctx context.Context, r *Registration, hint chan<- struct{}) (Snapshot, error) {
	if err := r.watch(ctx, hint); err != nil {
		return Snapshot{}, err
	}
	seen := m.o.Witness.Seen()
	s, err := r.Snapshot(ctx)
	if err != nil {
		return Snapshot{}, fmt.Errorf("read cluster: %w", err)
	}
	for _, t := range s.Topics {
		if slices.ContainsFunc(s.Unreadable, func(u Unreadable) bool { return u.Topic == t.Name }) {
			continue // what is left out is not behind
		}
		s.Regressions = append(s.Regressions, seen.Regressions(t.Name, t.Claimed)...)
	}
	if len(s.Regressions) > 0 {
		m.o.Log.Warn("registry is behind what was seen before", "partitions", len(s.Regressions), "first", s.Regressions[0])
	}
	m.tellUnreadable(s.Unreadable)
	if err := m.o.Witness.Raise(s.epochs()); err != nil {
		return Snapshot{}, err
	}
	return s, nil
}

// tellUnreadable logs once what is left out, and when it can be read again.
func (m *Member) tellUnreadable(bad []Unreadable) {
	now := make(map[string]string, len(bad))
	for _, u := range bad {
		if now[u.Path] = u.Why; m.told[u.Path] != u.Why {
			m.o.Log.Error("registry has a record that cannot be read, it is left out: correct or delete it", "path", u.Path, "error", u.Why)
		}
	}
	for path := range m.told {
		if now[path] == "" {
			m.o.Log.Info("registry's record can be read again, or is deleted", "path", path)
		}
	}
	m.told = now
}

// awayGrace is how long a connection may be lost before the registry counts as away: a
// client moves to another server of the ensemble in less.
const awayGrace = time.Second

// Away returns nil while the registry can be expected to answer, and otherwise an error
// that wraps ErrUnavailable: a reading of it failed, no server has been connected for
// longer than it takes to find another one, or the broker is not registered. It never
// blocks. A request that would only wait for its deadline is refused with it.
func (m *Member) Away() error {
	m.mu.Lock()
	r, unread := m.now, m.unread
	m.mu.Unlock()
	since := unread
	if r != nil && unread.IsZero() {
		since = r.reg.Status().Lost
	}
	if since.IsZero() || unread.IsZero() && time.Since(since) < awayGrace {
		return nil
	}
	if r == nil && time.Since(since) < awayGrace {
		return nil // a session was lost just now, and the next one may be there soon
	}
	return fmt.Errorf("%w: it has not answered for %s", registry.ErrUnavailable, time.Since(since).Round(time.Second))
}

// answered notes whether the registry could be read.
func (m *Member) answered(readable bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case readable:
		m.unread = time.Time{}
	case m.unread.IsZero():
		m.unread = time.Now()
	}
}

// become changes the incarnation of the moment and wakes who waits for one.
func (m *Member) become(r *Registration, failed error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.now, m.failed = r, failed; r != nil {
		m.unread = time.Time{}
	} else if m.unread.IsZero() {
		m.unread = time.Now()
	}
	close(m.changed)
	m.changed = make(chan struct{})
}

// With runs do on the incarnation of the moment, waiting for one as long as ctx allows.
// When the session is lost in the middle, and it is certain that nothing was done, do is
// run again on the next one.
func (m *Member) With(ctx context.Context, do func(*Registration) error) error {
	for {
		m.mu.Lock()
		r, changed, failed := m.now, m.changed, m.failed
		m.mu.Unlock()
		if failed != nil {
			return failed
		}
		if r != nil {
			err := do(r)
			if !errors.Is(err, registry.ErrSessionLost) || errors.Is(err, registry.ErrUnknownOutcome) {
				return err
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%w: between two sessions: %w", registry.ErrUnavailable, context.Cause(ctx))
		case <-m.done:
			return registry.ErrClosed
		}
	}
}

// CreateTopic is Registration.CreateTopic, as are the others below.
func (m *Member) CreateTopic(ctx context.Context, t Topic) error {
	return m.With(ctx, func(r *Registration) error { return r.CreateTopic(ctx, t) })
}

// MakeTopic is CreateTopic and returns the topic with its Born.
func (m *Member) MakeTopic(ctx context.Context, t Topic) (made Topic, err error) {
	err = m.With(ctx, func(r *Registration) (err error) { made, err = r.MakeTopic(ctx, t); return err })
	return made, err
}

// SetTopic replaces a topic's record.
func (m *Member) SetTopic(ctx context.Context, t Topic) error {
	return m.With(ctx, func(r *Registration) error { return r.SetTopic(ctx, t) })
}

// DeleteTopicBorn removes the topic of a name that has this Born.
func (m *Member) DeleteTopicBorn(ctx context.Context, name string, born protocol.Epoch) error {
	return m.With(ctx, func(r *Registration) error { return r.DeleteTopicBorn(ctx, name, born) })
}

// Topics reads all topics, sorted by name.
func (m *Member) Topics(ctx context.Context) (topics []Topic, err error) {
	err = m.With(ctx, func(r *Registration) (err error) { topics, err = r.Topics(ctx); return err })
	return topics, err
}

// ReadTopics is Topics and returns the records as well that cannot be read.
func (m *Member) ReadTopics(ctx context.Context) (topics []Topic, bad []Unreadable, err error) {
	err = m.With(ctx, func(r *Registration) (err error) { topics, bad, err = r.ReadTopics(ctx); return err })
	return topics, bad, err
}

// ClaimEpochs takes the leadership of a topic's partitions on this broker.
func (m *Member) ClaimEpochs(ctx context.Context, topic string, floor []protocol.Epoch) (epochs []protocol.Epoch, err error) {
	err = m.With(ctx, func(r *Registration) (err error) { epochs, err = r.ClaimEpochs(ctx, topic, floor); return err })
	return epochs, err
}

// ClaimAll is ClaimEpochs for many topics.
func (m *Member) ClaimAll(ctx context.Context, floors map[string][]protocol.Epoch) (epochs map[string][]protocol.Epoch, err error) {
	err = m.With(ctx, func(r *Registration) (err error) { epochs, err = r.ClaimAll(ctx, floors); return err })
	return epochs, err
}

// ClaimGroup makes this broker the coordinator of a group.
func (m *Member) ClaimGroup(ctx context.Context, group string) (epoch protocol.Epoch, err error) {
	err = m.With(ctx, func(r *Registration) (err error) { epoch, err = r.ClaimGroup(ctx, group); return err })
	return epoch, err
}

// HoldGroups finds the groups that this broker id still coordinates.
func (m *Member) HoldGroups(ctx context.Context, epochs map[string]protocol.Epoch) (held []string, err error) {
	err = m.With(ctx, func(r *Registration) error { held, err = r.HoldGroups(ctx, epochs); return err })
	return held, err
}

// DeleteGroup deletes a group's mirrored offsets and notes that the group was deleted.
func (m *Member) DeleteGroup(ctx context.Context, group string) (epoch protocol.Epoch, err error) {
	err = m.With(ctx, func(r *Registration) (err error) { epoch, err = r.DeleteGroup(ctx, group); return err })
	return epoch, err
}

// MirrorOffsets writes offsets where MetaQ keeps them.
func (m *Member) MirrorOffsets(ctx context.Context, marks []OffsetMark) error {
	return m.With(ctx, func(r *Registration) error { return r.MirrorOffsets(ctx, marks) })
}

// Advertise makes these the topics that MetaQ's tools see here, in this incarnation and
// in later ones.
func (m *Member) Advertise(ctx context.Context, ads []TopicAd) error {
	return m.With(ctx, func(r *Registration) error { return r.Advertise(ctx, ads) })
}

// AdvertiseGroup shows a group's members and owners to MetaQ's tools, in this incarnation
// and in later ones.
func (m *Member) AdvertiseGroup(ctx context.Context, group string, ad GroupAd) error {
	return m.With(ctx, func(r *Registration) error { return r.AdvertiseGroup(ctx, group, ad) })
}

// Status tells how the connection is; not connected between two sessions.
func (m *Member) Status() registry.Status {
	m.mu.Lock()
	r := m.now
	m.mu.Unlock()
	if r == nil {
		return registry.Status{}
	}
	return r.reg.Status()
}

// Leave takes the registration back, as long as ctx allows, and closes. After an error
// the registration goes with its session.
func (m *Member) Leave(ctx context.Context) error {
	r := m.current()
	var err error
	if r != nil {
		if m.leases != nil {
			if err := m.leases.release(ctx, r); err != nil {
				m.o.Log.Warn("lease not given back, it runs out", "error", err)
			}
		}
		err = r.Leave(ctx)
	}
	return errors.Join(err, m.Close())
}

// current is the incarnation of the moment, or nil.
func (m *Member) current() *Registration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// Close ends the session and the goroutine, and waits for both. It may be called twice.
func (m *Member) Close() error {
	m.cancel()
	<-m.done
	if m.leases != nil {
		m.leases.close()
	}
	return nil
}
