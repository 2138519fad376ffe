package core

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"metaq/actors/actorstest"
	"metaq/protocol"
)

// shares is an assignment of one topic as people read it.
func shares(a assignment) map[string][]string {
	out := map[string][]string{}
	for _, at := range slices.SortedFunc(maps.Keys(a), protocol.TopicPartition.Compare) {
		out[a[at]] = append(out[a[at]], at.Partition.String())
	}
	return out
}

func subscribers(topics []string, names ...string) []subscriber {
	var who []subscriber
	for _, n := range names {
		who = append(who, subscriber{id: n, name: n, topics: topics})
	}
	return who
}

// TestMetaQStrategies compares with what MetaQ's own classes give; the ring was
// computed by a second implementation of ConsisHashStrategy.
func TestMetaQStrategies(t *testing.T) {
	all := append(actorstest.PartitionIDs(12), protocol.PartitionID{Home: 1}, protocol.PartitionID{Home: 1, N: 1}, protocol.PartitionID{Home: 1, N: 2})
	for _, tt := range []struct {
		name, strategy string
		ids            []protocol.PartitionID
		want           map[string][]string
	}{
		{"range gives the first ones more and sorts as strings", protocol.StrategyRange, actorstest.PartitionIDs(11), map[string][]string{
			"c1": {"0-0", "0-1", "0-2", "0-10"}, "c2": {"0-3", "0-4", "0-5", "0-6"}, "c3": {"0-7", "0-8", "0-9"},
		}},
		{"range leaves the last ones without", protocol.StrategyRange, actorstest.PartitionIDs(2), map[string][]string{"c1": {"0-0"}, "c2": {"0-1"}}},
		{"consistent", protocol.StrategyConsistent, all, map[string][]string{
			"c1": {"0-3", "0-4", "1-0"}, "c2": {"0-2", "0-6", "0-10", "0-11", "1-2"}, "c3": {"0-0", "0-1", "0-5", "0-7", "0-8", "0-9", "1-1"},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := assign(tt.strategy, "g", subscribers([]string{"t"}, "c3", "c1", "c2"), map[string][]protocol.PartitionID{"t": tt.ids}, nil)
			if diff := cmp.Diff(tt.want, shares(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRangeNamesStaticMembersByTheirInstance(t *testing.T) {
	who := []subscriber{{id: "aaa", name: "z", topics: []string{"t"}}, {id: "zzz", name: "a", topics: []string{"t"}}}
	got := assign(protocol.StrategyRange, "g", who, map[string][]protocol.PartitionID{"t": actorstest.PartitionIDs(2)}, nil)
	if diff := cmp.Diff(map[string][]string{"zzz": {"0-0"}, "aaa": {"0-1"}}, shares(got)); diff != "" {
		t.Error(diff)
	}
}

func TestFifthMemberMovesFourOfTwenty(t *testing.T) {
	topics := map[string][]protocol.PartitionID{"t": actorstest.PartitionIDs(20)}
	four := subscribers([]string{"t"}, "m1", "m2", "m3", "m4")
	before := assign("", "g", four, topics, nil)
	after := assign("", "g", subscribers([]string{"t"}, "m0", "m1", "m2", "m3", "m4"), topics, before)
	if n := moved(before, after); n != 4 || len(shares(after)["m0"]) != 4 {
		t.Errorf("%d moved, the new member has %v", n, shares(after)["m0"])
	}
	back := assign("", "g", four, topics, after)
	if n := moved(after, back); n != 4 {
		t.Errorf("%d moved when it left", n)
	}
}

func moved(before, after assignment) int {
	n := 0
	for at, who := range before {
		if after[at] != who {
			n++
		}
	}
	return n
}

func TestStickyIsBalancedAndMovesTheLeast(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string, lo, hi int) int { return rapid.IntRange(lo, hi).Draw(t, name) }
		topics := map[string][]protocol.PartitionID{"a": actorstest.PartitionIDs(draw("a", 0, 12)), "b": actorstest.PartitionIDs(draw("b", 0, 12))}
		names := func(n int) (out []string) {
			for i := range n {
				out = append(out, fmt.Sprintf("m%d", i))
			}
			return out
		}
		before := assignment{}
		old := draw("old", 0, 6)
		for topic, ids := range topics {
			for _, id := range ids {
				if k := draw("owner", 0, 7); k < old {
					before[protocol.TopicPartition{Topic: topic, Partition: id}] = fmt.Sprintf("m%d", k)
				}
			}
		}
		who := subscribers([]string{"a", "b"}, names(draw("members", 1, 7))...)
		after := assign("", "g", who, topics, before)
		total := len(topics["a"]) + len(topics["b"])
		if len(after) != total {
			t.Fatalf("%d of %d partitions assigned", len(after), total)
		}
		load, kept := map[string]int{}, map[string]int{}
		for at, id := range after {
			load[id]++
			if before[at] == id {
				kept[id]++
			}
		}
		had := map[string]int{}
		for _, id := range before {
			had[id]++
		}
		least, most := total/len(who), (total+len(who)-1)/len(who)
		var more []int // what the members have at hand, most first
		for _, s := range who {
			if load[s.id] < least || load[s.id] > most {
				t.Fatalf("%s has %d, not %d..%d", s.id, load[s.id], least, most)
			}
			more = append(more, had[s.id])
		}
		slices.Sort(more)
		slices.Reverse(more)
		// Nobody can keep more than this: those with most get the larger shares.
		best, sum := 0, 0
		for i, n := range more {
			share := least
			if i < total%len(who) {
				share++
			}
			best += min(n, share)
		}
		for _, n := range kept {
			sum += n
		}
		if sum != best {
			t.Fatalf("%d stayed where they were, %d could have", sum, best)
		}
	})
}

func TestStickyWithUnequalTopicsLeavesNoBetterMove(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		topics := map[string][]protocol.PartitionID{}
		for _, name := range []string{"a", "b", "c"} {
			topics[name] = actorstest.PartitionIDs(rapid.IntRange(0, 8).Draw(t, name))
		}
		var who []subscriber
		for i := range rapid.IntRange(1, 6).Draw(t, "members") {
			wants := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c"}), 1, 3, rapid.ID).Draw(t, "topics")
			slices.Sort(wants)
			id := fmt.Sprintf("m%d", i)
			who = append(who, subscriber{id: id, name: id, topics: wants})
		}
		got := assign("", "g", who, topics, nil)
		load := map[string]int{}
		for _, id := range got {
			load[id]++
		}
		for topic, ids := range topics {
			for _, id := range ids {
				at := protocol.TopicPartition{Topic: topic, Partition: id}
				for i := range who {
					if !who[i].wants(topic) {
						continue
					}
					if got[at] == "" {
						t.Fatalf("%s is wanted by %s and nobody's", at, who[i].id)
					}
					if load[got[at]] > load[who[i].id]+1 {
						t.Fatalf("%s has %d partitions, %s could take %s and has %d", got[at], load[got[at]], who[i].id, at, load[who[i].id])
					}
				}
			}
		}
	})
}
