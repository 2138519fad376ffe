package topic

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"metaq/actors"
	"metaq/actors/partition"
	"metaq/protocol"
)

// Messages to the topics actor from the broker actor, its workers and timers.
type (
	// Begin loads the topics and opens them all.
	Begin struct{} // answered with Begun
	// End stops them all.
	End    struct{} // answered with Ended
	loaded struct {
		topics   []actors.Topic
		unserved []error // why configured ones are not among them
		err      error
	}
	created struct {
		entry *topicEntry
		topic actors.Topic // as the registry has it
		err   error
	}
	changed struct {
		entry    *topicEntry
		to       actors.Topic
		settings actors.Settings
		err      error
	}
	unregistered struct {
		entry *topicEntry
		err   error
	}
	setAside struct {
		entry *topicEntry
		err   error
	}
	lingered struct {
		actors.IgnoreDeadLetter
		pid *actor.PID
	}
	retentionDue struct {
		actors.IgnoreDeadLetter
		generation uint64
	}
	// SweepDue comes when partitions are to be looked at.
	SweepDue struct{ actors.IgnoreDeadLetter }
	// ListFailed asks for the partitions that do not serve: the answer is
	// []protocol.FailedPartition, sent as FailedList. node says that another broker
	// asks, who wants to hear of this one alone.
	ListFailed struct {
		Asker *actor.PID
		Node  bool
	}
	// FailedList answers ListFailed.
	FailedList struct {
		ListFailed
		Failed []protocol.FailedPartition
	}
)

// Messages of the topics actor to the broker actor.
type (
	// Begun answers Begin.
	Begun struct{ Err error } // all topics are open, or the broker must not start
	// Ended answers End.
	Ended struct{} // all logs are closed
)

// topics is the parent of all topics: it creates, changes and deletes them,
// publishes the routes, and has the broker's one timer for retention and the one
// for idle partitions.
type topics struct {
	env     *Env
	cluster *actor.PID
	log     *slog.Logger
	core    topicsCore

	starting bool         // the broker waits for all topics to settle
	loading  bool         // the registry is asked for the topics
	unequal  bool         // topics differ from the members' and were busy when it was seen
	heard    actors.Heard // of the request in hand
	creators actors.Creators
	ending   bool
	down     bool // all have stopped
	spawned  int  // topics spawned, for unique names
	// unserved are topics of the registry that cannot be opened here, and why.
	unserved map[string]string

	fates     context.Context // of questions about topics' fates; ends with the topics
	stopFates context.CancelFunc

	retention  *time.Timer
	generation uint64
	sweeper    *time.Timer
}

// New returns the topics actor, for Spawn.
func New(e *Env, cluster *actor.PID) actors.Receiver {
	t := &topics{
		env: e, cluster: cluster, log: e.Log, unserved: make(map[string]string),
		creators: actors.Creators{PerMinute: e.Options.AutoCreateRate, By: map[string]*actors.Creator{}},
		core:     topicsCore{opts: e.Options, resolve: e.deps.Resolve, byName: make(map[string]*topicEntry)},
	}
	t.fates, t.stopFates = context.WithCancel(context.Background())
	return t
}

