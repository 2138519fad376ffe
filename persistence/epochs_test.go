package persistence

import (
	"errors"
	"testing"

	"metaq/internal/vfs/faultfs"
	"metaq/protocol"
)

// TestAdoptedEpochs wants that an epoch which is durable elsewhere costs nothing
// until it has records, and is known after a crash as soon as it has.
func TestAdoptedEpochs(t *testing.T) {
	fsys := faultfs.New(1)
	o := Options{FS: fsys, Dir: "/t-0-0", Now: newClock().now, IndexInterval: 1000}
	l, _ := openLog(t, o)
	if err := l.SetEpoch(3); err != nil {
		t.Fatal(err)
	}
	put(t, l, epochTime, "a", "b")
	changes := 0
	fsys.SetHook(func(op faultfs.Op) *faultfs.Fault {
		if op.Kind.Changes() {
			changes++
		}
		return nil
	})
	if err := l.AdoptEpoch(7); err != nil || changes > 0 || l.LastEpoch() != 7 || l.EpochEnd(3) != 2 {
		t.Fatalf("%v, %d changes on disk, epoch %d", err, changes, l.LastEpoch())
	}
	if err := l.AdoptEpoch(6); !errors.Is(err, protocol.ErrFenced) {
		t.Fatalf("epoch 6 after 7: %v", err)
	}
	fsys.SetHook(nil)
	after := func(want protocol.Epoch, firsts ...protocol.Offset) {
		t.Helper()
		o := o
		o.FS = fsys.Crash(0)
		l, r, err := Open(o)
		if err != nil || r.StateRebuilt != "" || l.LastEpoch() != want {
			t.Fatalf("epoch %d, %+v, %v", l.LastEpoch(), r, err)
		}
		for e, first := range firsts {
			if got := l.EpochEnd(protocol.Epoch(2 + 4*e)); got != first {
				t.Errorf("the epoch after %d begins at %d, not at %d", 2+4*e, got, first)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	after(3)
	put(t, l, epochTime, "c")
	after(7, 0, 2)
	// The index lets recovery skip what lies before its last entry.
	for range 5 {
		put(t, l, epochTime, string(make([]byte, 900)))
	}
	if err := l.AdoptEpoch(11); err != nil {
		t.Fatal(err)
	}
	put(t, l, epochTime, "d")
	after(11, 0, 2, 8)
	if err := l.AdoptEpoch(12); err != nil {
		t.Fatal(err)
	}
	if err := l.Park(); err != nil {
		t.Fatal(err)
	}
	after(12, 0, 2, 8)
}

// TestAnUncleanOpenIsCheap holds what a start of many partitions lives from: one
// file is opened for writing and synced, once, and no name changes.
func TestAnUncleanOpenIsCheap(t *testing.T) {
	fsys := faultfs.New(1)
	o := Options{FS: fsys, Dir: "/data/t-0-0", Now: newClock().now}
	l, _ := openLog(t, o)
	if err := l.SetEpoch(1); err != nil {
		t.Fatal(err)
	}
	put(t, l, epochTime, "a", "b")
	o.FS = fsys.Crash(100)
	count := map[faultfs.Kind]int{}
	o.FS.(*faultfs.FS).SetHook(func(op faultfs.Op) *faultfs.Fault {
		count[op.Kind]++
		return nil
	})
	l, r, err := Open(o)
	if err != nil || r.Clean || r.Next != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	if err := l.AdoptEpoch(2); err != nil {
		t.Fatal(err)
	}
	for kind, most := range map[faultfs.Kind]int{
		faultfs.OpList: 1,
		faultfs.OpOpen: 1, faultfs.OpCreate: 1, // the state file, and the segment for writing
		faultfs.OpWrite: 1, faultfs.OpSync: 1,
		faultfs.OpSyncDir: 0, faultfs.OpRename: 0, faultfs.OpOpenDir: 0,
	} {
		if count[kind] > most {
			t.Errorf("%d operations %s, want at most %d: %v", count[kind], kind, most, count)
		}
	}
	o.FS.(*faultfs.FS).SetHook(nil)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}
