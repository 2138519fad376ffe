package group

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"metaq/actors"
	"metaq/actors/actorstest"
	"metaq/actors/group/core"
	"metaq/protocol"
)

// newDeletionWorld is a groupsWorld with a registry in which group g has mirrored offset 50.
func newDeletionWorld(t *testing.T) (*groupsWorld, *fakeCoordination) {
	t.Helper()
	c := &fakeCoordination{epochs: map[string]protocol.Epoch{}, offsets: map[string]map[protocol.TopicPartition]core.Place{}}
	w := newGroupsWorld(t, func(d *Deps) { d.Coordination, d.SyncTime = c, time.Millisecond })
	x := w.join("g", "x", nil)
	want[protocol.GroupOffsets](w, w.ask("g", commitOf(x, 0, 50)))
	c.until(t, 50)
	return w, c
}

// until waits for the mirrored offset of group g; 0 is none.
func (c *fakeCoordination) until(t *testing.T, want protocol.Offset) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		c.mu.Lock()
		got := c.offsets["g"][protocol.TopicPartition{Topic: "t"}].Offset
		c.mu.Unlock()
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the mirror has %d, want %d", got, want)
		}
	}
}

// begins is where a new member of group g begins.
func (w *groupsWorld) begins(member string) protocol.Offset {
	w.t.Helper()
	return w.join("g", member, nil).Assigned[0].Offset
}

func TestADeletedGroupDoesNotComeBack(t *testing.T) {
	t.Run("with an empty log", func(t *testing.T) {
		w, _ := newDeletionWorld(t)
		want[protocol.Done](w, w.ask("g", protocol.GroupDelete{Force: true}))
		w.stop()
		w.disk.Log = &actorstest.Log{}
		w.start()
		if at := w.begins("y"); at != 10 {
			t.Errorf("a new member begins at %d, not at the start of the log, 10", at)
		}
	})
	t.Run("with the log of a broker that had it before", func(t *testing.T) {
		w, c := newDeletionWorld(t)
		w.stop()
		c.mu.Lock()
		c.epochs["g"]++ // another broker claims it
		c.mu.Unlock()
		if _, err := c.DeleteGroup(t.Context(), "g"); err != nil {
			t.Fatal(err)
		}
		w.start()
		w.refused(w.ask("g", actors.GroupDescribe{}), protocol.ErrNoGroup)
		if list := want[protocol.GroupList](w, w.ask("", actors.ListGroups{})); len(list.Groups) != 0 {
			t.Errorf("list is %+v", list)
		}
		if at := w.begins("y"); at != 10 {
			t.Errorf("a new member begins at %d, not at the start of the log, 10", at)
		}
		w.stop()
		w.start() // what came after the deletion stays
		if list := want[protocol.GroupList](w, w.ask("", actors.ListGroups{})); len(list.Groups) != 1 || list.Groups[0].Members != 1 {
			t.Errorf("list is %+v", list)
		}
	})
	t.Run("when the log does not follow", func(t *testing.T) {
		w, _ := newDeletionWorld(t)
		w.disk.Update(func(l *actorstest.Log) { l.SyncErr = actorstest.ErrDisk })
		w.refused(w.once("g", protocol.GroupDelete{Force: true}), protocol.ErrUnavailable)
		w.ask("g", actors.GroupCommitted{}) // the log is open again
		w.stop()
		w.start()
		if at := w.begins("y"); at != 10 {
			t.Errorf("a new member begins at %d, not at the start of the log, 10", at)
		}
	})
}