// Receive is the actor.
func (t *topics) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case actors.Dated:
		t.dated(ctx, m)
	case actors.CreateTopic, actors.SetTopic, actors.DeleteTopic:
		t.asked(ctx, m)
	case actors.ListTopics:
		t.listAll(ctx, ctx.Sender())
	case actors.ListOwn:
		actors.Respond(ctx, ctx.Sender(), t.core.list())
	case actors.DescribeOwn:
		t.describeOwn(ctx, m.Topic)
	case *actors.Members:
		t.joined(ctx, m)
	case fateKnown:
		t.fateKnown(ctx, m)
	case reentered:
		t.reentered(ctx, m)
	case heardTopic:
		t.heardTopic(ctx, m)
	case announceDue:
		t.announce(ctx, m.entry, true)
	case askerDue:
		t.due(ctx, m)
	case actors.DescribeTopic:
		t.describe(ctx, m.Topic)
	case actors.AutoCreate:
		t.autoCreate(ctx, m)
	case ListFailed:
		actors.Respond(ctx, ctx.Sender(), FailedList{m, t.core.failed()})
	case Begin:
		t.begin(ctx)
	case loaded:
		t.loaded(ctx, m)
	case created:
		t.created(ctx, m)
	case changed:
		t.changed(ctx, m)
	case unregistered:
		t.unregistered(ctx, m)
	case setAside:
		t.setAside(ctx, m)
	case topicSpawned:
		t.topicSpawned(ctx, m)
	case madeAgain:
		t.reconcile(ctx, true)
	case topicUnknown:
		t.unknown(ctx, m.entry)
	case topicSettled:
		t.settled(ctx, m.entry)
	case topicStopped:
		t.stopped(ctx, m.entry)
	case lingered:
		ctx.Stop(m.pid)
	case retentionDue:
		if m.generation == t.generation {
			t.retain(ctx)
		}
	case SweepDue:
		for _, e := range t.core.byName {
			t.send(ctx, e, partition.Sweep{})
		}
		t.sweeper = t.env.Later(t.env.Options.Sweep, ctx.Self(), SweepDue{})
	case End:
		t.end(ctx)
	case *actor.Stopping, *actor.Restarting:
		t.stopFates()
		t.stopTimers()
	}
}

// begin loads the topics and opens them all.
func (t *topics) begin(ctx actor.Context) {
	t.starting, t.loading = true, true
	t.follow(ctx)
	t.sweeper = t.env.Later(t.env.Options.Sweep, ctx.Self(), SweepDue{})
	configured, source := t.env.deps.Topics, t.env.deps.Source
	t.call(ctx, func(ctx context.Context, r actors.Registry) any {
		all, unserved, err := loadTopics(ctx, r, configured, source, t.env.deps.Cluster != nil)
		return loaded{all, unserved, err}
	})
}

func (t *topics) call(ctx actor.Context, do func(context.Context, actors.Registry) any) {
	ctx.Send(t.cluster, actors.RegistryCall{To: ctx.Self(), Do: do})
}

func (t *topics) loaded(ctx actor.Context, m loaded) {
	t.loading = false
	if t.ending {
		return
	}
	err := m.err
	for _, why := range m.unserved {
		t.log.Error("topic does not serve", "error", why)
	}
	for _, topic := range m.topics {
		settings, why := t.usable(topic)
		if why != nil && t.misconfigured(topic.Name) {
			err = errors.Join(err, fmt.Errorf("topic %s: %w", topic.Name, why))
			continue
		}
		if why != nil {
			// Its settings are the registry's: whoever could write there must not be able to stop
			// every broker's start.
			t.cannotServe(topic, why)
			continue
		}
		t.core.byName[topic.Name] = &topicEntry{topic: topic, settings: settings}
	}
	if err != nil {
		t.starting = false
		clear(t.core.byName) // none has been opened
		ctx.Send(ctx.Parent(), Begun{err})
		return
	}
	for _, e := range t.core.byName {
		t.install(ctx, e)
	}
	t.reconcile(ctx, true)
	t.publish()
	t.up(ctx)
}

// usable returns a topic's settings, or why it cannot be opened with them.
func (t *topics) usable(topic actors.Topic) (actors.Settings, error) {
	settings, err := t.core.resolve(topic.Name, topic.Config)
	if err == nil {
		err = t.core.listening(topic.Name, settings.Subjects)
	}
	return settings, err
}

// misconfigured reports whether a topic is configured here in a way that cannot be used:
// that is this broker's own mistake, and stops its start.
func (t *topics) misconfigured(name string) bool {
	return slices.ContainsFunc(t.env.deps.Topics, func(c actors.Topic) bool {
		if c.Name != name {
			return false
		}
		_, err := t.usable(c)
		return err != nil
	})
}

// up reports once all topics have settled.
func (t *topics) up(ctx actor.Context) {
	if !t.starting {
		return
	}
	for _, e := range t.core.byName {
		if e.phase == topicInstalling {
			return
		}
	}
	t.starting = false
	ctx.Send(ctx.Parent(), Begun{})
}

