package group

import (
	"fmt"
	"testing"

	"metaq/actors"
	"metaq/actors/actorstest"
	"metaq/protocol"
)

func TestAStepThatCannotBeLoggedIsRefusedAlone(t *testing.T) {
	opened := 0
	w := newGroupsWorld(t, func(d *Deps) {
		open := d.OpenLog
		d.OpenLog = func() (actors.Log, error) { opened++; return open() }
		d.maxEntry = 2000
	})
	other := w.join("other", "y", nil)
	x := w.join("g", "x", nil)
	want[protocol.GroupOffsets](w, w.ask("g", commitOf(x, 0, 20)))
	w.refused(w.once("g", protocol.GroupJoin{Member: "z", Topics: actorstest.ManyTopics("t", 100), SessionMs: 10_000}), protocol.ErrTooLarge)
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
	w := newGroupsWorld(t, func(d *Deps) { d.SnapshotBytes, d.maxEntry = 1000, 800 })
	for i := range 5 {
		w.join("g", fmt.Sprint("x", i), nil)
	}
	x := w.join("g", "x0", nil)
	for i := range 50 {
		want[protocol.GroupOffsets](w, w.once("g", commitOf(x, x.Assigned[0].Partition.N, protocol.Offset(11+i))))
	}
}
