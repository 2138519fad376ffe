package group

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/google/go-cmp/cmp"

	"metaq/actors"
	"metaq/actors/group/core"
	"metaq/protocol"
)

func TestNothingIsCommittedAboveTheEnd(t *testing.T) {
	w := newGroupsWorld(t, nil)
	x := w.join("g", "x", nil)
	answer := w.ask("g", commitOf(x, 2, 111))
	w.refused(answer, protocol.ErrRange)
	if err, ok := answer.(error); !ok || !strings.Contains(err.Error(), "offset 111 of t 0-2 is above its end, which is 110") {
		t.Errorf("the refusal is %v", answer)
	}
	// All or none: the other partition's offset is a good one.
	both := commitOf(x, 2, 111)
	both.Offsets = append(both.Offsets, commitOf(x, 1, 50).Offsets...)
	w.refused(w.ask("g", both), protocol.ErrRange)
	reply := want[protocol.GroupOffsets](w, w.ask("g", actors.GroupCommitted{}))
	if reply.Offsets[1].Offset != 10 || reply.Offsets[2].Offset != 10 {
		t.Errorf("committed are %+v", reply.Offsets)
	}
	reply = want[protocol.GroupOffsets](w, w.ask("g", commitOf(x, 2, 110)))
	if reply.Offsets[0].Offset != 110 {
		t.Errorf("the end itself gave %+v", reply)
	}
	w.refused(w.ask("g", protocol.GroupCommit{Member: "stranger", Generation: x.Generation, Offsets: both.Offsets}), protocol.ErrNoMember)
}

func TestAResetAboveTheEndIsRefused(t *testing.T) {
	w := newGroupsWorld(t, nil)
	to := func(offset protocol.Offset) protocol.GroupReset {
		return protocol.GroupReset{Topic: "t", To: protocol.GroupPlace{At: protocol.StartOffset, Offset: offset}}
	}
	want[protocol.GroupOffsets](w, w.ask("g", to(110)))
	w.refused(w.ask("g", to(111)), protocol.ErrRange)
	reply := want[protocol.GroupOffsets](w, w.ask("g", actors.GroupCommitted{}))
	if len(reply.Offsets) != 4 || reply.Offsets[0].Offset != 110 {
		t.Errorf("committed are %+v", reply.Offsets)
	}
}

// A leader that never answers holds up one commit, and no other one for a while; one
// that nobody replaces, none at all.
func TestALeaderThatIsAwayHoldsUpNoCommits(t *testing.T) {
	w := newGroupsWorld(t, nil)
	asked := make(chan struct{}, 10)
	silent := w.system.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		if _, ok := ctx.Message().(*actors.Offsets); ok {
			asked <- struct{}{}
		}
	}))
	t.Cleanup(func() { _ = w.system.Root.PoisonFuture(silent).Wait() })
	x := w.join("g", "x", nil)
	all := w.routes.Topics["t"]
	away := *all
	away.Leaders = []*actor.PID{silent, nil, all.Leaders[2], all.Leaders[3]}
	w.groups.Publish(&actors.Routes{Topics: map[string]*actors.TopicRoute{"t": &away}})
	for offset := range protocol.Offset(5) {
		for n := range 2 {
			want[protocol.GroupOffsets](w, w.ask("g", commitOf(x, n, 50+offset)))
		}
	}
	if len(asked) != 2 { // for the first commit, and as a new leader for the lineage of its log
		t.Errorf("the silent leader was asked %d times", len(asked))
	}
	w.refused(w.ask("g", commitOf(x, 2, 111)), protocol.ErrRange)
}

func TestEndsAreAskedForOnlyAboveWhatIsKnown(t *testing.T) {
	now := time.Unix(1000, 0)
	b := groupEnds{}
	o := func(offset protocol.Offset) protocol.GroupPosition {
		return protocol.GroupPosition{Topic: "t", Offset: offset}
	}
	asks := func(when time.Time, offset protocol.Offset) bool {
		return len(b.above(when, []protocol.GroupPosition{o(offset)}, func(*protocol.GroupPosition) bool { return false })) > 0
	}
	err := b.learn(now, o(5), ends{reply: protocol.OffsetsReply{EndOffset: 10}})
	got := []bool{asks(now, 10), asks(now, 11)}
	if diff := cmp.Diff([]bool{false, true}, got); diff != "" || err != nil {
		t.Errorf("after an end of 10: %s %v", diff, err)
	}
	err = b.learn(now, o(11), ends{err: core.ErrNoEnds})
	got = []bool{asks(now, 10), asks(now, 11), asks(now.Add(endPause), 11)}
	if diff := cmp.Diff([]bool{false, false, true}, got); diff != "" || err != nil {
		t.Errorf("after a leader's silence: %s %v", diff, err)
	}
	if err := b.learn(now, o(11), ends{reply: protocol.OffsetsReply{EndOffset: 10}}); !errors.Is(err, protocol.ErrRange) {
		t.Errorf("above the end: %v", err)
	}
}
