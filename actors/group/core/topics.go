package core

import (
	"maps"
	"slices"
	"time"

	"metaq/protocol"
)

// The part of Group that is about topics coming, growing and going.

// lists returns the partitions of the wanted topics. Those of a topic that went
// missing stay for a while.
func (c *Group) lists(now time.Time, wanted map[string]bool) map[string][]protocol.PartitionID {
	out := make(map[string][]protocol.PartitionID, len(wanted))
	for t := range wanted {
		if list, found := c.Routes[t]; found {
			out[t] = list.IDs
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
func (c *Group) held(topic string) []protocol.PartitionID {
	var out []protocol.PartitionID
	for at, p := range c.Parts {
		if at.Topic == topic && (p.owner != "" || p.target != "") {
			out = append(out, at.Partition)
		}
	}
	slices.SortFunc(out, protocol.PartitionID.Compare)
	return out
}

// targeted says whether a partition of the topic has a target.
func (c *Group) targeted(topic string) bool {
	for at, p := range c.Parts {
		if at.Topic == topic && p.target != "" {
			return true
		}
	}
	return false
}

// TopicsChanged takes a new picture of the topics.
func (c *Group) TopicsChanged(now time.Time, routes map[string]Topic) Effects {
	old := c.Routes
	c.Routes = routes
	c.renew(now)
	changed := false
	for _, m := range c.Members {
		for _, t := range m.join.Topics {
			was, had := old[t]
			is, has := routes[t]
			changed = changed || had != has || !slices.Equal(was.IDs, is.IDs)
		}
	}
	// Nothing changes either when a topic comes back, or comes for the first time
	// after a restart, with the partitions that the members hold.
	if changed && !c.balanced(now) {
		c.rebalance(now)
	}
	return c.Settle(now)
}

// renew makes a group begin anew in topics that were deleted and made again: its offsets
// there become 0, not unknown, since whatever came into the new topic came after it. Who
// works on partitions of the old one is put out: a commit of his, and what he would go on
// to process, would make the group skip what the new one has below.
func (c *Group) renew(now time.Time) {
	gone := map[string]string{} // members to put out, and why
	born := map[string]protocol.Epoch{}
	for at, p := range c.Parts {
		b := c.Routes[at.Topic].Born
		if b <= c.Born[at.Topic] {
			continue
		}
		born[at.Topic] = b
		if p.owner != "" {
			gone[p.owner] = at.Topic
		}
	}
	if len(born) == 0 || c.Bug == keepOffsets {
		return
	}
	maps.Copy(c.Born, born)
	for at, p := range c.Parts {
		if _, anew := born[at.Topic]; anew && p.Known {
			p.Committed, p.epoch, p.Log = 0, 0, protocol.Lineage{}
			p.stopped, p.diverged = false, nil
			c.Doubt(at)
			c.commits[at] = true
		}
	}
	for _, id := range slices.Sorted(maps.Keys(gone)) {
		if m := c.Members[id]; m != nil {
			c.remove(m, protocol.ErrNoMember.With("topic %s was deleted and made again, which puts out who worked on it: join again under a new name", gone[id]))
		}
	}
	c.rebalance(now)
}

// past says that only an earlier topic of the same name had the partition: a new one may
// have fewer.
func (c *Group) past(at protocol.TopicPartition, p *groupPart) bool {
	if c.Born[at.Topic] == 0 || p.Committed > 0 || p.owner != "" || p.target != "" {
		return false
	}
	t, known := c.Routes[at.Topic]
	_, found := slices.BinarySearchFunc(t.IDs, at.Partition, protocol.PartitionID.Compare)
	return known && !found
}

// balanced says that the targets cover exactly the partitions that there are.
func (c *Group) balanced(now time.Time) bool {
	wanted := map[string]bool{}
	for _, m := range c.Members {
		for _, t := range m.join.Topics {
			wanted[t] = true
		}
	}
	covered := 0
	for t, list := range c.lists(now, wanted) {
		for _, id := range list {
			if p := c.Parts[protocol.TopicPartition{Topic: t, Partition: id}]; p == nil || p.target == "" {
				return false
			}
			covered++
		}
	}
	for _, p := range c.Parts {
		if p.target != "" {
			covered--
		}
	}
	return covered == 0
}
