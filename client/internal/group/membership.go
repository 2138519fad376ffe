package group

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"metaq/client/internal/link"
	"metaq/protocol"
)

// Callbacks are what a source calls.
type Callbacks struct {
	// changed is called with each new view, in order; it must not block.
	Changed func(protocol.GroupView)
	// lost is called when what was assigned is not any more: the session may be
	// over. It returns when all work on the partitions has ended.
	Lost func(ctx context.Context)
}

// Membership keeps a consumer a member of its group: it joins, beats, and joins
// again under a new name when the group has put it out.
type Membership struct {
	c     *link.Caller
	log   *slog.Logger
	group string
	join  protocol.GroupJoin // without Member
	Callbacks
	kick chan struct{} // has a token when a beat has something to say

	mu       sync.Mutex // guards what follows
	view     protocol.GroupView
	released map[protocol.TopicPartition]bool
	deadline time.Time     // until then the session lasts, as far as is known
	news     chan struct{} // closed and replaced with each answer
}

// NewMembership returns a membership that has not joined yet: Enter does, then Run keeps it.
func NewMembership(c *link.Caller, log *slog.Logger, group string, join protocol.GroupJoin, cb Callbacks) *Membership {
	return &Membership{
		c: c, log: log, group: group, join: join, Callbacks: cb, kick: make(chan struct{}, 1),
		released: map[protocol.TopicPartition]bool{}, news: make(chan struct{}),
	}
}

// Session returns how long the group waits for a heartbeat.
func (m *Membership) Session() time.Duration {
	return time.Duration(m.join.SessionMs) * time.Millisecond
}

// Enter joins the group, again while that may help and ctx lasts.
func (m *Membership) Enter(ctx context.Context) error {
	r := m.join
	r.Member = rand.Text() // not of the sequence that the inboxes come from, since group info shows it
	for attempt := 0; ; attempt++ {
		sent := time.Now()
		var view protocol.GroupView
		err := m.c.Group(ctx, m.group, protocol.GroupVerbJoin, r, &view)
		if err == nil {
			view, err = m.whole(ctx, view)
		}
		if err == nil {
			m.take(view, sent) // one that came too late is asked for again by the first beat
			return nil
		}
		if !link.Retriable(err) {
			return err
		}
		if link.Pause(ctx, link.Backoff(attempt)) != nil {
			return fmt.Errorf("%w: %w", err, ctx.Err())
		}
	}
}

// take remembers an answer to a request that was sent at that time. It reports whether the
// session is still alive: after a pause of the process, others may have what the answer gives.
func (m *Membership) take(view protocol.GroupView, sent time.Time) bool {
	m.mu.Lock()
	if view.Member == m.view.Member && view.Revision < m.knownLocked() {
		m.mu.Unlock()
		return true // it was overtaken
	}
	m.view, m.deadline = view, sent.Add(m.Session())
	if !m.inSessionLocked() {
		m.mu.Unlock()
		return false
	}
	for p := range m.released {
		if !containsPartition(view.Release, p) {
			delete(m.released, p)
		}
	}
	close(m.news)
	m.news = make(chan struct{})
	m.mu.Unlock()
	m.Changed(view)
	return true
}

// afresh is the revision of a beat that is answered at once, with the view as it is.
const afresh = 0

// knownLocked is the revision of the view that the member goes by: none once the session
// is over.
func (m *Membership) knownLocked() int64 {
	if !m.inSessionLocked() {
		return afresh
	}
	return m.view.Revision
}

func containsPartition(list []protocol.TopicPartition, p protocol.TopicPartition) bool {
	for _, q := range list {
		if p == q {
			return true
		}
	}
	return false
}

