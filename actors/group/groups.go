package group

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"metaq/actors"
	"metaq/actors/group/core"
	"metaq/protocol"
)

// Groups are the consumer groups that this broker coordinates. Its methods may be
// called from any goroutine.
type Groups struct {
	pid    *actor.PID
	shared *groupsShared
	tried  chan struct{} // closed when the log has been opened, or could not be at the first attempt
	idle   chan struct{} // closed when all groups have stopped, and their offsets are mirrored if that could be
	over   chan struct{} // closed when the actor has stopped as well
}

// groupsShared is what the groups actor and its groups share. It does not change.
type groupsShared struct {
	deps    Deps
	system  *actor.ActorSystem
	log     *slog.Logger
	now     func() time.Time
	workers *actors.Workers
	metrics groupsMetrics
	bug     core.Bug
}

type groupsMetrics struct {
	groups   prometheus.Gauge
	known    prometheus.Gauge
	entries  prometheus.Counter
	refusals *prometheus.CounterVec
	mirrors  prometheus.Counter
	diverged prometheus.Counter
	lag      *prometheus.GaugeVec
}

// groupWorkers is how many look-ups, claims and mirrors run at a time.
const groupWorkers = 32

// later sends m to an actor after d.
func (s *groupsShared) later(d time.Duration, to *actor.PID, m any) *time.Timer {
	return time.AfterFunc(d, func() { s.system.Root.Send(to, m) })
}

func (s *groupsShared) newCore(name string, image *core.Image, topics map[string]core.Topic) *core.Group {
	c := core.New(name, image, topics, s.now())
	c.Bug, c.MaxSize, c.Realign = s.bug, s.deps.MaxState, s.deps.Realign
	return c
}

func (s *groupsShared) refused(err error) {
	s.metrics.refusals.WithLabelValues(fmt.Sprint(protocol.AsError(err).Code)).Inc()
}

func newGroupsMetrics(r prometheus.Registerer) groupsMetrics {
	f := promauto.With(r)
	return groupsMetrics{
		groups: f.NewGauge(prometheus.GaugeOpts{
			Namespace: "metaq", Name: "groups_active",
			Help: "Consumer groups with an actor: those with members, and those asked for in the last minute.",
		}),
		known: f.NewGauge(prometheus.GaugeOpts{
			Namespace: "metaq", Name: "groups_known",
			Help: "Consumer groups in this broker's log. At maxGroups no new group begins: delete those that nobody needs.",
		}),
		entries: f.NewCounter(prometheus.CounterOpts{
			Namespace: "metaq", Name: "group_log_entries_total",
			Help: "Entries of the groups' log: commits and changes of membership. A rise without more consumers means that groups do not come to rest.",
		}),
		refusals: f.NewCounterVec(prometheus.CounterOpts{
			Namespace: "metaq", Name: "group_refusals_total",
			Help: "Requests of group members refused, by code. 409 and 404 rising mean members that lose their sessions.",
		}, []string{"code"}),
		lag: f.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "metaq", Name: "group_lag_messages",
			Help: "Messages that a group has not committed yet, by topic, as of the last look. A steady rise means that its consumers are too slow, or stuck, or that it has no members. Of groups without members the first 1,000 by name are shown.",
		}, []string{"group", "topic"}),
		diverged: f.NewCounter(prometheus.CounterOpts{
			Namespace: "metaq", Name: "group_diverged_total",
			Help: "Committed offsets found beyond the end of a log, or on another branch of it: the log has lost its end, to a power failure or a restored backup. metaq group info shows where.",
		}),
		mirrors: f.NewCounter(prometheus.CounterOpts{
			Namespace: "metaq", Name: "group_mirrors_total",
			Help: "Writes of offsets to the registry: at most one each zk.zkSyncTimeMs.",
		}),
	}
}

