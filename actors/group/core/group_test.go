package core

import (
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"metaq/actors/actorstest"
	"metaq/protocol"
)

// groupScript drives a core by hand: the clock stands still unless it is moved.
type groupScript struct {
	t   *testing.T
	sim *groupSim
}

func newGroupScript(t *testing.T) *groupScript {
	t.Helper()
	s := newGroupSim(func(int) int { return 1 }, NoBug)
	return &groupScript{t: t, sim: s}
}

func (g *groupScript) join(r protocol.GroupJoin) any {
	g.t.Helper()
	if len(r.Topics) == 0 {
		r.Topics = []string{"a"}
	}
	if err := r.Check(); err != nil {
		g.t.Fatal(err)
	}
	return g.sim.ask(func(to any) Effects { return g.sim.core.Join(g.sim.now, r, to) })
}

func (g *groupScript) beat(member string, generation int64, released ...protocol.TopicPartition) any {
	r := protocol.GroupHeartbeat{Member: member, Generation: generation, Released: released}
	return g.sim.ask(func(to any) Effects { return g.sim.core.Heartbeat(g.sim.now, r, to) })
}

func (g *groupScript) commit(member string, generation int64, n int, offset protocol.Offset) any {
	r := protocol.GroupCommit{Member: member, Generation: generation, Offsets: []protocol.GroupPosition{
		{Topic: "a", Partition: protocol.PartitionID{N: n}, Offset: offset},
	}}
	return g.sim.ask(func(to any) Effects { return g.sim.core.Commit(g.sim.now, r, to) })
}

func (g *groupScript) view(answer any) protocol.GroupView {
	g.t.Helper()
	v, ok := answer.(protocol.GroupView)
	if !ok {
		g.t.Fatalf("answer is %v, not a view", answer)
	}
	return v
}

func (g *groupScript) refused(answer any, want *protocol.Error) {
	g.t.Helper()
	if err, ok := answer.(error); !ok || !errors.Is(err, want) {
		g.t.Errorf("answer is %v, want %v", answer, want)
	}
}

// held says what a view has, for example "0 1 2 -3 ?4": assigned, to be
// released, pending.
func held(v protocol.GroupView) string {
	s := ""
	for _, p := range v.Assigned {
		s += fmt.Sprint(p.Partition.N, " ")
	}
	for _, p := range v.Release {
		s += fmt.Sprint("-", p.Partition.N, " ")
	}
	for _, p := range v.Pending {
		s += fmt.Sprint("?", p.Partition.N, " ")
	}
	return s
}

func at(n int) protocol.TopicPartition {
	return protocol.TopicPartition{Topic: "a", Partition: protocol.PartitionID{N: n}}
}

func (g *groupScript) wants(answer any, want string) protocol.GroupView {
	g.t.Helper()
	v := g.view(answer)
	if diff := cmp.Diff(want, held(v)); diff != "" {
		g.t.Errorf("view: %s", diff)
	}
	return v
}

func TestAPartitionMovesInTwoSteps(t *testing.T) {
	g := newGroupScript(t)
	g.wants(g.join(protocol.GroupJoin{Member: "x"}), "0 1 2 3 4 ")
	y := g.wants(g.join(protocol.GroupJoin{Member: "y"}), "?3 ?4 ")
	x := g.wants(g.beat("x", 1), "0 1 2 -3 -4 ")
	g.refused(g.commit("x", 1, 0, 5), protocol.ErrFenced)
	if _, ok := g.commit("x", x.Generation, 3, 7).(protocol.GroupOffsets); !ok {
		t.Error("the owner may commit while it releases")
	}
	g.refused(g.commit("y", y.Generation, 3, 9), protocol.ErrFenced)
	g.wants(g.beat("x", 1, at(3)), "0 1 2 -3 -4 ") // of an older generation: it may take 3 up again
	g.wants(g.beat("x", x.Generation, at(3), at(0)), "0 1 2 -4 ")
	y = g.wants(g.beat("y", y.Generation), "3 ?4 ")
	if y.Assigned[0].Offset != 7 {
		t.Errorf("the new owner begins at %d, the old one had committed 7", y.Assigned[0].Offset)
	}
	g.refused(g.commit("x", x.Generation, 3, 9), protocol.ErrFenced)
}