// Run beats until ctx ends, or returns why the group cannot be entered again.
func (m *Membership) Run(ctx context.Context) error {
	for {
		err := m.beat(ctx)
		if ctx.Err() != nil {
			return nil
		}
		m.Lost(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if err := m.Enter(ctx); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
	}
}

// beat keeps the membership until it is lost or ctx ends. It returns an error when the group
// must not be entered again.
func (m *Membership) beat(ctx context.Context) error {
	failures, stopped := 0, false
	for ctx.Err() == nil {
		sent := time.Now()
		view, err := m.beatOnce(ctx)
		if err == nil && !m.take(view, sent) {
			err = errOverslept
		}
		switch {
		case err == nil:
			failures, stopped = 0, false
		case errors.Is(err, protocol.ErrNoMember):
			m.log.Warn("group membership lost", "group", m.group, "expired", !m.InSession(), "err", err)
			return nil
		case errors.Is(err, protocol.ErrInstance):
			return err
		case errors.Is(err, errKicked):
		default:
			failures++
			if !stopped && !m.InSession() {
				// Others may have the partitions by now.
				m.log.Warn("group session expired: no heartbeat was answered in time", "group", m.group, "err", err)
				m.Lost(ctx)
				stopped = true
			}
			_ = link.Pause(ctx, min(link.Backoff(failures-1), m.Session()/4)) // its end is seen above
		}
	}
	return nil
}

var (
	errKicked    = errors.New("a partition was released")
	errOverslept = errors.New("an answer arrived after the session had expired; was the process suspended?")
)

// beatOnce makes one heartbeat, which waits at the coordinator for news.
func (m *Membership) beatOnce(ctx context.Context) (view protocol.GroupView, err error) {
	select {
	case <-m.kick:
	default:
	}
	m.mu.Lock()
	r := protocol.GroupHeartbeat{
		Member: m.view.Member, Instance: m.join.Instance, Generation: m.view.Generation,
		Revision: m.knownLocked(), WaitMs: m.join.SessionMs / 3,
	}
	for p := range m.released {
		if len(r.Released) == mostPlaces {
			break // the next beat, which follows the news that these count, says the others
		}
		r.Released = append(r.Released, p)
	}
	m.mu.Unlock()
	// An answer that does not come must not cost the session.
	bounded, stop := context.WithTimeout(ctx, m.Session()*2/3)
	defer stop()
	cut, cancel := context.WithCancelCause(bounded)
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-m.kick:
			cancel(errKicked)
		case <-cut.Done():
		}
	}()
	err = m.c.Group(cut, m.group, protocol.GroupVerbHeartbeat, r, &view)
	if err == nil {
		view, err = m.whole(cut, view)
	}
	kicked := errors.Is(context.Cause(cut), errKicked)
	cancel(nil)
	<-done
	if err != nil && kicked {
		err = errKicked
	}
	return view, err
}

// InSession reports whether the session is alive, as far as this process knows.
func (m *Membership) InSession() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.inSessionLocked()
}

func (m *Membership) inSessionLocked() bool { return time.Now().Before(m.deadline) }

// Release tells the group that all work on a partition has ended.
func (m *Membership) Release(p protocol.TopicPartition) {
	m.mu.Lock()
	m.released[p] = true
	m.mu.Unlock()
	select {
	case m.kick <- struct{}{}:
	default:
	}
}

// owned keeps those positions that are still the member's, and says as who and in
// which generation to commit them.
func (m *Membership) owned(positions []protocol.GroupPosition) protocol.GroupCommit {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := protocol.GroupCommit{Member: m.view.Member, Instance: m.join.Instance, Generation: m.view.Generation}
	mine := map[protocol.TopicPartition]bool{}
	for i := range m.view.Assigned {
		mine[m.view.Assigned[i].At()] = true
	}
	for _, p := range m.view.Release {
		mine[p] = true
	}
	for _, p := range positions {
		if mine[p.At()] {
			r.Offsets = append(r.Offsets, p)
		}
	}
	return r
}

// Commit makes positions durable. One of an older generation waits for the next
// view and goes again, as far as the partitions are still the member's. It returns
// what was committed.
func (m *Membership) Commit(ctx context.Context, positions []protocol.GroupPosition) ([]protocol.GroupPosition, error) {
	for attempt := 0; ; attempt++ {
		m.mu.Lock()
		news := m.news
		m.mu.Unlock()
		r := m.owned(positions)
		if len(r.Offsets) == 0 {
			return nil, nil
		}
		err := m.commitAll(ctx, r)
		if err == nil {
			return r.Offsets, nil
		}
		const tries = 5
		if attempt == tries || !errors.Is(err, protocol.ErrFenced) && !link.Retriable(err) {
			return nil, err
		}
		wait, cancel := context.WithTimeout(ctx, link.BackoffMost)
		if errors.Is(err, protocol.ErrFenced) {
			select {
			case <-news:
			case <-wait.Done():
			}
		} else {
			_ = link.Pause(wait, link.Backoff(attempt)) // ctx is looked at below
		}
		cancel()
		if ctx.Err() != nil {
			return nil, err
		}
	}
}

// Leave ends the membership. A static member stays one for its session, in case it comes
// back, and gives back only what was to go to others anyhow.
func (m *Membership) Leave(ctx context.Context) error {
	m.mu.Lock()
	view := m.view
	m.mu.Unlock()
	var err error
	switch {
	case view.Member == "":
	case m.join.Instance == "":
		var done protocol.Done
		err = m.c.Group(ctx, m.group, protocol.GroupVerbLeave, protocol.GroupLeave{Member: view.Member}, &done)
	default:
		for heard := int64(0); err == nil && heard != view.Generation; { // of an older one a release does not count
			heard = view.Generation
			view, err = m.releaseAll(ctx, view)
		}
	}
	if errors.Is(err, protocol.ErrNoMember) || errors.Is(err, protocol.ErrInstance) {
		return nil
	}
	return err
}

// Name is that of the member, or "" before it has entered.
func (m *Membership) Name() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.view.Member
}