// Start starts the groups actor. It returns at once: until the log is open, for
// which see Opened, requests are refused as not available now. Stop it after the gateway
// has drained and before the partitions' system stops.
func Start(d Deps) (*Groups, error) {
	d = d.withDefaults()
	bug, known := core.Bugs[d.Plant]
	if !known {
		return nil, fmt.Errorf("no bug %q can be planted: see groupBugs", d.Plant)
	}
	shared := &groupsShared{
		deps: d, system: d.System, log: d.Logger, now: d.Now, workers: actors.NewWorkers(groupWorkers), metrics: newGroupsMetrics(d.Metrics),
		bug: bug,
	}
	g := &Groups{shared: shared, tried: make(chan struct{}), idle: make(chan struct{}), over: make(chan struct{})}
	tried := sync.OnceFunc(func() { close(g.tried) })
	rested := sync.OnceFunc(func() { close(g.idle) })
	ended := sync.OnceFunc(func() {
		tried()
		rested()
		close(g.over)
	})
	// A group that crashes is made anew from the log by its next request, not from
	// what it was at its birth.
	stop := actor.NewOneForOneStrategy(0, 0, func(any) actor.Directive { return actor.StopDirective })
	pid, err := actors.Spawn(d.System.Root, actors.GroupsActor, d.Logger, func() actors.Receiver {
		return &groups{groupsShared: shared, tried: tried, rested: rested, ended: ended}
	}, actor.WithSupervisor(stop), actor.WithGuardian(actor.RestartingSupervisorStrategy()))
	if err != nil {
		return nil, err
	}
	g.pid = pid
	return g, nil
}

// PID is where to send a *GroupRequest or ListGroups.
func (g *Groups) PID() *actor.PID { return g.pid }

// Opened returns when the log has been opened and read, or could not be: requests are
// then told why, and whoever serves topics goes on to do so. It fails when ctx ends before.
func (g *Groups) Opened(ctx context.Context) error {
	select {
	case <-g.tried:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("open the groups' log: %w", ctx.Err())
	}
}

// Publish takes a new picture of the routes.
func (g *Groups) Publish(r *actors.Routes) {
	g.shared.system.Root.Send(g.pid, groupsRoutes{r, groupTopics(r)})
}

// Disown gives up what this broker coordinates, because another one may have taken it
// over: its session with the registry was lost. Each group is claimed again by its
// next request.
func (g *Groups) Disown() { g.shared.system.Root.Send(g.pid, disown{}) }

// Retire stops all groups, closes their log and mirrors what is not mirrored yet, for a
// broker that is about to give up its place in the registry: afterwards it has no right
// to write there, and whoever coordinates a group next would begin at older offsets. It
// returns when all that has happened, or when ctx ends; it then goes on. Requests are
// refused until Stop.
func (g *Groups) Retire(ctx context.Context) error {
	select {
	case <-g.idle:
		return nil
	default:
		g.shared.system.Root.Send(g.pid, groupsStop{})
	}
	select {
	case <-g.idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("retire the groups: %w; that goes on", ctx.Err())
	}
}

// Stop stops all groups, mirrors what is not mirrored yet, and closes the log. It
// returns when all that has happened, or when ctx ends; the stop then goes on. It
// may be called again.
func (g *Groups) Stop(ctx context.Context) error {
	select {
	case <-g.over:
	default:
		g.shared.system.Root.Send(g.pid, groupsStop{final: true})
	}
	select {
	case <-g.over:
		g.shared.workers.Wait()
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop the groups: %w; they go on stopping", ctx.Err())
	}
}

// groups is the parent of all groups. It owns their log: it is the one who knows
// what is durable, and gives a group the image to begin with.
type groups struct {
	*groupsShared
	tried, rested, ended func()

	journal  groupLog
	refusal  *protocol.Error // while the log is not open
	attempt  int
	opening  bool
	children map[string]*groupChild // by group
	unlogged map[string]bool        // groups with an actor and without an image
	names    uint64
	routes   groupsRoutes

	claims     map[string]protocol.Epoch
	terms      map[string]uint64 // of claims, see Coordination.Holds
	claiming   map[string][]*groupClaimant
	calls      context.Context // of claims; ends with stop, when their result is nothing any more
	stopClaims context.CancelFunc
	// elsewhere are groups of other brokers, for as long as that may be believed.
	elsewhere map[string]foreignGroup

	unmirrored map[string]map[protocol.TopicPartition]core.Place
	begins     unmirroredBegins
	idle       idleLag
	mirroring  bool // or deleting: the registry is written to
	deletions  map[string]*groupDeletion
	failures   map[string]*failures // of the registry, by what could not be done
	doomed     []string             // groups whose deletion has not begun, in order
	timer      *time.Timer
	asking     []*actor.PID // for the list of groups
	stopping   bool
	closed     bool // the log
	final      bool // stop the actor as well
}

