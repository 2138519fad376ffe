package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"metaq/client/internal/group"
	"metaq/client/internal/link"
	"metaq/protocol"
)

// Consumer is a member of a group: it processes the partitions that the group
// assigns to it. It is an actor with one child for each partition. Its methods may
// be called from any goroutine.
//
// Every record is processed at least once: a record counts as processed when its
// handler has returned nil, and only then a commit goes past it. After a crash, or
// when a session was lost, records since the last commit come again.
type Consumer struct {
	c      *Client
	group  string
	o      consumerOptions
	log    *slog.Logger
	system *actor.ActorSystem
	pid    *actor.PID
	m      source
	dlq    *deadLetters
	files  ConsumerStore // nil unless it keeps anything
	kept   *keeper       // nil unless failing records are kept

	ctx    context.Context // of the handlers and of beating
	cancel context.CancelFunc
	work   sync.WaitGroup // the membership and commits

	once sync.Once
	over chan struct{} // closed when the consumer has ended
	err  error         // why; to be read after over

	mu    sync.Mutex
	cause error // guarded by mu: the failure that ended the consumer, if one did
}

// source assigns partitions to a Consumer: the group's coordinator or, for a broadcast
// consumer, the list of all partitions. Its methods may be called from
// any goroutine.
type source interface {
	// Enter blocks until the first view has been delivered, or returns why none will be.
	Enter(ctx context.Context) error
	// Run delivers further views until ctx ends, or returns why it cannot.
	Run(ctx context.Context) error
	// Commit makes positions durable and returns those that were accepted.
	Commit(ctx context.Context, positions []protocol.GroupPosition) ([]protocol.GroupPosition, error)
	// Release reports that all work on a partition has ended.
	Release(p protocol.TopicPartition)
	// InSession reports whether the assignment is still valid, as far as is known.
	InSession() bool
	// Session returns how long an assignment is valid without hearing from its source.
	Session() time.Duration
	Leave(ctx context.Context) error
	Name() string
}

// NewConsumer joins group and processes its topics with handle, until Close. It blocks
// until the group has accepted or refused the member, or ctx ends.
func (c *Client) NewConsumer(ctx context.Context, group string, topics []string, handle Handler, opts ...ConsumerOption) (*Consumer, error) {
	o, err := newConsumerOptions(group, topics, handle, opts)
	if err != nil {
		return nil, fmt.Errorf("new consumer: %w", err)
	}
	con := &Consumer{c: c, group: group, o: o, log: c.log.With("group", group), over: make(chan struct{})}
	if o.persistent() {
		if con.files, err = c.openFiles(group, o.join.Instance); err != nil {
			return nil, fmt.Errorf("new consumer: %w", err)
		}
	}
	con.ctx, con.cancel = context.WithCancel(context.Background())
	con.dlq = &deadLetters{c: c, group: group, known: map[string]bool{}}
	con.m = con.newSource()
	if o.failure == Keep {
		con.kept = newKeeper(con)
	}
	con.system = actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger {
		return slog.New(slog.DiscardHandler)
	}))
	// A child that panics is not restarted with its state lost: its parent creates
	// another one, which resumes from the committed offset.
	stop := actor.NewOneForOneStrategy(0, 0, func(any) actor.Directive { return actor.StopDirective })
	root := newConsumerActor(con)
	con.pid = con.system.Root.Spawn(actor.PropsFromProducer(func() actor.Actor { return root }, actor.WithSupervisor(stop)))
	if err := con.m.Enter(ctx); err != nil {
		con.cancel()
		con.tell(closeConsumer{})
		<-con.over
		return nil, fmt.Errorf("new consumer: %w", err)
	}
	con.kept.begin()
	con.work.Go(func() {
		if err := con.m.Run(con.ctx); err != nil {
			con.fail(err)
		}
	})
	return con, nil
}