// install spawns the topic's actor.
func (t *topics) install(ctx actor.Context, e *topicEntry) {
	name := e.topic.Name
	spawnName := name
	t.spawned++
	if t.spawned > 1 && t.taken(ctx, name) {
		spawnName = fmt.Sprintf("%s~%d", name, t.spawned) // the one before still lingers
	}
	settings, partitions, born := e.settings, e.topic.Partitions, e.topic.Born
	pid, err := actors.Spawn(ctx, spawnName, t.env.Log, func() actors.Receiver {
		return newTopic(t.env, t.cluster, name, e, settings, partitions, born)
	})
	if err != nil {
		panic(err) // the names are ours alone
	}
	e.pid, e.phase = pid, topicInstalling
	e.schedule(t.env.Now())
	t.rearm(ctx)
}

func (t *topics) taken(ctx actor.Context, name string) bool {
	for _, child := range ctx.Children() {
		if child.Id == ctx.Self().Id+"/"+name {
			return true
		}
	}
	return false
}

func (t *topics) publish() {
	r := t.core.routes()
	if t.env.deps.Cluster != nil {
		for _, route := range r.Topics {
			t.core.complete(route, t.env.Home, t.env.deps.Cluster.Leader)
		}
	}
	t.env.deps.Publish(r)
}

func (t *topics) send(ctx actor.Context, e *topicEntry, m any) {
	if e.pid != nil {
		ctx.Send(e.pid, m)
	}
}

func (t *topics) topicSpawned(ctx actor.Context, m topicSpawned) {
	e := m.entry
	kept := make(map[*partition.Status]bool, len(m.statuses))
	for _, s := range m.statuses {
		kept[s] = true
	}
	for _, s := range e.statuses {
		if !kept[s] {
			s.Drop() // of a topic actor that has crashed
		}
	}
	e.pids, e.statuses = m.pids, m.statuses
	if e.phase == topicDeleting || e.phase == topicStopping {
		ctx.Send(e.pid, stopTopic{t.stopRefusal(e)}) // the crash lost the first one
		return
	}
	t.publish()
}

func (t *topics) settled(ctx actor.Context, e *topicEntry) {
	if e.phase == topicInstalling {
		e.phase = topicReady
	}
	if e.phase == topicReady { // else those who ask wait for a change
		t.tellAskers(ctx, e)
	}
	t.up(ctx)
	t.reconcile(ctx, false)
}

func (t *topics) create(ctx actor.Context, r protocol.TopicCreate) {
	if t.refuseWhileEnding(ctx) {
		return
	}
	e, err := t.core.create(r)
	if err != nil {
		t.env.Refuse(ctx, ctx.Sender(), err)
		return
	}
	t.waits(ctx, e, ctx.Sender())
	t.register(ctx, e, false)
}

// register enters a topic in the registry. use says that it is to be used, whoever
// made it: another broker may do so at the same time.
func (t *topics) register(ctx actor.Context, e *topicEntry, use bool) {
	topic := e.topic
	t.alter(ctx, func(ctx context.Context, r actors.Registry) any {
		made, err := r.CreateTopic(ctx, topic)
		if use && errors.Is(err, protocol.ErrExists) {
			return foundTopic(ctx, r, e)
		}
		return created{entry: e, topic: made, err: err}
	})
}

// foundTopic reads a topic that is there.
func foundTopic(ctx context.Context, r actors.Registry, e *topicEntry) created {
	all, err := r.Topics(ctx)
	if err != nil {
		return created{entry: e, err: err}
	}
	for _, topic := range all {
		if topic.Name == e.topic.Name {
			return created{entry: e, topic: topic}
		}
	}
	err = protocol.ErrUnavailable.With("topic %q exists in the registry and cannot be read: if that stays, correct or delete its record", e.topic.Name)
	return created{entry: e, err: fmt.Errorf("%w (%w)", err, errNotShown)}
}

// errNotShown is wrapped when a topic exists and the registry does not show it.
var errNotShown = errors.New("not among the registry's topics")

