package group

import (
	"maps"
	"slices"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/prometheus/client_golang/prometheus"

	"metaq/actors"
	"metaq/actors/group/core"
	"metaq/protocol"
)

// The lag of groups without members. A group measures its own while it has an actor; one
// that nobody asks for has none, and its backlog is what an operator wants to see.

const (
	// lagQuestions bounds the partitions that one look asks for. Groups of the same topic
	// share the questions; those that do not fit have their turn at the next look.
	lagQuestions = 2000
	// lagGroups bounds the groups without members that the metric shows, the first ones by
	// name: each costs a series for each of its topics.
	lagGroups = 1000
)

// idleLag is what the parent knows of the lag of groups without an actor.
type idleLag struct {
	held  map[string]bool // groups that nobody has claimed since the start, and that are this broker's
	shown map[string]bool // groups that the metric shows
	next  string          // the first group of the next look
	busy  bool            // a look is under way
}

// lagMeasured is the result of a look.
type lagMeasured struct {
	topics map[string]map[string]int64 // by group and topic
}

// resting are the groups to look at, sorted: those that are coordinated here and have
// offsets and no actor.
func (g *groups) resting() []string {
	var out []string
	for name, image := range g.journal.images {
		ours := g.deps.Coordination == nil || g.claims[name] > 0 || g.idle.held[name]
		if ours && len(image.Offsets) > 0 && g.children[name] == nil && g.deletions[name] == nil {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out[:min(len(out), lagGroups)]
}

// measureIdle lets a worker look at the lag of groups without an actor.
func (g *groups) measureIdle(ctx actor.Context) {
	if g.stopping || g.idle.busy || g.journal.store == nil {
		return
	}
	all := g.resting()
	for name := range g.idle.shown {
		if _, rests := slices.BinarySearch(all, name); !rests && g.children[name] == nil {
			g.metrics.lag.DeletePartialMatch(prometheus.Labels{"group": name})
			delete(g.idle.shown, name)
		}
	}
	first, _ := slices.BinarySearch(all, g.idle.next)
	asked := map[protocol.TopicPartition]bool{}
	part := map[string]*core.Image{}
	g.idle.next = ""
	for _, name := range slices.Concat(all[first:], all[:first]) {
		image := g.journal.images[name]
		if len(part) > 0 && len(asked)+len(image.Offsets) > lagQuestions {
			g.idle.next = name
			break
		}
		part[name] = image.Clone()
		for at := range image.Offsets {
			asked[at] = true
		}
	}
	if len(part) == 0 {
		return
	}
	g.idle.busy = true
	self, routes := ctx.Self(), g.routes.routes
	g.workers.Run(func() {
		g.system.Root.Send(self, lagMeasured{g.lagOf(part, routes, slices.Collect(maps.Keys(asked)))})
	})
}

// lagOf asks for the ends of partitions and adds up the lag in them. It blocks.
func (g *groupsShared) lagOf(images map[string]*core.Image, routes *actors.Routes, at []protocol.TopicPartition) map[string]map[string]int64 {
	leaders := make([]*actor.PID, len(at))
	for i, p := range at {
		if routes != nil && routes.Topics[p.Topic] != nil {
			leaders[i], _ = routes.Topics[p.Topic].Leader(p.Partition)
		}
	}
	known := map[protocol.TopicPartition]protocol.OffsetsReply{}
	for i, e := range askOffsets(g.system, leaders, protocol.OffsetsRequest{}, askTimeout) {
		if e.err == nil {
			known[at[i]] = e.reply
		}
	}
	out := map[string]map[string]int64{}
	for name, image := range images {
		out[name] = map[string]int64{}
		for p, place := range image.Offsets {
			reply, heard := known[p]
			if !heard {
				continue
			}
			committed := place.Offset
			if routes.Topics[p.Topic].Born > image.Born[p.Topic] {
				committed = 0 // in an earlier topic of that name
			}
			out[name][p.Topic] += max(int64(reply.EndOffset-max(committed, reply.LogStart)), 0)
		}
	}
	return out
}

// lagMeasured shows what a look has found, but not of groups that have an actor by now.
func (g *groups) lagMeasured(m lagMeasured) {
	g.idle.busy = false
	for name, topics := range m.topics {
		if g.children[name] != nil || g.journal.images[name] == nil {
			continue
		}
		for topic, lag := range topics {
			g.metrics.lag.WithLabelValues(name, topic).Set(float64(lag))
			g.idle.shown[name] = true
		}
	}
}
