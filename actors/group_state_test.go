package actors

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"metaq/protocol"
)

// manyTopics are n names of 60 bytes that begin with prefix.
func manyTopics(prefix string, n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("%s%04d-%s", prefix, i, strings.Repeat("x", 54)))
	}
	return out
}

func TestAJoinLogsWhatItChanges(t *testing.T) {
	g := newGroupScript(t)
	g.sim.core.maxSize = 1 << 30
	sent := 0
	for i := range 40 {
		r := protocol.GroupJoin{Member: fmt.Sprint("m", i), Topics: append(manyTopics("t", 200), "a")}
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
	g.sim.ask(func(to any) groupEffects {
		return g.sim.core.leave(g.sim.now, protocol.GroupLeave{Member: "m39"}, to)
	})
	if err := g.sim.check(); err != nil || g.sim.logged > 2000 {
		t.Errorf("%d bytes were logged for a leave, %v", g.sim.logged, err)
	}
}

func TestAGroupWhoseMembersHaveTooMuchRefusesTheNext(t *testing.T) {
	g := newGroupScript(t)
	g.sim.core.maxSize = 100 << 10
	n, refusal := 0, error(nil)
	for refusal == nil && n < 100 {
		answer := g.join(protocol.GroupJoin{Member: fmt.Sprint("m", n), Topics: append(manyTopics("t", 100), "a")})
		refusal, _ = answer.(error)
		n++
	}
	g.refused(refusal, protocol.ErrTooLarge)
	if n != 17 || !strings.Contains(refusal.Error(), "maxGroupState") {
		t.Errorf("join %d got %v", n, refusal)
	}
	if got := len(g.sim.core.members); got != n-1 {
		t.Errorf("%d members after %d joins that were taken", got, n-1)
	}
	// Who is a member may join again, also as the next run of a static member, and with less.
	g.view(g.join(protocol.GroupJoin{Member: "m0", Topics: manyTopics("t", 100)}))
	g.refused(g.join(protocol.GroupJoin{Member: "m0", Topics: manyTopics("t", 200)}), protocol.ErrTooLarge)
	g.view(g.join(protocol.GroupJoin{Member: "m0", Topics: []string{"a"}}))
	g.view(g.join(protocol.GroupJoin{Member: "late", Instance: "i", Topics: manyTopics("t", 90)}))
	g.view(g.join(protocol.GroupJoin{Member: "later", Instance: "i", Topics: manyTopics("t", 90)}))
	if err := g.sim.check(); err != nil {
		t.Error(err)
	}
	g.sim.restart()
	if err := g.sim.check(); err != nil {
		t.Error(err)
	}
}

func TestAStepThatCannotBeLoggedIsRefusedAlone(t *testing.T) {
	opened := 0
	w := newGroupsWorld(t, func(d *GroupsDeps) {
		open := d.OpenLog
		d.OpenLog = func() (Log, error) { opened++; return open() }
		d.maxEntry = 2000
	})
	other := w.join("other", "y", nil)
	x := w.join("g", "x", nil)
	want[protocol.GroupOffsets](w, w.ask("g", commitOf(x, 0, 20)))
	w.refused(w.once("g", protocol.GroupJoin{Member: "z", Topics: manyTopics("t", 100), SessionMs: 10_000}), protocol.ErrTooLarge)
	// Neither this group nor another one begins again.
	want[protocol.GroupOffsets](w, w.once("other", commitOf(other, 0, 20)))
	beat := want[protocol.GroupView](w, w.once("g", protocol.GroupHeartbeat{Member: "x", Generation: x.Generation}))
	if beat.Generation != x.Generation || len(beat.Assigned) != 4 || beat.Assigned[0].Offset != 20 {
		t.Errorf("after the refused join: %+v, before: %+v", beat, x)
	}
	w.stop()
	if opened != 1 {
		t.Errorf("the log was opened %d times", opened)
	}
}

func TestALogThatCannotBeShortenedRefusesNobody(t *testing.T) {
	w := newGroupsWorld(t, func(d *GroupsDeps) { d.SnapshotBytes, d.maxEntry = 1000, 800 })
	for i := range 5 {
		w.join("g", fmt.Sprint("x", i), nil)
	}
	x := w.join("g", "x0", nil)
	for i := range 50 {
		want[protocol.GroupOffsets](w, w.once("g", commitOf(x, x.Assigned[0].Partition.N, protocol.Offset(11+i))))
	}
}

// Entries as releases up to 0.1 wrote them: the whole state each time.
var oldEntries = []string{
	`{"group":"g","state":{"generation":1,"strategy":"sticky","members":[{"member":"x","topics":["a"],"session_ms":3000,"release_ms":60000}],"partitions":[{"topic":"a","partition":"0-0","owner":"x","target":"x"},{"topic":"a","partition":"0-1","owner":"x","target":"x"}]}}`,
	`{"group":"g","offsets":[{"topic":"a","partition":"0-0","offset":7}]}`,
	`{"group":"g","state":{"generation":2,"strategy":"sticky","members":[{"member":"x","topics":["a"],"session_ms":3000,"release_ms":60000},{"member":"y","topics":["a"],"session_ms":3000,"release_ms":60000}],"partitions":[{"topic":"a","partition":"0-0","owner":"x","target":"x"},{"topic":"a","partition":"0-1","owner":"x","target":"y"}]}}`,
}

func TestEntriesWithTheWholeStateAreRead(t *testing.T) {
	s := newGroupSim(func(int) int { return 1 }, noGroupBug)
	for _, line := range oldEntries {
		e, err := decodeGroupEntry([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		s.images.apply(&e)
	}
	s.routes = map[string]groupTopic{"a": {ids: partitionIDs(2)}}
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
	hold := func(n int, owner string) groupHolding {
		return groupHolding{Topic: "a", Partition: at(n).Partition, Owner: owner, Target: owner}
	}
	s := groupState{Generation: 1, Members: []protocol.GroupJoin{join("b"), join("d")}, Partitions: []groupHolding{hold(1, "b"), hold(3, "d")}}
	again := protocol.GroupJoin{Member: "b", Topics: []string{"z"}}
	s.apply(&groupChange{
		Generation: 2, Strategy: "range", Joined: []protocol.GroupJoin{join("a"), again, join("e")}, Left: []string{"d", "never"},
		Partitions: []groupHolding{hold(0, "a"), hold(1, ""), hold(3, "e")},
	})
	want := groupState{
		Generation: 2, Strategy: "range", Members: []protocol.GroupJoin{join("a"), again, join("e")},
		Partitions: []groupHolding{hold(0, "a"), hold(3, "e")},
	}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Error(diff)
	}
}