// newSource returns the source of con's assignments.
func (con *Consumer) newSource() source {
	o := &con.o
	callbacks := group.Callbacks{Changed: func(v protocol.GroupView) { con.tell(v) }, Lost: con.lost}
	switch {
	case !o.broadcast:
		return group.NewMembership(con.c.calls, con.c.log, con.group, o.join, callbacks)
	case o.store != nil:
		return newBroadcast(con.c, o.join, o.store, callbacks)
	default:
		return newBroadcast(con.c, o.join, con.files, callbacks)
	}
}

func (con *Consumer) tell(m any) { con.system.Root.Send(con.pid, m) }

// lost stops the work on all partitions and blocks until it has stopped.
func (con *Consumer) lost(ctx context.Context) {
	done := make(chan struct{})
	con.tell(dropAll{done})
	select {
	case <-done:
	case <-con.over:
	case <-ctx.Done():
	}
}

// fail ends the consumer because of err.
func (con *Consumer) fail(err error) {
	con.mu.Lock()
	if con.cause == nil {
		con.cause = err
	}
	con.mu.Unlock()
	con.log.Error("consumer stopped", "err", err)
	con.tell(closeConsumer{})
}

// Close stops taking records, waits for the handlers that run, commits, and
// leaves the group. Shortly before ctx's deadline, or when ctx is canceled, the
// handlers' contexts end. Handlers that have not returned by the deadline, or
// within 2 s of the cancellation, are waited for no longer: Close returns an error
// that wraps ctx's and names their partitions, and the consumer ends, see Done,
// when they return. Close may be called again, and from a handler, which must use a
// ctx that ends: Close waits for that very handler.
func (con *Consumer) Close(ctx context.Context) error {
	con.tell(closeConsumer{})
	cut := ctx
	if deadline, some := ctx.Deadline(); some {
		var stop context.CancelFunc
		cut, stop = context.WithDeadline(ctx, deadline.Add(-min(time.Until(deadline)/10, time.Second)))
		defer stop()
	}
	if con.endedBefore(cut) {
		return con.err
	}
	con.cancel()
	last := ctx
	if errors.Is(ctx.Err(), context.Canceled) {
		var stop context.CancelFunc
		last, stop = context.WithTimeout(context.WithoutCancel(ctx), closeGrace)
		defer stop()
	}
	if con.endedBefore(last) {
		return con.err
	}
	return fmt.Errorf("close the consumer of group %s: %w: %s", con.group, ctx.Err(), con.unfinished())
}

// endedBefore waits for the consumer's end, and reports whether it came before ctx's.
func (con *Consumer) endedBefore(ctx context.Context) bool {
	select {
	case <-con.over:
		return true
	case <-ctx.Done():
		return false
	}
}

// closeGrace is how long Close waits after it was told to hurry by a cancellation.
const closeGrace = 2 * time.Second

// unfinished describes what a closing consumer still waits for.
func (con *Consumer) unfinished() string {
	reply := make(chan []protocol.TopicPartition, 1)
	con.tell(whatAssigned{reply})
	// The actor answers at once, unless it is in one of the program's own callbacks.
	patience := time.NewTimer(unfinishedWait)
	defer patience.Stop()
	select {
	case list := <-reply:
		if len(list) > 0 {
			return fmt.Sprintf("handlers have not returned for %v; the consumer ends, and others get its partitions, when they do", list)
		}
		return "its last commit, or its request to leave the group, has not been answered yet"
	case <-con.over:
		return "it has just ended"
	case <-patience.C:
		return "a callback of OnPartitions or OnError has not returned; the consumer ends when it does"
	}
}

// unfinishedWait bounds how long Close looks for the reason after its ctx has ended.
const unfinishedWait = 50 * time.Millisecond

// Done is closed when the consumer has ended: through Close, or because of a failure,
// which Err returns.
func (con *Consumer) Done() <-chan struct{} { return con.over }

// Err returns the failure that ended the consumer, or nil.
func (con *Consumer) Err() error {
	con.mu.Lock()
	defer con.mu.Unlock()
	return con.cause
}

// Member returns the consumer's current member id in the group.
func (con *Consumer) Member() string { return con.m.Name() }

