package topic

import (
	"context"
	"errors"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"metaq/actors"
	"metaq/protocol"
)

// Messages to the topics actor about the other brokers.
type (
	fateKnown struct {
		entry *topicEntry
		fate  actors.Fate
		err   error
	}
	madeAgain  struct{} // a topic that has gone from here is in the registry
	heardTopic struct { // what the other brokers said of a topic
		asker *actor.PID
		topic string
		heard []protocol.TopicInfo
	}
	announceDue struct { // the others have had time enough to open a topic
		actors.IgnoreDeadLetter
		entry *topicEntry
	}
)

// announceWait is how long the other brokers have to open a new topic.
const announceWait = 2500 * time.Millisecond

// follow begins to take the members of the cluster.
func (t *topics) follow(ctx actor.Context) {
	if t.env.deps.Cluster == nil {
		return
	}
	self := ctx.Self()
	t.env.deps.Cluster.Follow(func(m *actors.Members) { t.env.Tell(self, m) })
}

// joined takes a new picture of the cluster.
func (t *topics) joined(ctx actor.Context, m *actors.Members) {
	t.core.members = m
	ctx.Send(ctx.Parent(), m)
	if t.loading || t.ending {
		return
	}
	for i := range m.Topics {
		if e := t.core.byName[m.Topics[i].Name]; m.Topics[i].Behind && e != nil && e.pid != nil {
			t.log.Warn("registry is behind what was seen of a topic, claiming its partitions again", "topic", m.Topics[i].Name)
			ctx.Send(e.pid, reclaim{})
		}
	}
	t.reconcile(ctx, true)
	t.publish()
	for _, e := range t.core.byName {
		t.announce(ctx, e, false)
	}
}

// reconcile makes the topics here those of the registry. fresh says that the members
// are news.
func (t *topics) reconcile(ctx actor.Context, fresh bool) {
	if t.core.members == nil || t.ending || t.loading || !fresh && !t.unequal {
		return
	}
	for name := range t.unserved {
		if t.core.members.Topic(name) == nil {
			t.served(name)
		}
	}
	var steps []memberStep
	steps, t.unequal = t.core.compare(t.core.members, t.env.Home, fresh)
	for _, s := range steps {
		switch {
		case s.install != nil:
			t.adopt(ctx, *s.install)
		case s.change != nil:
			settings, err := t.core.resolve(s.to.Name, s.to.Config)
			if err != nil {
				t.log.Error("topic's new configuration cannot be used here", "topic", s.to.Name, "error", err)
				continue
			}
			t.become(ctx, s.change, s.to, settings)
		case s.missing != nil:
			t.lookFor(ctx, s.missing)
		}
	}
}

// adopt opens a topic that another broker has created.
func (t *topics) adopt(ctx actor.Context, topic actors.Topic) {
	settings, err := t.core.resolve(topic.Name, topic.Config)
	if err != nil {
		t.cannotServe(topic, err)
		return
	}
	t.served(topic.Name)
	t.log.Info("topic of another broker opens here", "topic", topic.Name, "partitions", topic.Partitions)
	e := &topicEntry{topic: topic, settings: settings}
	t.core.byName[topic.Name] = e
	t.install(ctx, e)
}

// cannotServe logs once why a topic of the registry does not open here. Each reading of the
// registry tries again.
func (t *topics) cannotServe(topic actors.Topic, why error) {
	if t.unserved[topic.Name] != why.Error() {
		t.unserved[topic.Name] = why.Error()
		t.log.Error("topic does not serve: correct or delete its record in the registry", "topic", topic.Name, "error", why)
	}
	t.env.unserved.Set(float64(len(t.unserved)))
}

// served forgets that a topic could not be opened.
func (t *topics) served(name string) {
	delete(t.unserved, name)
	t.env.unserved.Set(float64(len(t.unserved)))
}

// unknown looks into a topic whose partitions cannot be claimed, since the registry does
// not have it: it was deleted while it was opened here.
func (t *topics) unknown(ctx actor.Context, e *topicEntry) {
	if t.env.deps.Cluster != nil && !t.ending && (e.phase == topicInstalling || e.phase == topicReady) {
		t.lookFor(ctx, e)
	}
}

// lookAgain asks whether a topic that has gone from here is there again, as the members
// say: they may be those of before its deletion.
func (t *topics) lookAgain(ctx actor.Context, name string) {
	if t.ending || t.core.members.Topic(name) == nil {
		return
	}
	self, cluster, fates := ctx.Self(), t.env.deps.Cluster, t.fates
	t.env.Calls.Run(func() {
		call, cancel := context.WithTimeout(fates, t.env.Options.CallTimeout)
		defer cancel()
		fate, err := cluster.Fate(call, name)
		switch {
		case err != nil:
			t.log.Warn("cannot ask whether a topic was made again", "topic", name, "error", err)
		case fate != actors.FateDeleted && fate != actors.FateForgotten:
			t.env.Tell(self, madeAgain{})
		}
	})
}

// lookFor asks what became of a topic that the members do not have.
func (t *topics) lookFor(ctx actor.Context, e *topicEntry) {
	e.phase = topicChanging
	self, name, cluster, entry, fates := ctx.Self(), e.topic.Name, t.env.deps.Cluster, e, t.fates
	t.env.Calls.Run(func() {
		call, cancel := context.WithTimeout(fates, t.env.Options.CallTimeout)
		defer cancel()
		fate, err := cluster.Fate(call, name)
		t.env.Tell(self, fateKnown{entry, fate, err})
	})
}

