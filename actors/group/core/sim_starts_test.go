package core

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"metaq/actors/actorstest"
	"metaq/protocol"
)

// The part of groupSim that is about where a group begins: records are put all the time,
// topics and partitions come, and whatever is put after a member was told that the group
// has begun must be seen.

// put puts a record into one of the partitions.
func (s *groupSim) put() {
	topic := []string{"a", "b", "c"}[s.pick(3)]
	if ids := s.routes[topic].IDs; len(ids) > 0 {
		at := protocol.TopicPartition{Topic: topic, Partition: ids[s.pick(len(ids))]}
		s.logs[at] = append(s.logs[at], s.now)
	}
}

// start chooses where a member wants to begin.
func (s *groupSim) start(p *protocol.GroupPlace) {
	switch s.pick(8) {
	case 0, 1:
	case 2:
		p.At, p.Offset = protocol.StartOffset, protocol.Offset(s.pick(40))
	case 3: // before all records: what a later time leaves out is left out for good
		at := time.UnixMilli(1_000_000)
		p.At, p.Time = protocol.StartTime, &at
	default:
		p.At = protocol.StartLatest
	}
}

// grow gives a topic one partition more; the first one makes it.
func (s *groupSim) grow(topic string) {
	if len(s.routes[topic].IDs) >= 4 {
		return
	}
	next := maps.Clone(s.routes)
	next[topic] = Topic{actorstest.PartitionIDs(len(next[topic].IDs) + 1), next[topic].Born}
	s.routes = next
	s.do(s.core.TopicsChanged(s.now, next))
}

// lookUp is what the leader of a partition answers.
func (s *groupSim) lookUp(r Resolve) protocol.OffsetsReply {
	log := s.logs[r.At]
	end := protocol.Offset(len(log))
	reply := protocol.OffsetsReply{EndOffset: end, Offset: end}
	if q := RequestFor(r.Start, r.Since); q.Time != nil {
		if i := slices.IndexFunc(log, func(at time.Time) bool { return !at.Before(*q.Time) }); i >= 0 {
			reply.Offset = protocol.Offset(i)
		}
	}
	return reply
}

// told notes where the group may begin at the latest, in topics that a member was told of
// for the first time: at the ends of what there is now, and in what comes at its beginning.
func (s *groupSim) told(topics []string) {
	for _, topic := range topics {
		if s.floors[topic] != nil {
			continue
		}
		s.floors[topic] = map[protocol.TopicPartition]protocol.Offset{}
		for _, id := range s.routes[topic].IDs {
			at := protocol.TopicPartition{Topic: topic, Partition: id}
			s.floors[topic][at] = protocol.Offset(len(s.logs[at]))
		}
	}
}

// checkStarts looks at each offset that was not there before.
func (s *groupSim) checkStarts() error {
	for at, o := range s.images["g"].offsetsOrNone() {
		if s.begun[at] {
			continue
		}
		s.begun[at] = true
		if floors := s.floors[at.Topic]; floors != nil && o.Offset > floors[at] {
			return fmt.Errorf("the group begins at %d in %s, and was told to have begun when it had %d records: %d are skipped",
				o.Offset, at, floors[at], o.Offset-floors[at])
		}
	}
	return nil
}