// Assigned returns the partitions that the consumer works on, sorted.
func (con *Consumer) Assigned() []protocol.TopicPartition {
	reply := make(chan []protocol.TopicPartition, 1)
	con.tell(whatAssigned{reply})
	select {
	case list := <-reply:
		return list
	case <-con.over:
		return nil
	}
}

// Commit makes records, and all before them in their partitions, count as
// processed, and returns when that is durable. It is for ManualCommit, but may be
// used without. ErrFenced means that a partition no longer belongs to the
// consumer; the others are committed.
func (con *Consumer) Commit(ctx context.Context, recs ...Record) error {
	next := map[protocol.TopicPartition]group.Place{}
	for i := range recs {
		p := protocol.TopicPartition{Topic: recs[i].Topic, Partition: recs[i].Partition}
		if at := (group.Place{Offset: recs[i].Offset + 1, Epoch: recs[i].Epoch}); at.Beyond(next[p]) {
			next[p] = at
		}
	}
	var positions []protocol.GroupPosition
	for p, at := range next {
		positions = append(positions, at.Of(p))
	}
	member := con.m.Name()
	done, err := con.m.Commit(ctx, positions)
	if err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	con.tell(commitDone{member: member, done: done})
	if len(done) < len(positions) {
		return fmt.Errorf("commit: %w", protocol.ErrFenced.With("%d of %d partitions are no longer assigned to this consumer", len(positions)-len(done), len(positions)))
	}
	return nil
}

// Pause stops taking records of the partitions, or of all when none is named,
// until Resume. They stay the consumer's. A partition that comes later is not
// paused, and records that are kept come again all the same.
func (con *Consumer) Pause(ps ...protocol.TopicPartition) { con.tell(control{ps, pausePart{true}}) }

// Resume ends Pause.
func (con *Consumer) Resume(ps ...protocol.TopicPartition) { con.tell(control{ps, pausePart{false}}) }

// Seek continues a partition at s. The committed offset changes once a record after s has
// been processed, and never moves back: see Admin.GroupReset.
func (con *Consumer) Seek(p protocol.TopicPartition, s Start) {
	con.tell(control{[]protocol.TopicPartition{p}, seekPart{s}})
}

// Messages to the consumer's actor, besides protocol.GroupView.
type (
	dropAll       struct{ done chan struct{} } // the session is lost
	closeConsumer struct{}
	commitDue     struct{}
	commitDone    struct {
		member string                   // as whom
		asked  []protocol.GroupPosition // by the actor itself; nil by Commit
		done   []protocol.GroupPosition // what was taken
		err    error
	}
	whatAssigned struct {
		reply chan []protocol.TopicPartition
	}
	control struct {
		parts []protocol.TopicPartition // none: all
		m     any
	}
)

// busyCommits is the number of successive commits, each retried several times, that may be
// refused as busy before OnError is called.
const busyCommits = 10

// consumerActor owns the children.
type consumerActor struct {
	con        *Consumer
	view       protocol.GroupView
	parts      map[protocol.TopicPartition]*consumed
	committed  map[protocol.TopicPartition]group.Place // by this membership, or before it as its views say
	unsaved    map[protocol.TopicPartition]group.Place // of partitions that have ended, to be committed and released
	diverged   map[protocol.TopicPartition]Offset      // told to OnError: the group has stopped there
	committing bool
	refused    int // commits in a row that were refused as busy
	dropping   []chan struct{}
	closing    bool
	timer      *time.Timer
}

func newConsumerActor(con *Consumer) *consumerActor {
	return &consumerActor{con: con, parts: map[protocol.TopicPartition]*consumed{}, committed: map[protocol.TopicPartition]group.Place{}}
}

// Receive is the actor.
func (a *consumerActor) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		a.unsaved = map[protocol.TopicPartition]group.Place{}
		a.arm(ctx)
	case protocol.GroupView:
		a.view = m
		a.tellDiverged()
		a.reconcile(ctx)
	case *actor.Terminated:
		a.ended(ctx, m.Who)
	case dropAll:
		a.drop(ctx, m)
	case commitDue:
		if !a.closing {
			a.commit(ctx)
			a.arm(ctx)
		}
	case commitDone:
		a.commitDone(ctx, m)
	case whatAssigned:
		m.reply <- slices.SortedFunc(keysOf(a.parts), protocol.TopicPartition.Compare)
	case control:
		for p, c := range a.parts {
			if len(m.parts) == 0 || slices.Contains(m.parts, p) {
				ctx.Send(c.pid, m.m)
				c.interrupt()
			}
		}
	case closeConsumer:
		a.Close(ctx)
	}
}

