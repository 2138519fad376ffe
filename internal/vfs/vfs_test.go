package vfs_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"syscall"
	"testing"

	"metaq/internal/aligned"
	"metaq/internal/vfs"
	"metaq/internal/vfs/faultfs"
)

func write(t *testing.T, fsys vfs.FS, path, content string) {
	t.Helper()
	f, err := fsys.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, fsys vfs.FS, path string) string {
	t.Helper()
	b, err := vfs.ReadFile(fsys, path, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error { _, err := io.WriteString(w, s); return err }
}

// TestPublishIsAllOrNothing stops the machine at, and fails, each operation of a
// Publish over an older file.
func TestPublishIsAllOrNothing(t *testing.T) {
	for at := 1; ; at++ {
		fired := false
		for _, percent := range []int{0, 50, 100} {
			for _, failure := range []error{syscall.EIO, faultfs.ErrCrashed} {
				fsys := faultfs.New(uint64(at))
				if err := vfs.MakeDir(fsys, "/d"); err != nil {
					t.Fatal(err)
				}
				if err := vfs.Publish(fsys, "/d", "f", text("old")); err != nil {
					t.Fatal(err)
				}
				fsys.FailAt(at, failure, func() { fired = true })
				err := vfs.Publish(fsys, "/d", "f", text("new"))
				got := read(t, fsys.Crash(percent), "/d/f")
				if got != "old" && got != "new" || err == nil && got != "new" {
					t.Fatalf("operation %d, %v, %d%%: %q after %v", at, failure, percent, got, err)
				}
			}
		}
		if !fired {
			return
		}
	}
}

func TestRemoveTempsTakesOnlyWhatWasNotPublished(t *testing.T) {
	fsys := faultfs.New(1)
	fsys.SetHook(func(op faultfs.Op) *faultfs.Fault {
		if op.Kind == faultfs.OpRename {
			return fsys.Stopped(0)
		}
		return nil
	})
	if err := vfs.Publish(fsys, "/", "f", text("x")); err == nil {
		t.Fatal("the machine did not stop")
	}
	after := fsys.Crash(100)
	write(t, after, "/kept", "")
	names, err := after.List("/")
	if err != nil || len(names) != 2 {
		t.Fatal(names, err)
	}
	if names, err = vfs.RemoveTemps(after, "/", names); err != nil || !slices.Equal(names, []string{"kept"}) {
		t.Fatal(names, err)
	}
	if names, err = after.List("/"); err != nil || !slices.Equal(names, []string{"kept"}) {
		t.Fatal(names, err)
	}
}

func TestSetAsideOverwritesNothing(t *testing.T) {
	fsys := faultfs.New(0)
	for i := 1; i <= 3; i++ {
		write(t, fsys, "/f", fmt.Sprint(i))
		path, err := vfs.SetAside(fsys, "/f", "odd")
		if want := fmt.Sprintf("/f.set-aside-odd-%d", i); err != nil || path != want || !vfs.IsAside(path) {
			t.Fatal(path, err)
		}
		if got := read(t, fsys, path); got != fmt.Sprint(i) {
			t.Fatal(got)
		}
	}
}

func TestCutLeavesNothingBehind(t *testing.T) {
	for name, fsys := range map[string]vfs.FS{"by zeros": faultfs.New(0), "by length": faultfs.New(1)} {
		t.Run(name, func(t *testing.T) {
			write(t, fsys, "/f", "0123456789")
			f, err := fsys.OpenReadWrite("/f")
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if err := vfs.Cut(f, 4, 10); err != nil {
				t.Fatal(err)
			}
			if got := read(t, fsys, "/f"); got != "0123" && got != "0123\x00\x00\x00\x00\x00\x00" {
				t.Fatalf("%q", got)
			}
		})
	}
}

// TestTheSystemsFilesCanBeCut holds that Cut shortens a real file: through the
// library's type it must still see how.
func TestTheSystemsFilesCanBeCut(t *testing.T) {
	path := vfs.Default.PathJoin(t.TempDir(), "f")
	write(t, vfs.Default, path, "0123456789")
	f, err := vfs.Default.OpenReadWrite(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := vfs.Cut(f, 4, 10); err != nil {
		t.Fatal(err)
	}
	if got := read(t, vfs.Default, path); got != "0123" {
		t.Fatalf("%q", got)
	}
}

func TestReadFileRefusesWhatIsTooLong(t *testing.T) {
	fsys := faultfs.New(0)
	write(t, fsys, "/f", "12345")
	if _, err := vfs.ReadFile(fsys, "/f", 4); err == nil {
		t.Fatal("five bytes are read with a limit of four")
	}
	if _, err := vfs.ReadFile(fsys, "/none", 4); !vfs.IsNotExist(err) {
		t.Fatal(err)
	}
}

func TestIsDiskFull(t *testing.T) {
	fsys := faultfs.New(1)
	fsys.SetLimit(3)
	f, err := fsys.Create("/f")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n, err := f.WriteAt([]byte("12345"), 0)
	if n != 3 || !vfs.IsDiskFull(fmt.Errorf("write: %w", err)) {
		t.Fatal(n, err)
	}
	if vfs.IsDiskFull(syscall.EIO) || vfs.IsDiskFull(nil) {
		t.Fatal("every error looks like a full disk")
	}
}

// A file of the system's that is written past the cache is read as it was written.
func TestOpenDirect(t *testing.T) {
	path := vfs.Default.PathJoin(t.TempDir(), "f")
	write(t, vfs.Default, path, "before")
	f, err := vfs.OpenDirect(vfs.Default, path)
	if errors.Is(err, vfs.ErrUnsupported) {
		t.Logf("no such writes here: %v", err)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := aligned.New(3 * aligned.Block)
	if !vfs.IsAligned(b, aligned.Block) || vfs.IsAligned(b[1:], 0) || vfs.IsAligned(b[:100], 0) || vfs.IsAligned(b, 100) {
		t.Error("what is aligned is not told from what is not")
	}
	copy(b, "after")
	if n, err := f.WriteAt(b, 0); n != len(b) || err != nil {
		t.Fatalf("%d bytes written: %v", n, err)
	}
	if got := read(t, vfs.Default, path); got != string(b) {
		t.Errorf("%d bytes come back, or others", len(got))
	}
}
