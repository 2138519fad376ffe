package group

import (
	"crypto/rand"
	"log/slog"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/prometheus/client_golang/prometheus"

	"metaq/actors"
	"metaq/actors/group/core"
	"metaq/protocol"
)

// askTimeout bounds how long a group waits for the ends of partitions.
const askTimeout = 2 * time.Second

// group is the shell around Group: the actor of one consumer group. It has
// what its core decides logged by its parent, and answers when that is durable.
type group struct {
	all    *groupsShared
	name   string
	core   *core.Group
	routes *actors.Routes
	log    *slog.Logger

	logged  bool   // the log has the group, or will
	seq     uint64 // of the last entry that was sent to the log
	written uint64 // all up to here are durable
	held    []heldAnswers

	term      uint64 // of the claim, see Coordination.Holds
	suspended bool   // the claim did not count when it was looked at last

	requests   uint64               // received
	pending    int                  // parts of requests on a worker
	working    map[*groupAsker]bool // requests with a part there
	ends       groupEnds
	timer      *time.Timer
	generation uint64 // of the timer
	touched    time.Time
	lag        *time.Timer
	resting    bool        // it has no members and may end: its parent then shows its lag
	deleted    bool        // and nothing came since
	current    *groupAsker // the request in hand, for crashed
}

// heldAnswers wait until all entries up to seq are durable.
type heldAnswers struct {
	seq     uint64
	answers []core.Answer
}

// groupAsker is who waits for an answer; the core passes it through.
type groupAsker struct {
	to     *actor.PID
	ticket actors.Ticket
	heard  actors.Heard
	done   bool // was answered
}

// Receive is the actor.
func (g *group) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actors.GroupRequest:
		g.request(ctx, m)
	case groupWritten:
		g.written = m.seq
		g.answerHeld(ctx)
		if g.deleted && g.written == g.seq {
			ctx.Send(ctx.Parent(), groupIdle{g.name, g.requests})
			g.deleted = false
		}
	case groupsRoutes:
		old := g.routes
		g.routes = m.routes
		g.recheck(old)
		for at := range g.ends {
			if m.topics[at.Topic].Born > g.core.Born[at.Topic] {
				delete(g.ends, at) // of a topic that is not there any more
			}
		}
		g.perform(ctx, g.core.TopicsChanged(g.all.now(), m.topics))
	case groupTick:
		if m.generation == g.generation {
			g.timer = nil
			g.tick(ctx)
		}
	case groupThen:
		if m.owner == g {
			m.do(ctx)
		}
	case groupAbandon:
		g.end(ctx, m.refusal)
		ctx.Stop(ctx.Self())
	case *actor.Started:
		g.touched = g.all.now()
		g.perform(ctx, g.core.Settle(g.all.now()))
		g.lag = g.all.later(g.all.deps.LagTime, ctx.Self(), lagDue{})
	case lagDue:
		g.lag = g.all.later(g.all.deps.LagTime, ctx.Self(), lagDue{})
		g.measure(ctx)
	case *actor.Stopping:
		g.end(ctx, protocol.ErrUnavailable.With("group %s stops on this broker: try again", g.name))
	}
}

// request runs one step of the core, or begins to find what the step needs.
func (g *group) request(ctx actor.Context, m *actors.GroupRequest) {
	looked(m)
	now := g.all.now()
	g.requests++
	g.touched, g.deleted, g.resting = now, false, false
	to := &groupAsker{to: ctx.Sender(), ticket: m.Ticket, heard: m.Heard}
	g.current = to
	defer func() { g.current = nil }()
	if !g.proceeds(ctx) {
		g.answer(ctx, core.Answer{To: to, Value: unheld(g.name)})
		return
	}
	if err := actors.Given(m.Until, now, m.Heard); err != nil {
		g.answer(ctx, core.Answer{To: to, Value: err})
		return
	}
	switch r := m.Request.(type) {
	case protocol.GroupJoin:
		if r.Member == "" {
			r.Member = rand.Text()
		}
		g.perform(ctx, g.core.Join(now, r, to))
	case protocol.GroupHeartbeat:
		g.perform(ctx, g.core.Heartbeat(now, r, to))
	case protocol.GroupLeave:
		g.perform(ctx, g.core.Leave(now, r, to))
	case protocol.GroupCommit:
		g.commit(ctx, r, to)
	case actors.GroupCommitted:
		g.answer(ctx, core.Answer{To: to, Value: g.core.Committed()})
	case actors.GroupDescribe:
		g.describe(ctx, to)
	case protocol.GroupReset:
		g.reset(ctx, r, to)
	case protocol.GroupDelete:
		effects, deleted := g.core.RemoveAll(now, r.Force, to)
		g.perform(ctx, effects)
		if deleted {
			g.core = g.all.newCore(g.name, &core.Image{}, g.core.Routes)
			g.deleted = true
		}
	default:
		g.answer(ctx, core.Answer{To: to, Value: protocol.ErrInternal.With("a group cannot take %T", m.Request)})
	}
}