func TestAMemberThatWantsToBeAloneIs(t *testing.T) {
	g := newGroupScript(t)
	g.join(protocol.GroupJoin{Member: "x"})
	g.refused(g.join(protocol.GroupJoin{Member: "y", Alone: true}), protocol.ErrConflict)
	g.wants(g.join(protocol.GroupJoin{Member: "x", Alone: true}), "0 1 2 3 4 ") // it is the only one
	g.refused(g.join(protocol.GroupJoin{Member: "y"}), protocol.ErrConflict)
	g.refused(g.join(protocol.GroupJoin{Member: "y", Alone: true}), protocol.ErrConflict)
	g.sim.ask(func(to any) Effects { return g.sim.core.Leave(g.sim.now, protocol.GroupLeave{Member: "x"}, to) })
	g.wants(g.join(protocol.GroupJoin{Member: "y", Instance: "i", Alone: true}), "0 1 2 3 4 ")
	g.wants(g.join(protocol.GroupJoin{Member: "z", Instance: "i", Alone: true}), "0 1 2 3 4 ") // the same one
}

func TestAStaticMemberIsRemovedByItsInstance(t *testing.T) {
	g := newGroupScript(t)
	leave := func(r protocol.GroupLeave) any {
		return g.sim.ask(func(to any) Effects { return g.sim.core.Leave(g.sim.now, r, to) })
	}
	g.join(protocol.GroupJoin{Member: "x", Instance: "i"})
	g.join(protocol.GroupJoin{Member: "y"})
	g.refused(leave(protocol.GroupLeave{Instance: "x"}), protocol.ErrNoMember)
	g.wants(g.beat("y", 2), "?3 ?4 ")
	if _, done := leave(protocol.GroupLeave{Instance: "i"}).(protocol.Done); !done {
		t.Error("the instance was not removed")
	}
	g.wants(g.beat("y", 3), "0 1 2 3 4 ")
	g.refused(g.beat("x", 3), protocol.ErrNoMember)
}

func TestAnOwnerThatDoesNotReleaseIsPutOut(t *testing.T) {
	g := newGroupScript(t)
	g.join(protocol.GroupJoin{Member: "x", ReleaseMs: 2000})
	g.join(protocol.GroupJoin{Member: "y"})
	for range 5 {
		g.sim.advance(500 * time.Millisecond)
		g.beat("x", 2)
		g.beat("y", 2)
	}
	g.refused(g.beat("x", 2), protocol.ErrNoMember)
	g.wants(g.beat("y", 3), "0 1 2 3 4 ")
}

func TestAStaticMemberRestartsWithoutARebalance(t *testing.T) {
	g := newGroupScript(t)
	g.join(protocol.GroupJoin{Member: "x1", Instance: "x"})
	g.join(protocol.GroupJoin{Member: "y"})
	g.beat("x1", 2, at(3), at(4))
	g.wants(g.join(protocol.GroupJoin{Member: "x2", Instance: "x"}), "0 1 2 ")
	y := g.wants(g.beat("y", 2), "3 4 ")
	if y.Generation != 2 {
		t.Errorf("generation is %d after the restart, it was 2", y.Generation)
	}
	g.refused(g.commit("x1", 2, 0, 5), protocol.ErrInstance)
	g.refused(g.beat("x1", 2), protocol.ErrInstance)
}