type groupChild struct {
	pid      *actor.PID
	requests uint64 // forwarded
}

// groupClaimant is a request that waits for its group's claim.
type groupClaimant struct {
	request *actors.GroupRequest
	from    *actor.PID
}

// Receive is the actor.
func (g *groups) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actors.GroupRequest:
		g.request(ctx, m, ctx.Sender())
	case groupWrite:
		if g.stage(ctx, m) {
			ctx.Send(ctx.Self(), groupsFlush{})
		}
	case groupsFlush:
		g.flush(ctx, false)
	case actors.ListGroups:
		g.list(ctx)
	case listNow:
		g.answerLists(ctx)
	case actors.ListOwnGroups:
		actors.Respond(ctx, ctx.Sender(), g.own())
	case groupsRoutes:
		g.routes = m
		for _, c := range g.children {
			ctx.Send(c.pid, m)
		}
	case groupIdle:
		if c := g.children[m.group]; c != nil && c.requests == m.requests {
			g.idle.shown[m.group] = true // its actor leaves the metric as it is
			ctx.Poison(c.pid)
			g.forget(m.group)
			if g.journal.images[m.group] == nil {
				delete(g.claims, m.group) // what was deleted, or never began, is claimed again
				delete(g.terms, m.group)
			}
		}
	case groupClaimed:
		g.claimed(ctx, m)
	case groupsOpened:
		g.opened(ctx, m)
	case groupLost:
		if c := g.children[m.group]; c != nil && c.pid.Equal(m.who) {
			g.lose(ctx, m.group)
		}
	case groupsHeld:
		g.held(ctx, m)
	case lookHeld:
		g.findHeld(ctx, m.attempt)
	case lagDue:
		g.measureIdle(ctx)
		g.later(g.deps.LagTime, ctx.Self(), lagDue{})
	case lagMeasured:
		g.lagMeasured(m)
	case beginsLate:
		g.beginsLate(ctx, m)
	case beginsRetry:
		g.begins.paused = false
		g.armMirror(ctx)
	case mirrorDue:
		g.timer = nil
		g.mirror(ctx, false)
	case groupDeleted:
		g.groupDeleted(ctx, m)
	case mirrorDone:
		g.mirrored(ctx, m)
	case disown:
		g.disown(ctx)
	case groupsStop:
		g.final = g.final || m.final
		g.stop(ctx)
	case groupsEnd:
		g.end(ctx)
	case *actor.Terminated:
		g.childGone(ctx, m.Who)
	case *actor.Started:
		g.children, g.claims, g.claiming = map[string]*groupChild{}, map[string]protocol.Epoch{}, map[string][]*groupClaimant{}
		g.unlogged, g.begins, g.terms = map[string]bool{}, newUnmirroredBegins(), map[string]uint64{}
		g.idle = idleLag{held: map[string]bool{}, shown: map[string]bool{}}
		g.later(g.deps.LagTime, ctx.Self(), lagDue{})
		g.failures = map[string]*failures{}
		g.elsewhere, g.deletions = map[string]foreignGroup{}, map[string]*groupDeletion{}
		g.calls, g.stopClaims = context.WithCancel(context.Background())
		g.unmirrored = map[string]map[protocol.TopicPartition]core.Place{}
		g.open(ctx)
	case *actor.Restarting:
		g.refuseLists(ctx)
		g.stopClaims()
		g.journal.close(g.log)
	case *actor.Stopped:
		g.refuseLists(ctx)
		g.stopClaims()
		g.ended()
	}
}

// Crashed has nobody of its own to answer: the groups answer when they stop.
func (g *groups) Crashed(actor.Context, error) {}

