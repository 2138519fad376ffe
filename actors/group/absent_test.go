package group

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"metaq/actors"
	"metaq/actors/group/core"
	"metaq/protocol"
)

// Names that nobody has are asked for, and joins beyond the limit are refused: the registry
// gets no record of any, which would stay there for ever.
func TestInventedGroupNamesLeaveNoRecord(t *testing.T) {
	c := &fakeCoordination{epochs: map[string]protocol.Epoch{}, offsets: map[string]map[protocol.TopicPartition]core.Place{}}
	w := newGroupsWorld(t, func(d *Deps) { d.Coordination, d.MaxGroups = c, 1 })
	recorded := func() int {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.epochs)
	}
	for _, r := range []struct {
		request any
		refusal *protocol.Error
	}{
		{protocol.GroupHeartbeat{Member: "x"}, protocol.ErrNoMember},
		{protocol.GroupLeave{Member: "x"}, protocol.ErrNoMember},
		{protocol.GroupCommit{Member: "x", Offsets: []protocol.GroupPosition{{Topic: "t", Offset: 1}}}, protocol.ErrNoMember},
		{actors.GroupCommitted{}, protocol.ErrNoGroup},
		{actors.GroupDescribe{}, protocol.ErrNoGroup},
		{protocol.GroupDelete{}, protocol.ErrNoGroup},
	} {
		w.refused(w.ask("invented", r.request), r.refusal)
	}
	if n := recorded(); n != 0 {
		t.Errorf("the registry has %d groups", n)
	}
	w.join("real", "x", nil)
	w.refused(w.once("more", protocol.GroupJoin{Member: "y", Topics: []string{"t"}}), protocol.ErrBusy)
	if n := recorded(); n != 1 {
		t.Errorf("the registry has %d groups, one was joined", n)
	}
	// A group that another broker coordinated is found by a request that makes none.
	c.mu.Lock()
	c.epochs["moved"] = 3
	c.offsets["moved"] = map[protocol.TopicPartition]core.Place{{Topic: "t"}: {Offset: 5}}
	c.mu.Unlock()
	if r := want[protocol.GroupOffsets](w, w.ask("moved", actors.GroupCommitted{})); len(r.Offsets) != 1 || r.Offsets[0].Offset != 5 {
		t.Errorf("offsets are %+v", r)
	}
}

// A join that comes while a lookup of the same name is under way makes the group.
func TestAJoinBehindALookupMakesTheGroup(t *testing.T) {
	c := &fakeCoordination{epochs: map[string]protocol.Epoch{}, offsets: map[string]map[protocol.TopicPartition]core.Place{}}
	w := newGroupsWorld(t, func(d *Deps) { d.Coordination = c })
	want[protocol.GroupList](w, w.ask("", actors.ListGroups{})) // the log is open
	c.mu.Lock()                                                 // the lookup waits
	lookup := w.system.Root.RequestFuture(w.groups.PID(), &actors.GroupRequest{Group: "g", Request: actors.GroupDescribe{}}, 10*time.Second)
	join := w.system.Root.RequestFuture(w.groups.PID(), &actors.GroupRequest{
		Group: "g", Request: protocol.GroupJoin{Member: "x", Topics: []string{"t"}, SessionMs: protocol.DefaultSessionMs, ReleaseMs: protocol.DefaultReleaseMs},
	}, 10*time.Second)
	c.mu.Unlock()
	r, err := lookup.Result()
	if err != nil {
		t.Fatal(err)
	}
	w.refused(r, protocol.ErrNoGroup)
	r, err = join.Result()
	if v, ok := r.(protocol.GroupView); err != nil || !ok || v.Member != "x" {
		t.Errorf("the join is answered with %v, %v", r, err)
	}
}

// awayRegistry fails each look for a group.
type awayRegistry struct{ fakeCoordination }

func (*awayRegistry) GroupRecorded(context.Context, string) (bool, error) {
	return false, protocol.ErrUnavailable.With("away")
}

// A client that asks for many groups while the registry is away fills no disk with log lines.
func TestRequestsWhileTheRegistryIsAwayAreLoggedOnce(t *testing.T) {
	var log lockedBuffer
	w := newGroupsWorld(t, func(d *Deps) {
		d.Coordination, d.Logger = &awayRegistry{}, slog.New(slog.NewTextHandler(&log, nil))
	})
	want[protocol.GroupList](w, w.ask("", actors.ListGroups{})) // the log is open
	for i := range 100 {
		w.refused(w.once(fmt.Sprint("g", i), actors.GroupDescribe{}), protocol.ErrUnavailable)
	}
	if n := strings.Count(log.String(), "group's registry call failed"); n != 1 {
		t.Errorf("%d lines", n)
	}
}

// lockedBuffer takes what a logger writes.
type lockedBuffer struct {
	mu sync.Mutex // guards b
	b  strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