// perform carries out what the core decided. What a step logs is durable before
// any of its answers, and those of later steps, are given.
func (g *group) perform(ctx actor.Context, e core.Effects) {
	if e.Entry != nil {
		g.logged = !e.Entry.Deleted
		g.seq++
		w := groupWrite{entry: *e.Entry, from: ctx.Self(), seq: g.seq}
		if w.entry.Deleted && g.current != nil {
			w.heard = g.current.heard
		}
		ctx.Send(ctx.Parent(), w)
	}
	if len(e.Answers) > 0 {
		g.held = append(g.held, heldAnswers{g.seq, e.Answers})
		g.answerHeld(ctx)
	}
	for i := range e.Diverged {
		g.tell(&e.Diverged[i])
	}
	if len(e.Resolve) > 0 {
		g.resolve(ctx, e.Resolve)
	}
	if len(e.Check) > 0 {
		g.check(ctx, e.Check)
	}
	g.arm(ctx)
}

func (g *group) answerHeld(ctx actor.Context) {
	n := 0
	for n < len(g.held) && g.held[n].seq <= g.written {
		for _, a := range g.held[n].answers {
			g.answer(ctx, a)
		}
		n++
	}
	g.held = g.held[n:]
}

func (g *group) answer(ctx actor.Context, a core.Answer) {
	to, ok := a.To.(*groupAsker)
	if !ok || to.done {
		return
	}
	to.done = true
	delete(g.working, to)
	to.ticket.Release()
	if _, refused := a.Value.(error); !refused && !g.all.holds(g.term) {
		a.Value = unheld(g.name)
	}
	if err, refused := a.Value.(error); refused {
		g.all.refused(err)
		actors.Respond(ctx, to.to, actors.WireError(err))
		return
	}
	actors.Respond(ctx, to.to, a.Value)
}

// arm sets the one timer for what is due next, or for the look whether the group
// is idle.
func (g *group) arm(ctx actor.Context) {
	now := g.all.now()
	at, some := g.core.Due()
	if !some {
		at = g.touched.Add(g.idle())
	}
	if g.timer != nil {
		g.timer.Stop()
	}
	g.generation++
	g.timer = g.all.later(max(at.Sub(now), 0), ctx.Self(), groupTick{g.generation})
}

func (g *group) tick(ctx actor.Context) {
	if !g.proceeds(ctx) {
		return
	}
	now := g.all.now()
	g.perform(ctx, g.core.Tick(now))
	idle := now.Sub(g.touched) >= g.idle() && len(g.core.Members) == 0 && len(g.held) == 0 && g.pending == 0
	if idle && g.written == g.seq {
		g.touched = now
		if g.core.Blank() && g.logged {
			if c := g.all.deps.Coordination; c != nil && c.Away() != nil {
				g.arm(ctx)
			} else {
				g.forget(ctx)
			}
			return
		}
		g.arm(ctx)
		g.resting = true
		ctx.Send(ctx.Parent(), groupIdle{g.name, g.requests})
	}
}

// idle is how long the group keeps its actor without a request. One that is in the log and
// holds nothing keeps it until it is forgotten.
func (g *group) idle() time.Duration {
	if g.core.Blank() && g.logged {
		return max(g.all.deps.Forget, g.all.deps.Idle)
	}
	return g.all.deps.Idle
}

// forget deletes the group: the next join begins as for a new name.
func (g *group) forget(ctx actor.Context) {
	now := g.all.now()
	effects, _ := g.core.RemoveAll(now, false, nil)
	g.core = g.all.newCore(g.name, &core.Image{}, g.core.Routes)
	g.deleted = true
	g.perform(ctx, effects)
}

