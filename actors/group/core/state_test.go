package core

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"metaq/actors/actorstest"
	"metaq/protocol"
)

func TestAJoinLogsWhatItChanges(t *testing.T) {
	g := newGroupScript(t)
	g.sim.core.MaxSize = 1 << 30
	sent := 0
	for i := range 40 {
		r := protocol.GroupJoin{Member: fmt.Sprint("m", i), Topics: append(actorstest.ManyTopics("t", 200), "a")}
		sent += joinSize(&r)
		g.view(g.join(r))
		if err := g.sim.check(); err != nil {
			t.Fatal(err)
		}
	}
	if g.sim.logged > 2*sent {
		t.Errorf("%d bytes were logged for joins of %d bytes", g.sim.logged, sent)
	}
	g.sim.logged = 0
	g.view(g.beat("m0", 40))
	g.sim.ask(func(to any) Effects {
		return g.sim.core.Leave(g.sim.now, protocol.GroupLeave{Member: "m39"}, to)
	})
	if err := g.sim.check(); err != nil || g.sim.logged > 2000 {
		t.Errorf("%d bytes were logged for a leave, %v", g.sim.logged, err)
	}
}

func TestAGroupWhoseMembersHaveTooMuchRefusesTheNext(t *testing.T) {
	g := newGroupScript(t)
	g.sim.core.MaxSize = 100 << 10
	n, refusal := 0, error(nil)
	for refusal == nil && n < 100 {
		answer := g.join(protocol.GroupJoin{Member: fmt.Sprint("m", n), Topics: append(actorstest.ManyTopics("t", 100), "a")})
		refusal, _ = answer.(error)
		n++
	}
	g.refused(refusal, protocol.ErrTooLarge)
	if n != 17 || !strings.Contains(refusal.Error(), "maxGroupState") {
		t.Errorf("join %d got %v", n, refusal)
	}
	if got := len(g.sim.core.Members); got != n-1 {
		t.Errorf("%d members after %d joins that were taken", got, n-1)
	}
	// Who is a member may join again, also as the next run of a static member, and with less.
	g.view(g.join(protocol.GroupJoin{Member: "m0", Topics: actorstest.ManyTopics("t", 100)}))
	g.refused(g.join(protocol.GroupJoin{Member: "m0", Topics: actorstest.ManyTopics("t", 200)}), protocol.ErrTooLarge)
	g.view(g.join(protocol.GroupJoin{Member: "m0", Topics: []string{"a"}}))
	g.view(g.join(protocol.GroupJoin{Member: "late", Instance: "i", Topics: actorstest.ManyTopics("t", 90)}))
	g.view(g.join(protocol.GroupJoin{Member: "later", Instance: "i", Topics: actorstest.ManyTopics("t", 90)}))
	if err := g.sim.check(); err != nil {
		t.Error(err)
	}
	g.sim.restart()
	if err := g.sim.check(); err != nil {
		t.Error(err)
	}
}

// Entries as releases up to 0.1 wrote them: the whole state each time.
var oldEntries = []string{
	`{"group":"g","state":{"generation":1,"strategy":"sticky","members":[{"member":"x","topics":["a"],"session_ms":3000,"release_ms":60000}],"partitions":[{"topic":"a","partition":"0-0","owner":"x","target":"x"},{"topic":"a","partition":"0-1","owner":"x","target":"x"}]}}`,
	`{"group":"g","offsets":[{"topic":"a","partition":"0-0","offset":7}]}`,
	`{"group":"g","state":{"generation":2,"strategy":"sticky","members":[{"member":"x","topics":["a"],"session_ms":3000,"release_ms":60000},{"member":"y","topics":["a"],"session_ms":3000,"release_ms":60000}],"partitions":[{"topic":"a","partition":"0-0","owner":"x","target":"x"},{"topic":"a","partition":"0-1","owner":"x","target":"y"}]}}`,
}

func TestEntriesWithTheWholeStateAreRead(t *testing.T) {
	s := newGroupSim(func(int) int { return 1 }, NoBug)
	for _, line := range oldEntries {
		e, err := DecodeEntry([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		s.images.Apply(&e)
	}
	s.routes = map[string]Topic{"a": {IDs: actorstest.PartitionIDs(2)}}
	s.restart()
	if err := s.check(); err != nil {
		t.Fatal(err)
	}
	g := &groupScript{t: t, sim: s}
	g.wants(g.beat("y", 2), "?1 ")
	g.wants(g.beat("x", 2, at(1)), "0 ")
	g.wants(g.beat("y", 2), "1 ")
	if err := s.check(); err != nil {
		t.Fatal(err)
	}
}

func TestAChangeIsAppliedToTheStateInOrder(t *testing.T) {
	join := func(id string) protocol.GroupJoin { return protocol.GroupJoin{Member: id, Topics: []string{"a"}} }
	hold := func(n int, owner string) Holding {
		return Holding{Topic: "a", Partition: at(n).Partition, Owner: owner, Target: owner}
	}
	s := State{Generation: 1, Members: []protocol.GroupJoin{join("b"), join("d")}, Partitions: []Holding{hold(1, "b"), hold(3, "d")}}
	again := protocol.GroupJoin{Member: "b", Topics: []string{"z"}}
	s.apply(&Change{
		Generation: 2, Strategy: "range", Joined: []protocol.GroupJoin{join("a"), again, join("e")}, Left: []string{"d", "never"},
		Partitions: []Holding{hold(0, "a"), hold(1, ""), hold(3, "e")},
	})
	want := State{
		Generation: 2, Strategy: "range", Members: []protocol.GroupJoin{join("a"), again, join("e")},
		Partitions: []Holding{hold(0, "a"), hold(3, "e")},
	}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Error(diff)
	}
}
