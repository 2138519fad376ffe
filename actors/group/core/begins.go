package core

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"metaq/protocol"
)

// The part of Group that knows when the group began, and what that means for the
// start of a partition.
//
// "Latest" is the moment when the group began to want a topic, whoever was a member then
// and is one now. What is put later must be seen, so a start is found in one of three ways:
//
//   - The partition was not there when the group began: it is read from its beginning.
//   - It was there, and nobody has been told yet that the group has begun: its end now
//     will do.
//   - It was there, and its end could not be had in time, because its leader was away or
//     this broker crashed: its end now is too late. The first message from the time when
//     the group began is looked up, and ClockSlack more, since clocks differ.
//
// Which partitions were there is what the routes say, never what a clock says: a partition
// that this broker had not heard of is taken for a new one, which skips nothing.

// Begin is what was so when a group began to want a topic. It is in the log before a
// member is told, and stays as long as the group, whoever leaves or joins.
type Begin struct {
	Topic string         `json:"topic"`
	At    time.Time      `json:"at,omitzero"`     // zero: before this was recorded
	Born  protocol.Epoch `json:"born,omitempty"`  // of the topic, see Topic.Born
	Homes map[int]int    `json:"homes,omitempty"` // by home: how many partitions there were
	Gone  bool           `json:"gone,omitempty"`  // the record says that it is forgotten
}

// had reports whether the topic had the partition when the group began.
func (b *Begin) had(id protocol.PartitionID, born protocol.Epoch) bool {
	return b.Born == born && id.N < b.Homes[id.Home]
}

const (
	// ClockSlack is by how much the clocks of two brokers may differ without a group
	// skipping a message. It costs as much of what came before the group, but only where
	// a start could not be found when the group began.
	ClockSlack = time.Minute
	// maxBegins bounds what a group remembers of topics that nobody in it wants.
	maxBegins = 2 * protocol.MaxGroupTopics
)

// begin notes that the group wants topics from now on.
func (c *Group) begin(now time.Time, topics []string) {
	for _, t := range topics {
		if _, begun := c.begins[t]; begun {
			continue
		}
		b := Begin{Topic: t, At: now.UTC().Truncate(time.Millisecond)}
		if list, found := c.Routes[t]; found {
			b.Born, b.Homes = list.Born, homesOf(list.IDs)
		}
		c.begins[t], c.begun[t], c.untold[t] = b, true, now.Add(joinWait)
	}
	if len(c.begins) > maxBegins {
		c.forgetBegins()
	}
}

// homesOf counts partitions by home. Behind a gap none is counted.
func homesOf(sorted []protocol.PartitionID) map[int]int {
	homes := map[int]int{}
	for _, id := range sorted {
		if id.N == homes[id.Home] {
			homes[id.Home]++
		}
	}
	return homes
}

// forgetBegins forgets the oldest topics that no member wants and that the group has no
// offsets in, until there are few enough.
func (c *Group) forgetBegins() {
	used := map[string]bool{}
	for _, m := range c.Members {
		for _, t := range m.join.Topics {
			used[t] = true
		}
	}
	for at := range c.Parts {
		used[at.Topic] = true
	}
	idle := slices.DeleteFunc(slices.Collect(maps.Values(c.begins)), func(b Begin) bool { return used[b.Topic] || c.begun[b.Topic] })
	slices.SortFunc(idle, func(a, b Begin) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Topic, b.Topic)) })
	for _, b := range idle[:min(len(idle), len(c.begins)-maxBegins)] {
		delete(c.begins, b.Topic)
		c.begun[b.Topic] = true
	}
}

// recall takes the begins of an image. What an earlier release has logged has none: the
// group has begun in what it has members or offsets in, and whatever partition it has no
// offset in may have come since.
func (c *Group) recall(image *Image) {
	maps.Copy(c.begins, image.Begins)
	for _, t := range image.Topics() {
		if _, begun := c.begins[t]; !begun {
			c.begins[t] = Begin{Topic: t}
			c.begun[t] = true
		}
	}
}

// told notes that a member has been told what it works on: the ends of logs that are
// looked up from now on are too late.
func (c *Group) told(m *member) {
	if len(c.untold) == 0 {
		return
	}
	for _, t := range m.join.Topics {
		delete(c.untold, t)
	}
}

// startOf says what to look up for a partition that has no offset.
func (c *Group) startOf(now time.Time, at protocol.TopicPartition, start protocol.GroupPlace) Resolve {
	r := Resolve{At: at, born: c.Born[at.Topic], Start: start}
	b := c.begins[at.Topic]
	switch {
	case c.Bug == latestWhenFound || start.At == protocol.StartEarliest || start.At == "":
	case start.At == protocol.StartTime && start.Time.After(b.At):
		// A time that the group had not come to says what to leave out, of a later
		// partition too.
	case !b.had(at.Partition, r.born):
		r.Start = protocol.GroupPlace{At: protocol.StartEarliest}
	case start.At == protocol.StartTime:
	case now.Before(c.untold[at.Topic]):
		r.untold = true
	default:
		r.Since = b.At.Add(-ClockSlack)
	}
	return r
}

// beginsToLog returns those that changed, sorted by topic.
func (c *Group) beginsToLog() []Begin {
	var out []Begin
	for _, t := range slices.Sorted(maps.Keys(c.begun)) {
		b, found := c.begins[t]
		if !found {
			b = Begin{Topic: t, Gone: true}
		}
		out = append(out, b)
	}
	clear(c.begun)
	return out
}

// Same reports whether two begins are equal.
func (b Begin) Same(c Begin) bool {
	return b.At.Equal(c.At) && b.Born == c.Born && b.Gone == c.Gone && maps.Equal(b.Homes, c.Homes)
}