// tellDiverged tells OnError once of each partition that the group has stopped at.
func (a *consumerActor) tellDiverged() {
	stopped := map[protocol.TopicPartition]Offset{}
	for i := range a.view.Diverged {
		d := &a.view.Diverged[i]
		stopped[d.At()] = d.Offset
		if at, told := a.diverged[d.At()]; told && at == d.Offset {
			continue
		}
		a.con.o.onError(&protocol.RangeError{
			Err: protocol.ErrDiverged.With("group %s is at offset %d of %s, but the log diverged at offset %d when its tail was lost; see `metaq group info %s`",
				a.con.group, d.Offset, d.At(), d.DivergedAt, a.con.group),
			DivergedAt: &d.DivergedAt,
		})
	}
	a.diverged = stopped
}

func (a *consumerActor) arm(ctx actor.Context) {
	self, system := ctx.Self(), a.con.system
	a.timer = time.AfterFunc(a.con.o.commit, func() { system.Root.Send(self, commitDue{}) })
}

// reconcile starts and ends children so that they are what the view says.
func (a *consumerActor) reconcile(ctx actor.Context) {
	if a.closing || len(a.dropping) > 0 {
		return
	}
	want := map[protocol.TopicPartition]bool{}
	var come []protocol.TopicPartition
	for i := range a.view.Assigned {
		p := &a.view.Assigned[i]
		want[p.At()] = true
		if _, unsaved := a.unsaved[p.At()]; a.parts[p.At()] == nil && !unsaved {
			come = append(come, p.At())
			a.begin(ctx, p)
		}
	}
	if len(come) > 0 {
		a.con.o.onAssign(come)
		for _, p := range come {
			ctx.Send(a.parts[p].pid, proceed{})
		}
	}
	for p, c := range a.parts {
		if !want[p] {
			c.end(ctx, true)
		}
	}
	for _, p := range a.view.Release {
		if _, unsaved := a.unsaved[p]; a.parts[p] == nil && !unsaved {
			a.con.m.Release(p)
		}
	}
}

func (a *consumerActor) begin(ctx actor.Context, p *protocol.GroupPosition) {
	// A partition that was to go and stays after all comes with a view that may be older
	// than its last commit, which was made when its work had ended.
	from := group.PlaceIn(p)
	if known := a.committed[p.At()]; known.Beyond(from) {
		from = known
	}
	c := newConsumed(a.con, p.At(), from)
	a.committed[p.At()] = from
	c.pid = ctx.Spawn(actor.PropsFromProducer(func() actor.Actor { return c }))
	a.parts[p.At()] = c
}

// ended takes a child's end. What it has processed is committed, before the
// partition is released.
func (a *consumerActor) ended(ctx actor.Context, who *actor.PID) {
	for p, c := range a.parts {
		if !c.pid.Equal(who) {
			continue
		}
		delete(a.parts, p)
		a.con.o.onRevoke([]protocol.TopicPartition{p})
		if at := c.processed(); len(a.dropping) == 0 && !a.con.o.manual && at.Beyond(a.committed[p]) {
			a.unsaved[p] = at
		}
		if !c.ending {
			a.con.o.onError(fmt.Errorf("%s: its actor panicked; processing resumes from the last committed offset", p))
		}
	}
	if len(a.parts) == 0 {
		for _, done := range a.dropping {
			close(done)
		}
		a.dropping = nil
	}
	a.commit(ctx)
	a.reconcile(ctx)
	a.finish(ctx)
}