func (t *topics) created(ctx actor.Context, m created) {
	if m.err == nil && !t.ending {
		m.entry.topic = m.topic
		t.log.Info("topic created", "topic", m.entry.topic.Name, "partitions", m.entry.topic.Partitions)
		t.install(ctx, m.entry)
		return
	}
	delete(t.core.byName, m.entry.topic.Name)
	if m.err != nil {
		t.refuseAskers(ctx, m.entry, unchanged(m.entry.topic.Name, m.err))
	} else {
		t.refuseAskers(ctx, m.entry, errStopping)
	}
	t.reconcile(ctx, true) // another broker may have made it meanwhile
	t.endNext(ctx)
}

func (t *topics) refuseAskers(ctx actor.Context, e *topicEntry, err error) {
	for _, asker := range slices.Concat(e.askers, e.announced) {
		t.env.Refuse(ctx, asker, err)
	}
	e.askers, e.announced = nil, nil
}

// refuseChange tells those who asked for a change that failed. Who waits for the others to
// open the topic goes on waiting.
func (t *topics) refuseChange(ctx actor.Context, e *topicEntry, err error) {
	err = unchanged(e.topic.Name, err)
	for _, asker := range e.askers {
		t.env.Refuse(ctx, asker, err)
	}
	e.askers = nil
}

// autoCreate answers when the topic is there.
func (t *topics) autoCreate(ctx actor.Context, m actors.AutoCreate) {
	name := m.Topic
	e, ok := t.core.byName[name]
	switch {
	case ok && (e.phase == topicCreating || e.phase == topicInstalling):
		t.waits(ctx, e, ctx.Sender())
	case ok:
		t.describe(ctx, name)
	case !t.env.Options.AutoCreate:
		t.env.Refuse(ctx, ctx.Sender(), protocol.ErrNoTopic.With("no topic %s: create it with metaq topic create %s, or see metaq topic ls", name, name))
	case len(t.core.byName) >= t.env.Options.AutoCreateLimit:
		t.env.Refuse(ctx, ctx.Sender(), protocol.ErrNoTopic.With(
			"no topic %s, and with %d topics none is created at its first use: create it with metaq topic create %s, or raise autoCreateLimit",
			name, len(t.core.byName), name))
	case !t.creators.Take(m.From, t.env.Now()):
		t.env.Refuse(ctx, ctx.Sender(), protocol.ErrBusy.With(
			"no topic %s, and %d topics were created by first uses from here within a minute: back off, create it with metaq topic create %s, or raise autoCreateRate",
			name, t.creators.PerMinute, name))
	case !t.refuseWhileEnding(ctx):
		e, err := t.core.create(protocol.TopicCreate{Topic: name})
		if err != nil {
			t.env.Refuse(ctx, ctx.Sender(), err)
			return
		}
		t.waits(ctx, e, ctx.Sender())
		t.register(ctx, e, true)
	}
}

// describeOwn answers another broker.
func (t *topics) describeOwn(ctx actor.Context, name string) {
	e, err := t.core.served(name)
	if err != nil {
		t.env.Refuse(ctx, ctx.Sender(), err)
		return
	}
	actors.Respond(ctx, ctx.Sender(), e.info())
}

func (t *topics) describe(ctx actor.Context, name string) {
	e, err := t.core.served(name)
	if err != nil {
		t.env.Refuse(ctx, ctx.Sender(), err)
		return
	}
	t.answer(ctx, ctx.Sender(), e)
}

func (t *topics) change(ctx actor.Context, r protocol.TopicSet) {
	if t.refuseWhileEnding(ctx) {
		return
	}
	e, to, settings, err := t.core.change(r)
	if err != nil {
		t.env.Refuse(ctx, ctx.Sender(), err)
		return
	}
	e.phase = topicChanging
	t.waits(ctx, e, ctx.Sender())
	t.alter(ctx, func(ctx context.Context, r actors.Registry) any {
		return changed{e, to, settings, r.SetTopic(ctx, to)}
	})
}

