package topic

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"metaq/actors"
	"metaq/protocol"
)

// What the topics actor decides about the other brokers. It is pure.

// memberStep is what a topic needs to become what the members say.
type memberStep struct {
	install *actors.Topic // not known here: open it
	change  *topicEntry   // has grown or has another configuration: becomes to
	to      actors.Topic
	missing *topicEntry // the registry did not show it, or no claim of its partitions here
}

// compare lists what differs between the topics here and those of the members.
// Topics about which something is going on are left out; later says that there are
// such, whose turn comes when that has ended. fresh says that the members are news.
func (c *topicsCore) compare(m *actors.Members, home int, fresh bool) (steps []memberStep, later bool) {
	for i := range m.Topics {
		t := &m.Topics[i]
		e := c.byName[t.Name]
		switch {
		case e == nil:
			steps = append(steps, memberStep{install: &t.Topic})
		case t.Partitions > e.topic.Partitions || !sameConfig(t.Config, e.topic.Config):
			if e.phase != topicReady {
				later = true
				continue
			}
			to := t.Topic
			to.Partitions = max(to.Partitions, e.topic.Partitions)
			to.Born = e.topic.Born // a topic that was made again opens as a new entry
			steps = append(steps, memberStep{change: e, to: to})
		}
	}
	for name, e := range c.byName {
		t := m.Topic(name)
		missing := t == nil || !t.ClaimedBy(home)
		if fresh {
			e.missing = missing && e.phase == topicChanging || t == nil && e.phase == topicInstalling
		} else {
			missing = e.missing
		}
		if missing && e.phase == topicReady {
			e.missing = false
			steps = append(steps, memberStep{missing: e})
		}
		later = later || e.missing
	}
	return steps, later
}

func sameConfig(a, b protocol.TopicConfig) bool {
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && bytes.Equal(x, y)
}

// elsewhere lists the partitions of a topic that have another home, sorted.
func (c *topicsCore) elsewhere(topic string, home int) []protocol.PartitionID {
	t := c.members.Topic(topic)
	if t == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(t.Claimed), func(id protocol.PartitionID) bool { return id.Home == home })
}

// complete adds to a route the partitions that have another home.
func (c *topicsCore) complete(route *actors.TopicRoute, home int, leader func(string, protocol.PartitionID) *actor.PID) {
	for _, id := range c.elsewhere(route.Name, home) {
		at, _ := slices.BinarySearchFunc(route.All, id, protocol.PartitionID.Compare)
		var pid *actor.PID
		if _, there := c.members.Broker(id.Home); there {
			pid = leader(route.Name, id)
		}
		route.All = slices.Insert(route.All, at, id)
		route.Leaders = slices.Insert(slices.Clone(route.Leaders), at, pid)
	}
}

// gatherTopic joins what the brokers said of a topic. A partition whose leader said
// nothing has no leader, and the numbers that were heard of it last.
func (c *topicsCore) gatherTopic(info protocol.TopicInfo, heard []protocol.TopicInfo, home int) protocol.TopicInfo {
	if c.heard == nil {
		c.heard = make(map[string]map[protocol.PartitionID]protocol.PartitionInfo)
	}
	last := c.heard[info.Topic]
	if last == nil {
		last = make(map[protocol.PartitionID]protocol.PartitionInfo)
		c.heard[info.Topic] = last
	}
	fresh := make(map[protocol.PartitionID]bool)
	for _, h := range heard {
		for _, p := range h.Partitions {
			last[p.Partition], fresh[p.Partition] = p, true
		}
	}
	ids := c.elsewhere(info.Topic, home)
	for id := range fresh {
		if !slices.Contains(ids, id) {
			ids = append(ids, id) // claimed after the members were read
		}
	}
	for _, id := range ids {
		p := last[id]
		if !fresh[id] {
			p.Partition, p.Home, p.Leader = id, id.Home, -1
			p.Error = fmt.Sprintf("broker %d is away", id.Home)
		}
		info.Partitions = append(info.Partitions, p)
	}
	slices.SortFunc(info.Partitions, func(a, b protocol.PartitionInfo) int { return a.Partition.Compare(b.Partition) })
	return info
}

// gatherList adds up what the brokers said of their topics.
func gatherList(lists []protocol.TopicList) protocol.TopicList {
	sums := make(map[string]protocol.TopicSummary)
	for _, l := range lists {
		for _, t := range l.Topics {
			s := sums[t.Topic]
			s.Topic = t.Topic
			s.Partitions += t.Partitions
			s.Messages += t.Messages
			s.Bytes += t.Bytes
			sums[t.Topic] = s
		}
	}
	out := protocol.TopicList{Topics: []protocol.TopicSummary{}}
	for _, s := range sums {
		out.Topics = append(out.Topics, s)
	}
	slices.SortFunc(out.Topics, func(a, b protocol.TopicSummary) int { return cmp.Compare(a.Topic, b.Topic) })
	return out
}
