package transport

import (
	"slices"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/nats-io/nats.go"

	"metaq/actors"
	"metaq/protocol"
)

// topicState is what the dispatcher keeps of a topic beside its route.
type topicState struct {
	route    *actors.TopicRoute
	turn     int        // where the next message without a key begins to look
	accounts []*account // of puts; accounts[i] is that of route.All[i]
	reads    []*account
	runs     []run // puts that are to be sent; runs[i] is that of route.All[i]
}

// topic returns the state of a topic, or nil when there is no such topic.
func (g *Gateway) topic(name string) *topicState {
	if r := g.routes.Load(); r != g.seen {
		g.learn(r)
	}
	return g.topics[name]
}

// learn takes over new routes. Accounts go with their partition, so that what is
// in flight stays counted.
func (g *Gateway) learn(r *actors.Routes) {
	g.seen = r
	for name := range g.topics {
		if r.Topics[name] == nil {
			delete(g.topics, name)
		}
	}
	for name, route := range r.Topics {
		old := g.topics[name]
		if old == nil {
			old = &topicState{route: &actors.TopicRoute{}}
		}
		if old.route == route {
			continue
		}
		t := &topicState{
			route: route, turn: old.turn,
			accounts: make([]*account, len(route.All)), reads: make([]*account, len(route.All)),
			runs: make([]run, len(route.All)),
		}
		for i, id := range route.All {
			if was, found := old.index(id); found {
				t.accounts[i], t.reads[i] = old.accounts[was], old.reads[was]
				continue
			}
			t.accounts[i] = newAccount(g.puts, g.opts.Partition)
			t.reads[i] = newAccount(g.reads, g.opts.PartitionReads)
		}
		g.topics[name] = t
	}
}

func (t *topicState) index(id protocol.PartitionID) (int, bool) {
	return slices.BinarySearchFunc(t.route.All, id, protocol.PartitionID.Compare)
}

// pick chooses the partition of a message that names none: by the hash of its
// key over all partitions, also those without a leader, so that the order by key
// survives a leader's absence; without a key the next partition in turn that has
// a leader.
func (t *topicState) pick(key []byte, there func(*actors.TopicRoute, int) bool) (int, error) {
	n := len(t.route.All)
	if n == 0 {
		return 0, protocol.ErrUnavailable.With("topic %s has no partition yet: try again", t.route.Name)
	}
	if key != nil {
		i := protocol.PartitionOf(key, n)
		if t.route.Leaders[i] != nil && !there(t.route, i) {
			return i, protocol.ErrUnavailable.With("broker %d, which leads partition %s of topic %s, is not connected: try again",
				t.route.All[i].Home, t.route.All[i], t.route.Name)
		}
		return i, t.led(i)
	}
	for k := range n {
		if i := (t.turn + k) % n; there(t.route, i) {
			t.turn = i + 1
			return i, nil
		}
	}
	return 0, protocol.ErrUnavailable.With("no partition of topic %s has a leader now: try again", t.route.Name)
}

// find returns the index of a partition that was named.
func (t *topicState) find(id protocol.PartitionID) (int, error) {
	i, found := t.index(id)
	if !found {
		return 0, protocol.ErrNoPartition.With("topic %s has no partition %s: see metaq topic info %s", t.route.Name, id, t.route.Name)
	}
	return i, t.led(i)
}

// only returns the index of the one partition that all messages of a target without a key
// go to; ok is false when there are several, or nobody leads it.
func (t *topicState) only(to *target) (i int, ok bool) {
	switch {
	case to.one:
		i, ok = t.index(to.partition)
	case len(t.route.All) == 1:
		ok = true
	}
	return i, ok && t.route.Leaders[i] != nil
}

func (t *topicState) led(i int) error {
	if t.route.Leaders[i] == nil {
		return protocol.ErrUnavailable.With("partition %s of topic %s has no leader now: try again", t.route.All[i], t.route.Name)
	}
	return nil
}

// noTopic refuses a request for a topic that has no route.
func (g *Gateway) noTopic(name string) error {
	if g.seen != nil && g.seen.Deleting[name] {
		return protocol.ErrUnavailable.With("topic %s is being deleted: try again", name)
	}
	return protocol.ErrNoTopic.With("no topic %s: create it with metaq topic create %s, or see metaq topic ls", name, name)
}

// send hands message to an actor with the reply subject of m as its sender.
func (g *Gateway) send(to *actor.PID, message any, m *nats.Msg) {
	if g.opts.Events.Route != nil {
		g.opts.Events.Route(actors.Event{})
	}
	if m.Reply == "" {
		g.system.Root.Send(to, message)
		return
	}
	g.system.Root.RequestWithCustomSender(to, message, g.replies.PID(m.Reply))
}