func (t *topics) changed(ctx actor.Context, m changed) {
	e := m.entry
	e.phase = topicReady
	if m.err != nil {
		t.refuseChange(ctx, e, m.err)
		t.reconcile(ctx, false)
		t.endNext(ctx)
		return
	}
	if grew := t.become(ctx, e, m.to, m.settings); !grew {
		askers := e.askers
		e.askers = nil
		for _, asker := range askers {
			t.answer(ctx, asker, e)
		}
		t.reconcile(ctx, false)
	}
	t.endNext(ctx)
}

// become changes a topic here; grew says that partitions open.
func (t *topics) become(ctx actor.Context, e *topicEntry, to actors.Topic, settings actors.Settings) (grew bool) {
	grew = to.Partitions > e.topic.Partitions
	e.topic, e.settings = to, settings
	e.schedule(t.env.Now())
	t.rearm(ctx)
	t.log.Info("topic changed", "topic", to.Name, "partitions", to.Partitions)
	ctx.Send(e.pid, changeTopic{partitions: to.Partitions, settings: settings})
	if grew {
		e.phase = topicInstalling
	} else {
		t.publish()
	}
	return grew
}

// asked takes a request for a change.
func (t *topics) asked(ctx actor.Context, request any) {
	switch m := request.(type) {
	case actors.CreateTopic:
		t.create(ctx, m.Request)
	case actors.SetTopic:
		t.change(ctx, m.Request)
	case actors.DeleteTopic:
		t.remove(ctx, m)
	}
}

// dated takes a request for a change unless its time is over, or its client has gone.
func (t *topics) dated(ctx actor.Context, m actors.Dated) {
	if err := actors.Given(m.Until, t.env.Now(), m.Heard); err != nil {
		t.env.Refuse(ctx, ctx.Sender(), err)
		return
	}
	t.heard = m.Heard
	t.asked(ctx, m.Request)
	t.heard = nil
}

// remove closes the entrance, then the registry forgets the topic, its
// partitions stop, and their logs are set aside.
func (t *topics) remove(ctx actor.Context, m actors.DeleteTopic) {
	if t.refuseWhileEnding(ctx) {
		return
	}
	name := m.Topic
	e, err := t.core.ready(name)
	if err == nil && m.Born != nil && *m.Born != e.topic.Born {
		err = protocol.ErrConflict.With("topic %q was deleted and made again: the one that was meant has born %d, the one that is there has born %d and stays",
			name, *m.Born, e.topic.Born)
	}
	if err != nil {
		t.env.Refuse(ctx, ctx.Sender(), err)
		return
	}
	e.phase = topicDeleting
	t.publish()
	t.waits(ctx, e, ctx.Sender())
	born := e.topic.Born // the one that is meant: by now the registry may have another of its name
	t.alter(ctx, func(ctx context.Context, r actors.Registry) any {
		err := r.DeleteTopic(ctx, name, born)
		if errors.Is(err, protocol.ErrNoTopic) {
			err = nil
		}
		return unregistered{e, err}
	})
}

func (t *topics) unregistered(ctx actor.Context, m unregistered) {
	if m.err != nil {
		m.entry.phase = topicReady
		t.publish()
		t.refuseChange(ctx, m.entry, m.err)
		if errors.Is(m.err, protocol.ErrConflict) && t.env.deps.Cluster != nil && !t.ending {
			t.lookFor(ctx, m.entry) // what is here belongs to a topic that was deleted
		}
		t.reconcile(ctx, true) // it may have happened, seen while it was on its way
		t.endNext(ctx)
		return
	}
	ctx.Send(m.entry.pid, stopTopic{t.stopRefusal(m.entry)})
}

var errStopping = protocol.ErrUnavailable.With("the broker stops: try again")

func (t *topics) stopRefusal(e *topicEntry) *protocol.Error {
	if e.phase == topicDeleting {
		// Not 404: a topic of this name may be there again when the next try comes,
		// and if not, that is told then.
		return protocol.ErrUnavailable.With("topic %q was deleted just now: try again", e.topic.Name)
	}
	return errStopping
}

