package broker

import (
	"io"
	"testing"

	"metaq/internal/vfs"
	"metaq/internal/vfs/faultfs"
)

// disk is a file system with partitions' directories, one file in each.
func disk(t *testing.T, names ...string) *faultfs.FS {
	t.Helper()
	fs := faultfs.New(1)
	for _, name := range names {
		if err := vfs.MakeDir(fs, name); err != nil {
			t.Fatal(err)
		}
		if err := vfs.Publish(fs, name, "0.log", func(w io.Writer) error { _, err := w.Write([]byte("x")); return err }); err != nil {
			t.Fatal(err)
		}
	}
	return fs
}
