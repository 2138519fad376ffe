package actors

import (
	"maps"
	"slices"
	"time"

	"metaq/protocol"
)

// The part of groupCore that is about topics coming, growing and going.

// lists returns the partitions of the wanted topics. Those of a topic that went
// missing stay for a while.
func (c *groupCore) lists(now time.Time, wanted map[string]bool) map[string][]protocol.PartitionID {
	out := make(map[string][]protocol.PartitionID, len(wanted))
	for t := range wanted {
		if list, found := c.routes[t]; found {
			out[t] = list
			delete(c.missing, t)
			continue
		}
		since, found := c.missing[t]
		if !found {
			since = now
			c.missing[t] = now
		}
		if now.Sub(since) < topicLinger {
			out[t] = c.held(t)
		}
	}
	maps.DeleteFunc(c.missing, func(t string, _ time.Time) bool { return !wanted[t] })
	return out
}

// held are the partitions of a topic that have an owner or a target, sorted.
func (c *groupCore) held(topic string) []protocol.PartitionID {
	var out []protocol.PartitionID
	for at, p := range c.parts {
		if at.Topic == topic && (p.owner != "" || p.target != "") {
			out = append(out, at.Partition)
		}
	}
	slices.SortFunc(out, protocol.PartitionID.Compare)
	return out
}

// targeted says whether a partition of the topic has a target.
func (c *groupCore) targeted(topic string) bool {
	for at, p := range c.parts {
		if at.Topic == topic && p.target != "" {
			return true
		}
	}
	return false
}

// topicsChanged takes a new picture of the topics.
func (c *groupCore) topicsChanged(now time.Time, routes map[string][]protocol.PartitionID) groupEffects {
	old := c.routes
	c.routes = routes
	changed := false
	for _, m := range c.members {
		for _, t := range m.join.Topics {
			was, had := old[t]
			is, has := routes[t]
			changed = changed || had != has || !slices.Equal(was, is)
		}
	}
	// Nothing changes either when a topic comes back, or comes for the first time
	// after a restart, with the partitions that the members hold.
	if changed && !c.balanced(now) {
		c.rebalance(now)
	}
	return c.settle(now)
}

// balanced says that the targets cover exactly the partitions that there are.
func (c *groupCore) balanced(now time.Time) bool {
	wanted := map[string]bool{}
	for _, m := range c.members {
		for _, t := range m.join.Topics {
			wanted[t] = true
		}
	}
	covered := 0
	for t, list := range c.lists(now, wanted) {
		for _, id := range list {
			if p := c.parts[protocol.TopicPartition{Topic: t, Partition: id}]; p == nil || p.target == "" {
				return false
			}
			covered++
		}
	}
	for _, p := range c.parts {
		if p.target != "" {
			covered--
		}
	}
	return covered == 0
}
