package persistence

import (
	"syscall"
	"testing"

	"metaq/internal/vfs/faultfs"
)

// TestTheIntentToTruncateIsDurableBeforeTheCut: the directory's sync failed after
// the intent was renamed into place, and the machine stops at any operation of
// the start that finishes the truncation. The start after it must not take the
// cut for damage.
func TestTheIntentToTruncateIsDurableBeforeTheCut(t *testing.T) {
	for stopAt := 1; ; stopAt++ {
		fsys := faultfs.New(uint64(stopAt))
		l, _, err := Open(Options{FS: fsys, Dir: worldDir})
		if err != nil {
			t.Fatal(err)
		}
		put(t, l, epochTime, "a", "b")
		put(t, l, epochTime, "c")
		if err := l.SetEpoch(2); err != nil { // says that all three had been durable
			t.Fatal(err)
		}
		fsys.SetHook(func(op faultfs.Op) *faultfs.Fault {
			if op.Kind == faultfs.OpSyncDir {
				return &faultfs.Fault{Err: syscall.ENOSPC}
			}
			return nil
		})
		if err := l.TruncateTo(2); err == nil {
			t.Fatal("the intent was not made durable, and yet the log was cut")
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		stopped, ops := false, 0
		fsys.SetHook(func(op faultfs.Op) *faultfs.Fault {
			if !op.Kind.Changes() {
				return nil
			}
			if ops++; ops == stopAt {
				stopped = true
				return fsys.Stopped(0)
			}
			return nil
		})
		if l, _, err = Open(Options{FS: fsys, Dir: worldDir}); err == nil {
			_ = l.Close() // stopped, too, or not: what is on disk counts
		}
		fsys.SetHook(nil)
		fsys.Stop()
		l, _, err = Open(Options{FS: fsys.Crash(0), Dir: worldDir})
		if err != nil {
			t.Fatalf("stopped at operation %d: %v", stopAt, err)
		}
		if n := l.Next(); n != 2 && n != 3 {
			t.Errorf("stopped at operation %d: the log ends at %d", stopAt, n)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if !stopped {
			return
		}
	}
}
