//go:build unix

package vfs_test

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"metaq/internal/vfs"
)

func TestFilesAreForTheirOwnerAlone(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	dir := filepath.Join(t.TempDir(), "a", "b")
	if err := vfs.MakeDir(vfs.Default, dir); err != nil {
		t.Fatal(err)
	}
	name := func(n string) string { return filepath.Join(dir, n) }
	for range 2 { // the second time there is one already
		f, err := vfs.Default.Create(name("created"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if info, err := f.Stat(); err != nil || info.Size() != 1 {
			t.Fatalf("a created file has %d bytes, %v", info.Size(), err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	f, err := vfs.Default.OpenReadWrite(name("opened"))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	err = vfs.Publish(vfs.Default, dir, "published", func(w io.Writer) error { _, err := w.Write([]byte("y")); return err })
	if err != nil {
		t.Fatal(err)
	}
	lock, err := vfs.Default.Lock(name("lock"))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := vfs.Default.Lock(name("lock")); err == nil {
		t.Error("the lock was given twice")
		_ = again.Close()
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(filepath.Dir(dir), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has the mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestFilesOfOthersModesAreTaken(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "old")
	if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if b, err := vfs.ReadFile(vfs.Default, path, 10); err != nil || string(b) != "old" {
		t.Fatalf("read %q, %v", b, err)
	}
	if err := vfs.MakeDir(vfs.Default, dir); err != nil {
		t.Fatal(err)
	}
	f, err := vfs.Default.OpenReadWrite(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