func (t *topics) fateKnown(ctx actor.Context, m fateKnown) {
	e := m.entry
	e.phase = topicReady
	if t.ending {
		t.endNext(ctx)
		return
	}
	defer t.reconcile(ctx, false)
	topic := e.topic
	switch {
	case m.err != nil:
		t.log.Warn("cannot ask what became of a topic", "topic", topic.Name, "error", m.err)
	case m.fate == actors.FateDeleted, m.fate == actors.FateReplaced:
		if m.fate == actors.FateReplaced {
			t.log.Warn("topic was deleted and made again, its old messages go", "topic", topic.Name)
		}
		e.phase = topicDeleting
		t.refuseAskers(ctx, e, t.stopRefusal(e))
		t.publish()
		ctx.Send(e.pid, stopTopic{t.stopRefusal(e)})
	case m.fate == actors.FateUnclaimed:
		t.log.Warn("registry has forgotten who leads a topic's partitions here, claiming them again", "topic", topic.Name)
		ctx.Send(e.pid, reclaim{})
	case m.fate == actors.FateForgotten:
		t.log.Warn("registry has forgotten a topic, entering it again", "topic", topic.Name)
		e.phase = topicChanging
		t.call(ctx, func(ctx context.Context, r actors.Registry) any {
			_, err := r.CreateTopic(ctx, topic)
			if errors.Is(err, protocol.ErrExists) {
				err = nil // another broker was faster
			}
			return reentered{e, err}
		})
	}
}

// reentered: the registry has the topic again.
type reentered struct {
	entry *topicEntry
	err   error
}

func (t *topics) reentered(ctx actor.Context, m reentered) {
	m.entry.phase = topicReady
	if m.err != nil {
		t.log.Warn("cannot enter the topic again", "topic", m.entry.topic.Name, "error", m.err)
	} else if !t.ending {
		ctx.Send(m.entry.pid, reclaim{})
	}
	t.endNext(ctx)
}

// describeAll answers with the topic's partitions on all brokers.
func (t *topics) describeAll(ctx actor.Context, asker *actor.PID, e *topicEntry) {
	others := t.core.members.Others(t.env.Home)
	if len(others) == 0 {
		actors.Respond(ctx, asker, t.core.gatherTopic(e.info(), nil, t.env.Home))
		return
	}
	self, name, cluster := ctx.Self(), e.topic.Name, t.env.deps.Cluster
	t.env.Asks.Run(func() {
		heard := actors.FromAll(others, func(ctx context.Context, broker int) (protocol.TopicInfo, error) {
			return cluster.PeerTopic(ctx, broker, name)
		})
		m := heardTopic{asker: asker, topic: name}
		for _, h := range heard {
			m.heard = append(m.heard, h)
		}
		t.env.Tell(self, m)
	})
}

func (t *topics) heardTopic(ctx actor.Context, m heardTopic) {
	e, err := t.core.served(m.topic)
	if err != nil {
		t.env.Refuse(ctx, m.asker, err)
		return
	}
	actors.Respond(ctx, m.asker, t.core.gatherTopic(e.info(), m.heard, t.env.Home))
}

// listAll answers with the topics of all brokers.
func (t *topics) listAll(ctx actor.Context, asker *actor.PID) {
	own, others, cluster := t.core.list(), t.core.members.Others(t.env.Home), t.env.deps.Cluster
	if len(others) == 0 {
		actors.Respond(ctx, asker, own)
		return
	}
	t.env.Asks.Run(func() {
		lists := []protocol.TopicList{own}
		for _, l := range actors.FromAll(others, cluster.PeerTopics) {
			lists = append(lists, l)
		}
		t.env.Tell(asker, gatherList(lists))
	})
}

// announce answers who waits for a new topic once every broker has opened it: a
// producer that knew only some of the partitions would hash its keys over those.
func (t *topics) announce(ctx actor.Context, e *topicEntry, waited bool) {
	if len(e.announced) == 0 || !waited && !t.everywhere(e) {
		return
	}
	askers := e.announced
	e.announced = nil
	for _, asker := range askers {
		t.describeAll(ctx, asker, e)
	}
}

// everywhere says whether all registered brokers have claimed the topic's partitions.
func (t *topics) everywhere(e *topicEntry) bool {
	m := t.core.members.Topic(e.topic.Name)
	if m == nil {
		return false
	}
	for _, b := range t.core.members.Brokers {
		n := 0
		for _, id := range m.Claimed {
			if id.Home == b.BrokerID {
				n++
			}
		}
		if n < e.topic.Partitions {
			return false
		}
	}
	return true
}

// tellAskers answers who waits for the topic to be ready.
func (t *topics) tellAskers(ctx actor.Context, e *topicEntry) {
	askers := e.askers
	e.askers = nil
	if t.env.deps.Cluster == nil {
		for _, asker := range askers {
			actors.Respond(ctx, asker, e.info())
		}
		return
	}
	if len(askers) == 0 {
		return
	}
	e.announced = append(e.announced, askers...)
	t.env.Later(announceWait, ctx.Self(), announceDue{entry: e})
	t.announce(ctx, e, false)
}

// answer describes the topic to who asked for it.
func (t *topics) answer(ctx actor.Context, asker *actor.PID, e *topicEntry) {
	if t.env.deps.Cluster == nil {
		actors.Respond(ctx, asker, e.info())
		return
	}
	t.describeAll(ctx, asker, e)
}

// Refuse implements Refusable: the broker stopped while others were asked.
func (m heardTopic) Refuse(_ *actor.PID, refuse func(*actor.PID)) { refuse(m.asker) }