// work runs slow on a worker, and then rest as a message of this incarnation.
func (g *group) work(ctx actor.Context, slow func(), rest func(actor.Context)) {
	self := ctx.Self()
	g.pending++
	g.all.workers.Run(func() {
		slow()
		g.all.system.Root.Send(self, groupThen{g, func(ctx actor.Context) {
			g.pending--
			rest(ctx)
		}})
	})
}

// leader finds who leads a partition; nil when nobody does, or when it is not
// known.
func (g *group) leader(at protocol.TopicPartition) *actor.PID {
	return leaderIn(g.routes, at)
}

func leaderIn(r *actors.Routes, at protocol.TopicPartition) *actor.PID {
	if r == nil || r.Topics[at.Topic] == nil {
		return nil
	}
	pid, _ := r.Topics[at.Topic].Leader(at.Partition)
	return pid
}

// resolve looks start positions up.
func (g *group) resolve(ctx actor.Context, asks []core.Resolve) {
	for len(asks) > 0 {
		// Those with the same start, which is nearly always all, go together.
		start, since := asks[0].Start, asks[0].Since
		var same, rest []core.Resolve
		var leaders []*actor.PID
		for _, a := range asks {
			if a.Start != start || !a.Since.Equal(since) {
				rest = append(rest, a)
				continue
			}
			same, leaders = append(same, a), append(leaders, g.leader(a.At))
		}
		asks = rest
		var got []ends
		g.work(ctx, func() { got = askOffsets(g.all.system, leaders, core.RequestFor(start, since), askTimeout) }, func(ctx actor.Context) {
			for i := range got {
				g.perform(ctx, g.core.Resolved(g.all.now(), same[i], core.LabelledPlaceOf(start, since, got[i].reply), got[i].err))
			}
		})
	}
}

// reset finds the offsets to reset to, and then resets.
func (g *group) reset(ctx actor.Context, r protocol.GroupReset, to *groupAsker) {
	err := g.core.MayReset(r.Force)
	ids := r.Partitions
	if err == nil {
		ids, err = g.resetPartitions(r)
	}
	if err != nil {
		g.answer(ctx, core.Answer{To: to, Value: err})
		return
	}
	born := g.routes.Topics[r.Topic].Born
	leaders := make([]*actor.PID, len(ids))
	for i, id := range ids {
		leaders[i] = g.leader(protocol.TopicPartition{Topic: r.Topic, Partition: id})
	}
	var got []ends
	g.working[to] = true
	g.work(ctx, func() { got = askOffsets(g.all.system, leaders, core.RequestFor(r.To, time.Time{}), askTimeout) }, func(ctx actor.Context) {
		if err := actors.Given(time.Time{}, time.Time{}, to.heard); err != nil {
			g.answer(ctx, core.Answer{To: to, Value: err})
			return
		}
		if now := g.routes.Topics[r.Topic]; now == nil || now.Born != born {
			g.answer(ctx, core.Answer{To: to, Value: protocol.ErrUnavailable.With("nothing was reset: topic %s was deleted while the reset was looking up its offsets: try again", r.Topic)})
			return
		}
		offsets := make([]protocol.GroupPosition, len(ids))
		for i, id := range ids {
			if got[i].err != nil {
				g.answer(ctx, core.Answer{To: to, Value: protocol.ErrUnavailable.With("nothing was reset: %s %s: %v", r.Topic, id, got[i].err)})
				return
			}
			found := core.LabelledPlaceOf(r.To, time.Time{}, got[i].reply)
			offsets[i] = protocol.GroupPosition{Topic: r.Topic, Partition: id, Offset: found.Offset, Epoch: found.Epoch}
			if end := got[i].reply.EndOffset; r.To.At == protocol.StartOffset && r.To.Offset > end {
				g.answer(ctx, core.Answer{To: to, Value: aboveEnd("nothing was reset", offsets[i].At(), r.To.Offset, end, "name partitions that reach so far, or take latest")})
				return
			}
		}
		g.perform(ctx, g.core.Reset(g.all.now(), offsets, r.Force, to))
	})
}

// resetPartitions are the partitions that a reset names.
func (g *group) resetPartitions(r protocol.GroupReset) ([]protocol.PartitionID, error) {
	var topic *actors.TopicRoute
	if g.routes != nil {
		topic = g.routes.Topics[r.Topic]
	}
	if topic == nil {
		return nil, actors.NoTopic(r.Topic)
	}
	if len(r.Partitions) == 0 {
		return topic.All, nil
	}
	for _, id := range r.Partitions {
		if _, known := topic.Leader(id); !known {
			return nil, protocol.ErrNoPartition.With("topic %s has no partition %s: see metaq topic info %s", r.Topic, id, r.Topic)
		}
	}
	return r.Partitions, nil
}