// An older run of a static member is told so whatever it asks, and never takes its place
// back: each of two processes with one instance would else put the other one out, for ever.
func TestAReplacedRunOfAStaticMemberIsRefusedForGood(t *testing.T) {
	g := newGroupScript(t)
	named := func(member, instance string) any {
		r := protocol.GroupHeartbeat{Member: member, Instance: instance, Generation: 1}
		return g.sim.ask(func(to any) Effects { return g.sim.core.Heartbeat(g.sim.now, r, to) })
	}
	x1 := g.view(g.join(protocol.GroupJoin{Member: "x1", Instance: "x"}))
	parked := new(int)
	g.sim.do(g.sim.core.Heartbeat(g.sim.now, protocol.GroupHeartbeat{Member: "x1", Generation: 1, Revision: x1.Revision, WaitMs: 3000}, parked))
	g.join(protocol.GroupJoin{Member: "x2", Instance: "x"})
	g.refused(g.sim.answers[parked], protocol.ErrInstance)
	g.refused(g.join(protocol.GroupJoin{Member: "x1", Instance: "x"}), protocol.ErrInstance) // its first one, sent again
	g.join(protocol.GroupJoin{Member: "x3", Instance: "x"})
	g.refused(g.beat("x1", 1), protocol.ErrInstance)
	g.refused(g.commit("x2", 1, 0, 5), protocol.ErrInstance)
	g.wants(g.beat("x3", 1), "0 1 2 3 4 ")

	// A coordinator that was restarted knows it by the instance that the request names.
	g.sim.restart()
	g.refused(named("x1", "x"), protocol.ErrInstance)
	g.refused(named("x1", ""), protocol.ErrNoMember)
	g.refused(named("y1", "y"), protocol.ErrNoMember)
	g.wants(named("x3", "x"), "0 1 2 3 4 ")

	// When nobody has the place any more the older run is like any other.
	g.sim.ask(func(to any) Effects { return g.sim.core.Leave(g.sim.now, protocol.GroupLeave{Instance: "x"}, to) })
	g.refused(named("x1", "x"), protocol.ErrNoMember)
	g.wants(g.join(protocol.GroupJoin{Member: "x4", Instance: "x"}), "0 1 2 3 4 ")
}

func TestABeatWaitsForNews(t *testing.T) {
	g := newGroupScript(t)
	x := g.view(g.join(protocol.GroupJoin{Member: "x"}))
	r := protocol.GroupHeartbeat{Member: "x", Generation: x.Generation, Revision: x.Revision, WaitMs: 60_000}
	to := new(int)
	g.sim.do(g.sim.core.Heartbeat(g.sim.now, r, to))
	if g.sim.answers[to] != nil {
		t.Fatal("answered though nothing is new")
	}
	g.sim.advance(time.Second)
	g.join(protocol.GroupJoin{Member: "y"})
	g.wants(g.sim.answers[to], "0 1 2 -3 -4 ")
	again := new(int)
	r.Revision = g.view(g.sim.answers[to]).Revision
	g.sim.do(g.sim.core.Heartbeat(g.sim.now, r, again))
	g.sim.advance(protocol.DefaultSessionMs*time.Millisecond/3 - 1)
	if g.sim.answers[again] != nil {
		t.Fatal("answered before a third of the session")
	}
	g.sim.advance(1)
	g.wants(g.sim.answers[again], "0 1 2 -3 -4 ")
}

func TestResetAndDelete(t *testing.T) {
	g := newGroupScript(t)
	g.join(protocol.GroupJoin{Member: "x"})
	g.commit("x", 1, 0, 9)
	reset := func(force bool) any {
		return g.sim.ask(func(to any) Effects {
			return g.sim.core.Reset(g.sim.now, []protocol.GroupPosition{{Topic: "a", Offset: 2}}, force, to)
		})
	}
	g.refused(reset(false), protocol.ErrConflict)
	if o, ok := reset(true).(protocol.GroupOffsets); !ok || o.Offsets[0].Offset != 2 {
		t.Errorf("reset gave %v", o)
	}
	g.refused(g.commit("x", 1, 0, 9), protocol.ErrNoMember)
	if o := g.sim.images["g"].Offsets[at(0)]; o.Offset != 2 {
		t.Errorf("log has %d", o)
	}
	out, deleted := g.sim.core.RemoveAll(g.sim.now, false, nil)
	g.sim.do(out)
	if !deleted || g.sim.images["g"] != nil {
		t.Error("deleted group is still in the log")
	}
}