// stopped: all logs of the topic are closed.
func (t *topics) stopped(ctx actor.Context, e *topicEntry) {
	if e.phase != topicDeleting {
		delete(t.core.byName, e.topic.Name)
		dropAll(e)
		t.refuseAskers(ctx, e, errStopping)
		t.endNext(ctx)
		return
	}
	name, ids, self, store := e.topic.Name, make([]protocol.PartitionID, len(e.statuses)), ctx.Self(), t.env.deps.Logs
	for i, s := range e.statuses {
		ids[i] = s.ID
	}
	t.env.Workers.Run(func() {
		var errs []error
		for _, id := range ids {
			errs = append(errs, store.SetAside(name, id))
		}
		t.env.Tell(self, setAside{e, errors.Join(errs...)})
	})
}

func dropAll(e *topicEntry) {
	for _, s := range e.statuses {
		s.Drop()
	}
}

func (t *topics) setAside(ctx actor.Context, m setAside) {
	e := m.entry
	delete(t.core.byName, e.topic.Name)
	dropAll(e)
	t.publish() // the name is free
	// The partitions refuse what is on its way to them for a while yet.
	t.env.Later(t.env.Options.Linger, ctx.Self(), lingered{pid: e.pid})
	askers := e.askers
	e.askers = nil // else their time would be up later, and they would be answered once more
	for _, asker := range askers {
		if m.err != nil {
			t.env.Refuse(ctx, asker, protocol.ErrInternal.With("topic %q is deleted, but its data is still there: %v", e.topic.Name, m.err))
		} else {
			actors.Respond(ctx, asker, protocol.Done{OK: true})
		}
	}
	t.log.Info("topic deleted", "topic", e.topic.Name)
	t.rearm(ctx)
	t.lookAgain(ctx, e.topic.Name)
	t.endNext(ctx)
}

// retain applies retention where it is due.
func (t *topics) retain(ctx actor.Context) {
	due, _ := t.core.fire(t.env.Now())
	for _, e := range due {
		t.send(ctx, e, partition.Expire{})
	}
	t.rearm(ctx)
}

// rearm sets the one timer for the next retention of any topic.
func (t *topics) rearm(ctx actor.Context) {
	if t.retention != nil {
		t.retention.Stop()
	}
	t.generation++
	now := t.env.Now()
	if _, next := t.core.fire(time.Time{}); !next.IsZero() && !t.ending {
		t.retention = t.env.Later(next.Sub(now), ctx.Self(), retentionDue{generation: t.generation})
	}
}

func (t *topics) stopTimers() {
	for _, timer := range []*time.Timer{t.retention, t.sweeper} {
		if timer != nil {
			timer.Stop()
		}
	}
	t.generation++
}

func (t *topics) refuseWhileEnding(ctx actor.Context) bool {
	if t.ending {
		t.env.Refuse(ctx, ctx.Sender(), errStopping)
	}
	return t.ending
}

// end stops the topics one after the other. Those about which the registry is
// asked just now come when it has answered.
func (t *topics) end(ctx actor.Context) {
	t.ending, t.starting = true, false
	t.stopFates()
	t.stopTimers()
	t.endNext(ctx)
}

func (t *topics) endNext(ctx actor.Context) {
	if !t.ending || t.down {
		return
	}
	var next *topicEntry
	for _, e := range t.core.byName {
		switch e.phase {
		case topicStopping:
			return
		case topicReady, topicInstalling:
			next = e
		default:
		}
	}
	if next != nil {
		next.phase = topicStopping
		ctx.Send(next.pid, stopTopic{errStopping})
	} else if len(t.core.byName) == 0 {
		t.down = true
		ctx.Send(ctx.Parent(), Ended{})
	}
}

// Crashed answers those who wait; the broker stops with the error.
func (t *topics) Crashed(ctx actor.Context, err error) {
	for _, e := range t.core.byName {
		t.refuseAskers(ctx, e, protocol.ErrUnavailable.With("%v: try again", err))
	}
	switch ctx.Message().(type) {
	case actors.Dated, actors.CreateTopic, actors.SetTopic, actors.DeleteTopic, actors.ListTopics, actors.DescribeTopic, actors.AutoCreate:
		t.env.Refuse(ctx, ctx.Sender(), protocol.ErrUnavailable.With("%v: try again", err))
	}
}
