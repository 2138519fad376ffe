package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"metaq/protocol"
)

// membership keeps a consumer a member of its group: it joins, beats, and joins
// again under a new name when the group has put it out.
type membership struct {
	c     *Client
	group string
	join  protocol.GroupJoin // without Member
	callbacks
	kick chan struct{} // has a token when a beat has something to say

	mu       sync.Mutex // guards what follows
	view     protocol.GroupView
	released map[protocol.TopicPartition]bool
	deadline time.Time     // until then the session lasts, as far as is known
	news     chan struct{} // closed and replaced with each answer
}

func newMembership(c *Client, group string, join protocol.GroupJoin, cb callbacks) *membership {
	return &membership{
		c: c, group: group, join: join, callbacks: cb, kick: make(chan struct{}, 1),
		released: map[protocol.TopicPartition]bool{}, news: make(chan struct{}),
	}
}

func (m *membership) session() time.Duration {
	return time.Duration(m.join.SessionMs) * time.Millisecond
}

// enter joins the group, again while that may help and ctx lasts.
func (m *membership) enter(ctx context.Context) error {
	r := m.join
	r.Member = rand.Text() // not of the sequence that the inboxes come from, since group info shows it
	for attempt := 0; ; attempt++ {
		sent := time.Now()
		var view protocol.GroupView
		err := m.c.callGroup(ctx, m.group, protocol.GroupVerbJoin, r, &view)
		if err == nil {
			view, err = m.whole(ctx, view)
		}
		if err == nil {
			m.take(view, sent) // one that came too late is asked for again by the first beat
			return nil
		}
		if !retriable(err) {
			return err
		}
		if pause(ctx, backoff(attempt)) != nil {
			return fmt.Errorf("%w: %w", err, ctx.Err())
		}
	}
}

// take remembers an answer to a request that was sent at that time. It says whether the
// session still lasts: after a pause of the process, others may have what the answer gives.
func (m *membership) take(view protocol.GroupView, sent time.Time) bool {
	m.mu.Lock()
	if view.Member == m.view.Member && view.Revision < m.knownLocked() {
		m.mu.Unlock()
		return true // it was overtaken
	}
	m.view, m.deadline = view, sent.Add(m.session())
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
	m.changed(view)
	return true
}

// afresh is the revision of a beat that is answered at once, with the view as it is.
const afresh = 0

// knownLocked is the revision of the view that the member goes by: none once the session
// is over.
func (m *membership) knownLocked() int64 {
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

// run beats until ctx ends, or returns why the group cannot be entered again.
func (m *membership) run(ctx context.Context) error {
	for {
		err := m.beat(ctx)
		if ctx.Err() != nil {
			return nil
		}
		m.lost(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if err := m.enter(ctx); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
	}
}

// beat keeps the membership until it is lost or ctx ends. It returns an error when the group
// must not be entered again.
func (m *membership) beat(ctx context.Context) error {
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
			m.c.log.Warn("group membership lost", "group", m.group, "err", err)
			return nil
		case errors.Is(err, protocol.ErrInstance):
			return err
		case errors.Is(err, errKicked):
		default:
			failures++
			if !stopped && !m.inSession() {
				// Others may have the partitions by now.
				m.c.log.Warn("group session is over, as far as is known", "group", m.group, "err", err)
				m.lost(ctx)
				stopped = true
			}
			_ = pause(ctx, min(backoff(failures-1), m.session()/4)) // its end is seen above
		}
	}
	return nil
}

var (
	errKicked    = errors.New("there is something new to say")
	errOverslept = errors.New("an answer was read after the session's end: the process did not run")
)

// beatOnce makes one heartbeat, which waits at the coordinator for news.
func (m *membership) beatOnce(ctx context.Context) (view protocol.GroupView, err error) {
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
	bounded, stop := context.WithTimeout(ctx, m.session()*2/3)
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
	err = m.c.callGroup(cut, m.group, protocol.GroupVerbHeartbeat, r, &view)
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

// inSession says whether the session lasts, as far as is known.
func (m *membership) inSession() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.inSessionLocked()
}

func (m *membership) inSessionLocked() bool { return time.Now().Before(m.deadline) }

// release tells the group that all work on a partition has ended.
func (m *membership) release(p protocol.TopicPartition) {
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
func (m *membership) owned(positions []protocol.GroupPosition) protocol.GroupCommit {
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

// commit makes positions durable. One of an older generation waits for the next
// view and goes again, as far as the partitions are still the member's. It returns
// what was committed.
func (m *membership) commit(ctx context.Context, positions []protocol.GroupPosition) ([]protocol.GroupPosition, error) {
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
		if attempt == tries || !errors.Is(err, protocol.ErrFenced) && !retriable(err) {
			return nil, err
		}
		wait, cancel := context.WithTimeout(ctx, backoffMost)
		if errors.Is(err, protocol.ErrFenced) {
			select {
			case <-news:
			case <-wait.Done():
			}
		} else {
			_ = pause(wait, backoff(attempt)) // ctx is looked at below
		}
		cancel()
		if ctx.Err() != nil {
			return nil, err
		}
	}
}

// leave ends the membership. A static member stays one for its session, in case it comes
// back, and gives back only what was to go to others anyhow.
func (m *membership) leave(ctx context.Context) error {
	m.mu.Lock()
	view := m.view
	m.mu.Unlock()
	var err error
	switch {
	case view.Member == "":
	case m.join.Instance == "":
		var done protocol.Done
		err = m.c.callGroup(ctx, m.group, protocol.GroupVerbLeave, protocol.GroupLeave{Member: view.Member}, &done)
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

// name is that of the member, or "" before it has entered.
func (m *membership) name() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.view.Member
}