// open lets a worker open the log and replay it.
func (g *groups) open(ctx actor.Context) {
	if g.refusal == nil {
		g.refusal = protocol.ErrUnavailable.With("the groups' log is being opened: try again")
	}
	wait := time.Duration(0)
	if g.attempt > 0 {
		wait = min(g.deps.Retry<<min(g.attempt-1, 20), g.deps.MaxRetry)
	}
	g.attempt++
	g.opening = true
	self := ctx.Self()
	work := func() {
		g.workers.Run(func() {
			var m groupsOpened
			if m.store, m.err = g.deps.OpenLog(); m.err == nil {
				if m.images, m.err = replayGroups(m.store); m.err != nil {
					m.err = errors.Join(m.err, m.store.Close())
				}
			}
			g.system.Root.Send(self, m)
		})
	}
	if wait == 0 {
		work()
		return
	}
	time.AfterFunc(wait, work)
}

// opened takes the worker's result. Groups with members begin at once, so that
// the sessions of members that are gone end.
func (g *groups) opened(ctx actor.Context, m groupsOpened) {
	defer g.tried()
	g.opening = false
	switch {
	case g.stopping && m.err == nil:
		g.journal = groupLog{store: m.store}
		ctx.Send(ctx.Self(), groupsEnd{})
		return
	case g.stopping:
		ctx.Send(ctx.Self(), groupsEnd{})
		return
	case m.err != nil && actors.Damaged(m.err):
		g.log.Error("groups' log is damaged, no group is coordinated here", "error", m.err)
		g.refusal = protocol.ErrUnavailable.With("the groups' log is damaged: %v", m.err)
		return
	case m.err != nil:
		g.log.Warn("cannot open the groups' log, trying again", "error", m.err)
		g.refusal = protocol.ErrUnavailable.With("the groups' log cannot be opened: %v", m.err)
		g.open(ctx)
		return
	}
	g.journal = newGroupLog(m.store, m.images, g.deps.SnapshotBytes)
	g.refusal, g.attempt = nil, 0
	g.log.Info("groups' log opened", "groups", len(m.images), "end_offset", int64(m.store.Next()))
	for name, image := range m.images {
		if len(image.State.Members) > 0 || len(image.Offsets) == 0 { // to end sessions, and to be forgotten
			g.wakeUp(ctx, name)
		}
	}
	g.findHeld(ctx, 0)
}

// wakeUp spawns a group, or claims it first.
func (g *groups) wakeUp(ctx actor.Context, name string) {
	if g.claim(ctx, name, true) {
		g.child(ctx, name)
	}
}

// request forwards to the group's actor, which is made when it is not there.
func (g *groups) request(ctx actor.Context, m *actors.GroupRequest, from *actor.PID) {
	if err := g.refuse(m); err != nil {
		m.Ticket.Release()
		g.refused(err)
		actors.Respond(ctx, from, err)
		return
	}
	if g.refuseUnheld(ctx, m, from) || g.sendOn(ctx, m) {
		return
	}
	if !g.claim(ctx, m.Group, makesGroup(m.Request)) {
		looked(m)
		g.claiming[m.Group] = append(g.claiming[m.Group], &groupClaimant{m, from})
		return
	}
	c := g.child(ctx, m.Group)
	if c == nil {
		m.Ticket.Release()
		actors.Respond(ctx, from, actors.ErrGone)
		return
	}
	c.requests++
	if from == nil {
		ctx.Send(c.pid, m)
		return
	}
	ctx.RequestWithCustomSender(c.pid, m, from)
}

