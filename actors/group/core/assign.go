package core

import (
	"cmp"
	"crypto/md5" // MetaQ's ring is made of it; it keeps nothing secret
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"metaq/protocol"
)

// subscriber is a member as the strategies see it.
type subscriber struct {
	id     string   // of the member
	name   string   // what range and consistent sort and hash: the instance where there is one, else the id
	topics []string // ascending
}

func (s *subscriber) wants(topic string) bool {
	_, found := slices.BinarySearch(s.topics, topic)
	return found
}

// assignment says which member is to work on a partition. Partitions whose topic
// nobody wants are not in it.
type assignment map[protocol.TopicPartition]string

// assign gives each partition a subscriber of its topic. The same arguments
// always give the same result.
func assign(strategy, group string, who []subscriber, topics map[string][]protocol.PartitionID, before assignment) assignment {
	who = slices.SortedFunc(slices.Values(who), func(a, b subscriber) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.id, b.id))
	})
	switch strategy {
	case protocol.StrategyRange:
		return eachTopic(who, topics, assignRange)
	case protocol.StrategyConsistent:
		return eachTopic(who, topics, func(who []subscriber, partitions []string) []int {
			return assignConsistent(group, who, partitions)
		})
	default:
		return assignSticky(who, topics, before)
	}
}

// eachTopic runs one of MetaQ's strategies, which look at one topic at a time
// and sort partitions as strings: 0-10 comes before 0-2.
func eachTopic(who []subscriber, topics map[string][]protocol.PartitionID, share func([]subscriber, []string) []int) assignment {
	out := assignment{}
	for topic, ids := range topics {
		interested := slices.DeleteFunc(slices.Clone(who), func(s subscriber) bool { return !s.wants(topic) })
		if len(interested) == 0 {
			continue
		}
		sorted := slices.SortedFunc(slices.Values(ids), func(a, b protocol.PartitionID) int { return cmp.Compare(a.String(), b.String()) })
		names := make([]string, len(sorted))
		for i, id := range sorted {
			names[i] = id.String()
		}
		for i, k := range share(interested, names) {
			out[protocol.TopicPartition{Topic: topic, Partition: sorted[i]}] = interested[k].id
		}
	}
	return out
}

// assignRange is MetaQ's DEFAULT: contiguous ranges, of which the first ones are
// longer by one where the partitions do not divide evenly.
func assignRange(who []subscriber, partitions []string) []int {
	each, more := len(partitions)/len(who), len(partitions)%len(who)
	out := make([]int, 0, len(partitions))
	for k := range who {
		n := each
		if k < more {
			n++
		}
		for range n {
			out = append(out, k)
		}
	}
	return out
}

// assignConsistent is MetaQ's CONSIST: each consumer has 160 points on a ring of
// 32 bits, four in each of 40 MD5 digests; a partition belongs to the next point
// clockwise from its own hash. A point of two consumers is the later one's.
func assignConsistent(group string, who []subscriber, partitions []string) []int {
	const digests, perDigest = 40, 4
	ring := make(map[uint32]int, len(who)*digests*perDigest)
	for k := range who {
		for i := range digests {
			// MetaQ's name of a consumer is that of its node: <group>_<consumer id>.
			sum := md5.Sum(fmt.Appendf(nil, "%s_%s-%d", group, who[k].name, i))
			for h := range perDigest {
				ring[binary.LittleEndian.Uint32(sum[4*h:])] = k
			}
		}
	}
	points := slices.Sorted(maps.Keys(ring))
	out := make([]int, len(partitions))
	for i, p := range partitions {
		sum := md5.Sum([]byte(p))
		at, _ := slices.BinarySearch(points, binary.LittleEndian.Uint32(sum[:]))
		out[i] = ring[points[at%len(points)]]
	}
	return out
}

// sticky is the work of assignSticky.
type sticky struct {
	who  []subscriber
	held []map[protocol.TopicPartition]bool // by subscriber
	per  []map[string]int                   // partitions by subscriber and topic
}

// assignSticky keeps every partition where it is, gives what is free to those
// who have the least, and then moves single partitions from those who have most
// until no move makes the numbers more even. With equal subscriptions the numbers
// then differ by one at most, and no smaller number of moves gets there.
func assignSticky(who []subscriber, topics map[string][]protocol.PartitionID, before assignment) assignment {
	s := sticky{who: who}
	index := make(map[string]int, len(who))
	for k := range who {
		index[who[k].id] = k
		s.held = append(s.held, map[protocol.TopicPartition]bool{})
		s.per = append(s.per, map[string]int{})
	}
	var free []protocol.TopicPartition
	for _, topic := range slices.Sorted(maps.Keys(topics)) {
		for _, id := range topics[topic] {
			p := protocol.TopicPartition{Topic: topic, Partition: id}
			if k, found := index[before[p]]; found && who[k].wants(topic) {
				s.give(k, p)
			} else {
				free = append(free, p)
			}
		}
	}
	slices.SortFunc(free, protocol.TopicPartition.Compare)
	for _, p := range free {
		if k := s.neediest(p.Topic); k >= 0 {
			s.give(k, p)
		}
	}
	for s.even() {
	}
	out := assignment{}
	for k := range who {
		for p := range s.held[k] {
			out[p] = who[k].id
		}
	}
	return out
}

func (s *sticky) give(k int, p protocol.TopicPartition) {
	s.held[k][p] = true
	s.per[k][p.Topic]++
}

// neediest is the subscriber of the topic with the fewest partitions, or -1.
func (s *sticky) neediest(topic string) int {
	best := -1
	for k := range s.who {
		if !s.who[k].wants(topic) {
			continue
		}
		if best < 0 || cmp.Or(cmp.Compare(len(s.held[k]), len(s.held[best])), cmp.Compare(s.per[k][topic], s.per[best][topic])) < 0 {
			best = k
		}
	}
	return best
}

// even moves one partition from a subscriber who has at least two more than
// another one who may have it; false when there is no such pair.
func (s *sticky) even() bool {
	order := make([]int, len(s.who))
	for k := range order {
		order[k] = k
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(len(s.held[a]), len(s.held[b])) })
	for _, to := range order {
		for _, from := range slices.Backward(order) {
			if len(s.held[from]) < len(s.held[to])+2 {
				break
			}
			if p, found := s.choose(from, to); found {
				delete(s.held[from], p)
				s.per[from][p.Topic]--
				s.give(to, p)
				return true
			}
		}
	}
	return false
}

// choose picks what goes from one subscriber to another: of the topic in which
// the first has the most beyond the second, the last partition.
func (s *sticky) choose(from, to int) (protocol.TopicPartition, bool) {
	var best protocol.TopicPartition
	found := false
	for p := range s.held[from] {
		if !s.who[to].wants(p.Topic) {
			continue
		}
		spread := func(q protocol.TopicPartition) int { return s.per[from][q.Topic] - s.per[to][q.Topic] }
		if !found || cmp.Or(cmp.Compare(spread(p), spread(best)), p.Compare(best)) > 0 {
			best, found = p, true
		}
	}
	return best, found
}