func TestARestartOfTheCoordinatorMovesNothing(t *testing.T) {
	g := newGroupScript(t)
	g.join(protocol.GroupJoin{Member: "x"})
	g.join(protocol.GroupJoin{Member: "y"})
	g.beat("x", 2, at(3), at(4))
	g.sim.routes = nil // topics come later
	g.sim.restart()
	g.wants(g.beat("x", 2), "0 1 2 ")
	routes := map[string]Topic{"a": {IDs: actorstest.PartitionIDs(5)}}
	g.sim.do(g.sim.core.TopicsChanged(g.sim.now, routes))
	if y := g.wants(g.beat("y", 2), "3 4 "); y.Generation != 2 {
		t.Errorf("generation became %d", y.Generation)
	}
}

func TestADeletedTopicIsReleasedAfterAWhile(t *testing.T) {
	g := newGroupScript(t)
	g.join(protocol.GroupJoin{Member: "x", SessionMs: 60_000})
	g.sim.do(g.sim.core.TopicsChanged(g.sim.now, nil))
	g.sim.advance(topicLinger - 1)
	g.wants(g.beat("x", 1), "0 1 2 3 4 ")
	g.sim.advance(1)
	g.wants(g.beat("x", 1), "-0 -1 -2 -3 -4 ")
}

func TestAStalledCoordinatorPutsNobodyOut(t *testing.T) {
	g := newGroupScript(t)
	g.join(protocol.GroupJoin{Member: "x"})
	g.sim.now = g.sim.now.Add(time.Minute) // nothing ran here
	g.sim.do(g.sim.core.Tick(g.sim.now))
	g.wants(g.beat("x", 1), "0 1 2 3 4 ")
}

func TestStrategiesMustAgree(t *testing.T) {
	g := newGroupScript(t)
	g.join(protocol.GroupJoin{Member: "x", Strategy: protocol.StrategyRange})
	g.refused(g.join(protocol.GroupJoin{Member: "y", Strategy: protocol.StrategySticky}), protocol.ErrConflict)
	g.view(g.join(protocol.GroupJoin{Member: "y"}))
	if g.sim.core.strategy != protocol.StrategyRange {
		t.Errorf("strategy became %s", g.sim.core.strategy)
	}
}

// remake deletes the topic and makes it again with n partitions.
func (g *groupScript) remake(n int, born protocol.Epoch) {
	g.sim.routes = map[string]Topic{"a": {actorstest.PartitionIDs(n), born}}
	g.sim.do(g.sim.core.TopicsChanged(g.sim.now, g.sim.routes))
}