// refuse says why a request goes nowhere.
func (g *groups) refuse(m *actors.GroupRequest) error {
	if g.stopping {
		return actors.ErrGone
	}
	if g.refusal != nil {
		return g.refusal
	}
	if err := actors.Given(m.Until, g.now(), m.Heard); err != nil {
		return err
	}
	if g.deletions[m.Group] != nil && g.children[m.Group] == nil {
		return protocol.ErrUnavailable.With("group %s is being deleted: try again", m.Group)
	}
	if _, deletes := m.Request.(protocol.GroupDelete); deletes && g.claims[m.Group] > 0 {
		if err := g.deps.Coordination.Away(); err != nil {
			return protocol.ErrUnavailable.With("group %s: %v: nothing was deleted, and this request will not be carried out: try again", m.Group, err)
		}
	}
	if g.children[m.Group] != nil || g.journal.images[m.Group] != nil {
		return nil
	}
	if g.deps.Coordination != nil && g.claims[m.Group] == 0 {
		return nil // another broker may have it: the claim tells
	}
	return g.refuseNew(m)
}

// child returns the group's actor. Everything staged is written first: what a
// group before it decided is then in the image.
func (g *groups) child(ctx actor.Context, name string) *groupChild {
	if c := g.children[name]; c != nil {
		return c
	}
	g.flush(ctx, true)
	if g.refusal != nil {
		return nil
	}
	image := g.journal.images[name]
	logged := image != nil
	if !logged {
		image = &core.Image{State: core.State{Generation: firstGeneration(g.claims[name])}}
		g.unlogged[name] = true
	}
	image = image.Clone()
	routes, shared, term := g.routes, g.groupsShared, g.terms[name]
	g.names++
	// The one before may not have gone yet: each has a name of its own.
	pid, err := actors.Spawn(ctx, fmt.Sprintf("%s-%d", name, g.names), g.log, func() actors.Receiver {
		return &group{
			all: shared, name: name, term: term, routes: routes.routes, working: map[*groupAsker]bool{}, ends: groupEnds{},
			log: shared.log.With("group", name), core: shared.newCore(name, image, routes.topics), logged: logged,
		}
	})
	if err != nil {
		g.log.Error("cannot spawn group", "group", name, "error", err)
		return nil
	}
	c := &groupChild{pid: pid}
	g.children[name] = c
	g.metrics.groups.Inc()
	return c
}

func (g *groups) forget(name string) {
	delete(g.children, name)
	delete(g.unlogged, name)
	if d := g.deletions[name]; d != nil {
		d.writes = nil // who sent them is told so, or does not live
	}
	g.metrics.groups.Dec()
}

// childGone forgets a group that has crashed; when the groups stop, it looks
// whether that was the last one.
func (g *groups) childGone(ctx actor.Context, who *actor.PID) {
	for name, c := range g.children {
		if c.pid.Equal(who) {
			g.forget(name)
		}
	}
	if g.stopping && len(g.children) == 0 && !g.opening {
		// What the groups sent to be logged comes before this.
		ctx.Send(ctx.Self(), groupsEnd{})
	}
}

// abandon stops groups whose decisions did not reach the log.
func (g *groups) abandon(ctx actor.Context, refusal *protocol.Error, whose func(*actor.PID) bool) {
	for name, c := range g.children {
		if whose(c.pid) {
			ctx.Send(c.pid, groupAbandon{refusal})
			g.forget(name)
		}
	}
}

// stop lets the groups end what they have begun.
func (g *groups) stop(ctx actor.Context) {
	if g.stopping {
		if g.closed {
			ctx.Send(ctx.Self(), groupsEnd{})
		}
		return
	}
	g.stopping = true
	g.stopClaims()
	for _, name := range g.doomed {
		g.spare(ctx, name)
	}
	g.doomed = nil
	for _, c := range g.children {
		ctx.Poison(c.pid)
	}
	for name := range g.claiming {
		g.refuseClaimants(ctx, name, actors.ErrGone)
	}
	if len(g.children) == 0 && !g.opening {
		ctx.Send(ctx.Self(), groupsEnd{})
	}
}

// end closes the log once no group is left. A mirror that is under way comes first: the
// last one must not be overtaken by an older one.
func (g *groups) end(ctx actor.Context) {
	if !g.closed && !g.mirroring {
		g.flush(ctx, true)
		g.journal.close(g.log)
		g.closed = true
		if g.timer != nil {
			g.timer.Stop()
		}
		g.lastMirror()
	}
	if g.closed && g.final {
		ctx.Stop(ctx.Self())
	}
}