// drop ends all work; nothing of it is committed, since it is not ours to commit.
func (a *consumerActor) drop(ctx actor.Context, m dropAll) {
	clear(a.unsaved)
	clear(a.committed)            // it may have been reset since
	a.view = protocol.GroupView{} // what comes next says what is ours
	if len(a.parts) == 0 {
		close(m.done)
		return
	}
	a.dropping = append(a.dropping, m.done)
	for _, c := range a.parts {
		c.end(ctx, true)
	}
}

// commit sends what was processed since the last commit.
func (a *consumerActor) commit(ctx actor.Context) {
	if a.committing || len(a.dropping) > 0 {
		return
	}
	var positions []protocol.GroupPosition
	add := func(p protocol.TopicPartition, at group.Place) { positions = append(positions, at.Of(p)) }
	for p, at := range a.unsaved {
		add(p, at)
	}
	if !a.con.o.manual {
		for p, c := range a.parts {
			if at := c.processed(); at.Beyond(a.committed[p]) {
				add(p, at)
			}
		}
	}
	if len(positions) == 0 {
		return
	}
	a.committing = true
	self, con, member := ctx.Self(), a.con, a.view.Member
	con.work.Go(func() {
		// Not bounded by the consumer's context: the last commit comes after its end.
		bounded, cancel := context.WithTimeout(context.Background(), max(link.RequestTimeout, con.m.Session()))
		defer cancel()
		done, err := con.m.Commit(bounded, positions)
		con.system.Root.Send(self, commitDone{member: member, asked: positions, done: done, err: err})
	})
}

// commitDone takes the result. A partition that has ended is released whatever it
// is: what was not committed comes again to its next owner.
func (a *consumerActor) commitDone(ctx actor.Context, m commitDone) {
	for _, p := range m.done {
		if m.member == a.view.Member { // else it may have been reset since
			if at := group.PlaceIn(&p); at.Beyond(a.committed[p.At()]) {
				a.committed[p.At()] = at
			}
		}
	}
	for _, p := range m.asked {
		if at, ended := a.unsaved[p.At()]; ended && !at.Beyond(group.PlaceIn(&p)) {
			delete(a.unsaved, p.At())
		}
	}
	if m.asked != nil {
		a.committing = false
	}
	if a.refused++; !errors.Is(m.err, protocol.ErrBusy) {
		a.refused = 0
	}
	// The membership finds out the same, and acts on it.
	told := errors.Is(m.err, protocol.ErrNoMember) || errors.Is(m.err, protocol.ErrInstance)
	// The next commit has the same offsets or later ones: to be told to back off now and
	// then is no news.
	quiet := a.refused > 0 && a.refused%busyCommits != 0
	if m.err != nil && !told && !quiet {
		a.con.o.onError(fmt.Errorf("commit of group %s: %w", a.con.group, m.err))
	}
	if len(a.unsaved) > 0 {
		a.commit(ctx)
	}
	a.reconcile(ctx)
	a.finish(ctx)
}

// Close ends the children after the records in hand.
func (a *consumerActor) Close(ctx actor.Context) {
	if a.closing {
		return
	}
	a.closing = true
	a.timer.Stop()
	a.con.kept.Stop()
	for _, c := range a.parts {
		c.end(ctx, false)
	}
	a.finish(ctx)
}

// finish ends the consumer once nothing is left to do.
func (a *consumerActor) finish(ctx actor.Context) {
	if !a.closing || len(a.parts) > 0 || len(a.unsaved) > 0 || a.committing {
		return
	}
	con := a.con
	ctx.Stop(ctx.Self())
	con.once.Do(func() { go con.end() })
}

// end leaves the group and joins what runs.
func (con *Consumer) end() {
	con.kept.Wait()
	con.cancel()
	con.work.Wait()
	bounded, cancel := context.WithTimeout(context.Background(), link.RequestTimeout)
	defer cancel()
	if err := con.m.Leave(bounded); err != nil {
		con.err = fmt.Errorf("leave group %s: its partitions stay assigned until the session expires: %w", con.group, err)
	}
	con.err = errors.Join(con.err, con.dlq.Close(bounded))
	if con.files != nil {
		con.err = errors.Join(con.err, con.files.Close())
	}
	con.system.Shutdown()
	close(con.over)
}
