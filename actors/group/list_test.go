package group

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"metaq/actors"
	"metaq/actors/actorstest"
	"metaq/protocol"
)

func (w *groupsWorld) list() protocol.GroupList {
	w.t.Helper()
	return want[protocol.GroupList](w, w.ask("", actors.ListGroups{}))
}

func TestNoMoreGroupsBeginThanAreAllowed(t *testing.T) {
	w := newGroupsWorld(t, func(d *Deps) { d.MaxGroups = 2 })
	x := w.join("g1", "x", nil)
	w.join("g2", "x", nil)
	refusal := w.ask("g3", protocol.GroupJoin{Member: "x", Topics: []string{"t"}, SessionMs: 10_000, ReleaseMs: 10_000})
	w.refused(refusal, protocol.ErrBusy)
	if err, ok := refusal.(error); !ok || !strings.Contains(err.Error(), "maxGroups") {
		t.Errorf("refused with %v", refusal)
	}
	w.refused(w.ask("g3", protocol.GroupReset{Topic: "t", To: protocol.GroupPlace{At: protocol.StartLatest}}), protocol.ErrBusy)
	w.join("g1", "y", nil) // a group that exists is served
	want[protocol.GroupOffsets](w, w.ask("g2", protocol.GroupReset{Topic: "t", To: protocol.GroupPlace{At: protocol.StartLatest}, Force: true}))
	w.refused(w.ask("g3", protocol.GroupJoin{Member: "x", Topics: []string{"t"}}), protocol.ErrBusy)
	_ = x
	want[protocol.Done](w, w.ask("g1", protocol.GroupDelete{Force: true}))
	w.join("g3", "x", nil)
}

func TestAGroupThatHoldsNothingIsForgotten(t *testing.T) {
	w := newGroupsWorld(t, func(d *Deps) { d.Idle, d.Forget = time.Millisecond, time.Millisecond })
	w.join("blank", "x", func(r *protocol.GroupJoin) { r.Topics = []string{"none"} })
	w.join("used", "x", nil)
	w.join("live", "x", func(r *protocol.GroupJoin) { r.Topics = []string{"none"} })
	for _, group := range []string{"blank", "used"} {
		want[protocol.Done](w, w.ask(group, protocol.GroupLeave{Member: "x"}))
	}
	names := func() (out []string) {
		for _, g := range w.list().Groups {
			out = append(out, g.Group)
		}
		return out
	}
	deadline := time.Now().Add(10 * time.Second)
	for slices.Contains(names(), "blank") && time.Now().Before(deadline) { //nolint:revive // it waits for the groups' own clock
	}
	if got := names(); !slices.Equal(got, []string{"live", "used"}) {
		t.Errorf("the groups are %v", got)
	}
	w.stop()
	w.start()
	if got := names(); !slices.Equal(got, []string{"live", "used"}) {
		t.Errorf("after a restart the groups are %v", got)
	}
	w.join("blank", "y", nil)
}

func TestAGroupOfAnEarlierRunThatHoldsNothingIsForgotten(t *testing.T) {
	w := newGroupsWorld(t, nil)
	w.join("blank", "x", func(r *protocol.GroupJoin) { r.Topics = []string{"none"} })
	want[protocol.Done](w, w.ask("blank", protocol.GroupLeave{Member: "x"}))
	w.stop()
	w.deps.Idle, w.deps.Forget = time.Millisecond, time.Millisecond
	w.start()
	deadline := time.Now().Add(10 * time.Second)
	for len(w.list().Groups) > 0 {
		if time.Now().After(deadline) {
			t.Fatal("the group is still there")
		}
	}
}

// A flood of requests for the list of groups makes it once for all that wait: it is made by
// the actor that members' heartbeats and commits go through.
func TestAFloodOfListsMakesOneForAllThatWait(t *testing.T) {
	var made atomic.Int64
	w := newGroupsWorld(t, func(d *Deps) {
		d.Gather = func(own protocol.GroupList) protocol.GroupList { made.Add(1); return own }
	})
	view := w.join("g", "x", nil)
	syncing, hold := make(chan struct{}), make(chan struct{})
	enter := sync.OnceFunc(func() { close(syncing) })
	w.disk.Update(func(l *actorstest.Log) { l.BeforeSync = func() { enter(); <-hold } })
	commit := w.system.Root.RequestFuture(w.groups.PID(), &actors.GroupRequest{Group: "g", Request: commitOf(view, 0, 50)}, 10*time.Second)
	<-syncing // the groups actor is busy
	var lists []*actor.Future
	for range 100 {
		lists = append(lists, w.system.Root.RequestFuture(w.groups.PID(), actors.ListGroups{}, 10*time.Second))
	}
	close(hold)
	for _, f := range append(lists, commit) {
		if a, err := f.Result(); err != nil {
			t.Fatal(err)
		} else if list, ok := a.(protocol.GroupList); ok && len(list.Groups) != 1 {
			t.Errorf("list is %v", list)
		}
	}
	if n := made.Load(); n != 1 {
		t.Errorf("the list was made %d times for 100 that waited", n)
	}
}
