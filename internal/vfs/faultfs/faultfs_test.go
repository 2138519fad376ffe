package faultfs_test

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"metaq/internal/vfs"
	"metaq/internal/vfs/faultfs"
)

// create makes a durable file with content.
func create(t *testing.T, y *faultfs.FS, path, content string) vfs.File {
	t.Helper()
	f, err := y.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	put(t, f, content, 0)
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := vfs.SyncDir(y, y.PathDir(path)); err != nil {
		t.Fatal(err)
	}
	return f
}

func put(t *testing.T, f vfs.File, content string, at int64) {
	t.Helper()
	if _, err := f.WriteAt([]byte(content), at); err != nil {
		t.Fatal(err)
	}
}

// content is what a crash leaves of a file; "gone" when it leaves none.
func content(t *testing.T, y *faultfs.FS, path string) string {
	t.Helper()
	b, err := vfs.ReadFile(y, path, 1<<20)
	if vfs.IsNotExist(err) {
		return "gone"
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestACrashLosesOnlyWhatWasNotSynced(t *testing.T) {
	y := faultfs.New(1)
	f := create(t, y, "/f", "old")
	put(t, f, "new and longer", 0)
	if _, err := y.Create("/g"); err != nil {
		t.Fatal(err)
	}
	if got := content(t, y.Crash(0), "/f") + content(t, y.Crash(0), "/g"); got != "oldgone" {
		t.Fatal(got)
	}
	if got := content(t, y.Crash(100), "/f") + content(t, y.Crash(100), "/g"); got != "new and longer" {
		t.Fatal(got)
	}
}

func TestACrashTearsAWriteAtAnyByte(t *testing.T) {
	y := faultfs.New(1)
	f := create(t, y, "/f", strings.Repeat("o", 20))
	put(t, f, strings.Repeat("n", 20), 0)
	borders := map[int]bool{}
	for range 300 {
		got := content(t, y.Crash(50), "/f")
		for i := 1; i < len(got); i++ {
			if got[i] != got[i-1] {
				borders[i] = true
			}
		}
	}
	if len(borders) != 19 {
		t.Fatalf("torn only at %v", borders)
	}
}

func TestAFailedSyncForgetsWhatWasDirty(t *testing.T) {
	y := faultfs.New(3)
	f := create(t, y, "/f", strings.Repeat("o", 50))
	put(t, f, strings.Repeat("n", 50), 0)
	y.SetHook(func(op faultfs.Op) *faultfs.Fault {
		if op.Kind == faultfs.OpSync {
			return &faultfs.Fault{Err: syscall.EIO}
		}
		return nil
	})
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	y.SetHook(nil)
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if got := content(t, y, "/f"); strings.Contains(got, "o") {
		t.Fatalf("the cache holds %s", got)
	}
	if got := content(t, y.Crash(100), "/f"); !strings.Contains(got, "o") {
		t.Fatal("the second sync wrote what the first had failed to write")
	}
	put(t, f, strings.Repeat("n", 50), 0)
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if got := content(t, y.Crash(0), "/f"); strings.Contains(got, "o") {
		t.Fatalf("written again and synced, and a crash leaves %s", got)
	}
}

func TestARenameIsOneStep(t *testing.T) {
	y := faultfs.New(1)
	create(t, y, "/f", "x")
	if err := y.Rename("/f", "/g"); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for range 50 {
		after := y.Crash(50)
		seen[content(t, after, "/f")+" "+content(t, after, "/g")] = true
	}
	if len(seen) != 2 || !seen["x gone"] || !seen["gone x"] {
		t.Fatalf("%v", seen)
	}
}

func TestAStoppedMachineDoesNothing(t *testing.T) {
	y := faultfs.New(1)
	f := create(t, y, "/f", "")
	y.SetHook(func(op faultfs.Op) *faultfs.Fault { return y.Stopped(2) })
	if n, err := f.WriteAt([]byte("abc"), 0); n != 2 || !errors.Is(err, faultfs.ErrCrashed) {
		t.Fatal(n, err)
	}
	if _, err := y.List("/"); !errors.Is(err, faultfs.ErrCrashed) {
		t.Fatal(err)
	}
	if got := content(t, y.Crash(100), "/f"); got != "ab" {
		t.Fatal(got)
	}
}