func TestAGroupThatWasMadeAgainIsNotDeleted(t *testing.T) {
	w, c := newDeletionWorld(t)
	in, hold := make(chan struct{}), make(chan struct{})
	c.enter = sync.OnceFunc(func() { close(in); <-hold })
	join := protocol.GroupJoin{Member: "y", Topics: []string{"t"}}
	if err := join.Check(); err != nil {
		t.Fatal(err)
	}
	answers := make(chan any, 2)
	go func() { answers <- w.once("g", protocol.GroupDelete{Force: true}) }()
	<-in
	go func() { answers <- w.once("g", join) }()
	close(hold)
	for range 2 {
		if err, refused := (<-answers).(error); refused {
			t.Fatal(err)
		}
	}
	y := want[protocol.GroupView](w, w.ask("g", protocol.GroupHeartbeat{Member: "y"}))
	if y.Assigned[0].Offset != 10 {
		t.Errorf("the new group begins at %d", y.Assigned[0].Offset)
	}
	want[protocol.GroupOffsets](w, w.ask("g", commitOf(y, 0, 20)))
	c.until(t, 20)
	w.stop()
	w.start() // the log is the truth: nobody else had it
	view := want[protocol.GroupView](w, w.ask("g", protocol.GroupHeartbeat{Member: "y", Generation: y.Generation}))
	if view.Assigned[0].Offset != 20 {
		t.Errorf("after the restart the group is at %d", view.Assigned[0].Offset)
	}
}

func TestAGroupThatTheRegistryDoesNotDeleteStays(t *testing.T) {
	w, c := newDeletionWorld(t)
	c.mu.Lock()
	c.refuse = errors.New("away")
	c.mu.Unlock()
	w.refused(w.once("g", protocol.GroupDelete{Force: true}), protocol.ErrUnavailable)
	if r := want[protocol.GroupOffsets](w, w.ask("g", actors.GroupCommitted{})); len(r.Offsets) == 0 || r.Offsets[0].Offset != 50 {
		t.Errorf("offsets are %+v", r)
	}
	c.until(t, 50) // it was gone there, and is mirrored again
	want[protocol.Done](w, w.ask("g", protocol.GroupDelete{Force: true}))
	c.until(t, 0)
}

func TestNoGroupIsDeletedWhileTheRegistryIsAway(t *testing.T) {
	w, c := newDeletionWorld(t)
	c.mu.Lock()
	c.away = protocol.ErrUnavailable.With("the registry is away")
	c.mu.Unlock()
	answer := w.once("g", protocol.GroupDelete{Force: true})
	w.refused(answer, protocol.ErrUnavailable)
	if text := "nothing was deleted, and this request will not be carried out"; !strings.Contains(fmt.Sprint(answer), text) {
		t.Errorf("%q does not say %q", answer, text)
	}
	c.until(t, 50)
	x := want[protocol.GroupInfo](w, w.ask("g", actors.GroupDescribe{}))
	if len(x.Members) != 1 {
		t.Errorf("the group has %d members, and should be as it was", len(x.Members))
	}
}

func TestAGroupIsNotDeletedByARequestWhoseTimeIsOver(t *testing.T) {
	w, c := newDeletionWorld(t)
	box := &answerBox{answers: make(chan any, 1)}
	pid, _ := w.system.ProcessRegistry.Add(box, w.system.ProcessRegistry.NextId())
	defer w.system.ProcessRegistry.Remove(pid)
	w.system.Root.RequestWithCustomSender(w.groups.PID(), &actors.GroupRequest{
		Group: "g", Request: protocol.GroupDelete{Force: true}, Until: time.Now().Add(-time.Second),
	}, pid)
	w.refused(<-box.answers, protocol.ErrUnavailable)
	c.until(t, 50)
}

// Deletions and resets of a client that has gone are not carried out.
func TestAGroupOutlivesARequestWhoseClientHasGone(t *testing.T) {
	w := newGroupsWorld(t, nil)
	x := w.join("g", "x", nil)
	want[protocol.GroupOffsets](w, w.ask("g", commitOf(x, 0, 42)))
	for _, request := range []any{
		protocol.GroupDelete{Force: true}, protocol.GroupReset{Topic: "t", To: protocol.GroupPlace{At: protocol.StartEarliest}, Force: true},
	} {
		answer, err := w.system.Root.RequestFuture(w.groups.PID(),
			&actors.GroupRequest{Group: "g", Request: request, Heard: func() bool { return false }}, 10*time.Second).Result()
		if err != nil {
			t.Fatal(err)
		}
		w.refused(answer, protocol.ErrUnavailable)
	}
	if r := want[protocol.GroupOffsets](w, w.ask("g", actors.GroupCommitted{})); r.Offsets[0].Offset != 42 {
		t.Errorf("offsets are %+v", r.Offsets)
	}
}