// measure shows the lag to the metrics.
func (g *group) measure(ctx actor.Context) {
	g.withEnds(ctx, func(_ actor.Context, info protocol.GroupInfo) {
		topics := map[string]int64{}
		for i := range info.Partitions {
			if p := &info.Partitions[i]; p.Lag != nil {
				topics[p.Topic] += *p.Lag
			}
		}
		for topic, lag := range topics {
			g.all.metrics.lag.WithLabelValues(g.name, topic).Set(float64(lag))
		}
	})
}

// describe answers with the group's state and the lag of each partition.
func (g *group) describe(ctx actor.Context, to *groupAsker) {
	g.working[to] = true
	g.withEnds(ctx, func(ctx actor.Context, info protocol.GroupInfo) { g.answer(ctx, core.Answer{To: to, Value: info}) })
}

// withEnds asks for the ends of the group's partitions and calls rest with the
// whole description.
func (g *group) withEnds(ctx actor.Context, rest func(actor.Context, protocol.GroupInfo)) {
	info := g.core.Info(g.all.now())
	leaders, asked := make([]*actor.PID, len(info.Partitions)), make([]core.Check, len(info.Partitions))
	for i := range leaders {
		leaders[i], asked[i] = g.leader(info.Partitions[i].At()), g.core.Question(info.Partitions[i].At())
	}
	var got []ends
	g.work(ctx, func() { got = askOffsets(g.all.system, leaders, core.LineageRequest, askTimeout) }, func(ctx actor.Context) {
		known := map[protocol.TopicPartition]*ends{}
		for i := range got {
			known[asked[i].At] = &got[i]
			if got[i].err == nil {
				g.placed(ctx, asked[i], &got[i])
			}
		}
		info := g.core.Info(g.all.now()) // as it is after that
		info.Coordinator = g.all.deps.BrokerID
		for i := range info.Partitions {
			if e := known[info.Partitions[i].At()]; e != nil {
				addEnds(&info, &info.Partitions[i], e)
			}
		}
		rest(ctx, info)
	})
}

// addEnds puts the ends of a partition and the lag into a row. What retention has
// taken away cannot be consumed any more and is no lag.
func addEnds(info *protocol.GroupInfo, row *protocol.GroupPartition, e *ends) {
	if e.err != nil {
		row.Error = e.err.Error()
		return
	}
	row.LogStart, row.EndOffset = &e.reply.LogStart, &e.reply.EndOffset
	if row.Committed == nil {
		return
	}
	lag := max(int64(e.reply.EndOffset-max(*row.Committed, e.reply.LogStart)), 0)
	row.Lag = &lag
	info.Lag += lag
}

// end answers everybody: this incarnation decides nothing more.
func (g *group) end(ctx actor.Context, refusal *protocol.Error) {
	if g.timer != nil {
		g.timer.Stop()
		g.timer = nil
	}
	if g.lag != nil {
		g.lag.Stop()
	}
	if !g.resting {
		g.all.metrics.lag.DeletePartialMatch(prometheus.Labels{"group": g.name})
	}
	for _, h := range g.held {
		for _, a := range h.answers {
			g.answer(ctx, core.Answer{To: a.To, Value: refusal})
		}
	}
	g.held = nil
	for to := range g.working {
		g.answer(ctx, core.Answer{To: to, Value: refusal})
	}
	for _, a := range g.core.DismissAll(refusal) {
		g.answer(ctx, a)
	}
}

// Crashed answers everybody; the parent makes a new group from the log at the
// next request.
func (g *group) Crashed(ctx actor.Context, err error) {
	refusal := protocol.ErrUnavailable.With("%v: try again", err)
	if g.current != nil {
		g.answer(ctx, core.Answer{To: g.current, Value: refusal})
	}
	g.end(ctx, refusal)
}

// groupTopics is what groups know of all topics.
func groupTopics(r *actors.Routes) map[string]core.Topic {
	if r == nil {
		return nil
	}
	out := make(map[string]core.Topic, len(r.Topics))
	for name, t := range r.Topics {
		if len(t.All) > 0 {
			out[name] = core.Topic{IDs: t.All, Born: t.Born}
		}
	}
	return out
}