func TestATopicThatWasMadeAgainBeginsAtItsFirstMessage(t *testing.T) {
	g := newGroupScript(t)
	x := g.view(g.join(protocol.GroupJoin{Member: "x"}))
	y := g.view(g.join(protocol.GroupJoin{Member: "y", Topics: []string{"b"}}))
	g.sim.ask(func(to any) Effects {
		r := protocol.GroupCommit{Member: "y", Generation: y.Generation, Offsets: []protocol.GroupPosition{{Topic: "b", Offset: 7}}}
		return g.sim.core.Commit(g.sim.now, r, to)
	})
	for n := range 5 {
		g.commit("x", y.Generation, n, protocol.Offset(40+n))
	}
	routes := maps.Clone(g.sim.routes)
	routes["a"] = Topic{actorstest.PartitionIDs(3), 9}
	delete(g.sim.routes, "a")
	g.sim.do(g.sim.core.TopicsChanged(g.sim.now, g.sim.routes))
	g.sim.routes = routes
	g.sim.do(g.sim.core.TopicsChanged(g.sim.now, routes))

	generation := g.sim.core.generation
	if generation <= y.Generation || x.Generation != 1 {
		t.Errorf("generation is %d after %d", generation, y.Generation)
	}
	// Who worked on the old one commits no more, whatever generation he knows.
	for _, g2 := range []int64{y.Generation, generation} {
		g.refused(g.commit("x", g2, 0, 500), protocol.ErrNoMember)
	}
	g.refused(g.beat("x", y.Generation), protocol.ErrNoMember)
	g.view(g.beat("y", y.Generation)) // works on another topic

	for range 2 { // the log says the same
		v := g.view(g.join(protocol.GroupJoin{Member: "z", Start: protocol.GroupPlace{At: protocol.StartLatest}}))
		want := []protocol.GroupPosition{{Topic: "a"}, {Topic: "a", Partition: protocol.PartitionID{N: 1}}, {Topic: "a", Partition: protocol.PartitionID{N: 2}}}
		if diff := cmp.Diff(want, v.Assigned); diff != "" {
			t.Errorf("assigned (-want +got):\n%s", diff)
		}
		if got := g.sim.core.Committed().Offsets; len(got) != 5 || got[3].Topic != "b" || got[3].Offset != 7 {
			t.Errorf("committed offsets are %+v", got)
		}
		if info := g.sim.core.Info(g.sim.now); len(info.Partitions) != 5 {
			t.Errorf("partitions are %+v", info.Partitions)
		}
		g.sim.restart()
	}
	// A picture from before the deletion, of a registry that lags, changes nothing.
	g.commit("z", g.sim.core.generation, 1, 6)
	g.remake(5, 0)
	g.sim.restart()
	if got := g.sim.core.Committed().Offsets[1].Offset; got != 6 {
		t.Errorf("offset became %d", got)
	}
}

func TestTheStartOfADeletedTopicIsNotTaken(t *testing.T) {
	g := newGroupScript(t)
	c := g.sim.core
	r := protocol.GroupJoin{Member: "x", Topics: []string{"a"}, Start: protocol.GroupPlace{At: protocol.StartLatest}}
	if err := r.Check(); err != nil {
		t.Fatal(err)
	}
	asked := c.Join(g.sim.now, r, nil).Resolve // and not answered yet
	if len(asked) != 5 {
		t.Fatalf("%d starts were asked for", len(asked))
	}
	g.remake(5, 3)
	g.sim.do(c.Resolved(g.sim.now, asked[0], Place{Offset: 500}, nil))
	if p := c.Parts[asked[0].At]; p != nil && p.Known {
		t.Errorf("the new topic begins at %d", p.Committed)
	}
}

// The first release's log has nothing of topics' ages.
func TestAnOldGroupsLogIsRead(t *testing.T) {
	for born, want := range []protocol.Offset{41, 0} {
		images := Images{}
		for _, line := range []string{
			`{"group":"g","epoch":2,"state":{"generation":3,"strategy":"sticky"},"offsets":[{"topic":"a","partition":"0-0","offset":40}]}`,
			`{"group":"g","epoch":2,"offsets":[{"topic":"a","partition":"0-0","offset":41}]}`,
		} {
			e, err := DecodeEntry([]byte(line))
			if err != nil {
				t.Fatal(err)
			}
			if b, err := e.Encode(MaxEntry); err != nil || string(b) != line {
				t.Errorf("written again it is %s, %v", b, err)
			}
			images.Apply(&e)
		}
		routes := map[string]Topic{"a": {actorstest.PartitionIDs(1), protocol.Epoch(born)}}
		c := New("g", images["g"], routes, time.UnixMilli(1))
		if got := c.Committed().Offsets; len(got) != 1 || got[0].Offset != want {
			t.Errorf("in topic %d the offsets are %+v", born, got)
		}
	}
}
