package store

import (
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"metaq/cluster"
	"metaq/internal/vfs"
	"metaq/internal/vfs/faultfs"
	"metaq/persistence"
	"metaq/protocol"
)

func TestPartitionDirectoriesAreReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := partitionDir{
			topic: rapid.StringMatching(`[A-Za-z0-9_-]{1,128}`).Draw(t, "topic"),
			id: protocol.PartitionID{
				Home: rapid.IntRange(0, protocol.MaxBrokerID).Draw(t, "home"),
				N:    rapid.IntRange(0, protocol.MaxPartitions-1).Draw(t, "n"),
			},
		}
		got, ok := persistence.ParseDirName(p.name())
		if !ok || got.Topic != p.topic || got.ID != p.id {
			t.Fatalf("%s is read as topic %q, partition %s, %v", p.name(), got.Topic, got.ID, ok)
		}
	})
}

func TestOtherNamesAreNoPartitions(t *testing.T) {
	for _, name := range []string{
		"", "-", "t", "t-0", "-0-1", "t-0-01", "t-1024-0", "t-0-10000", "a.b-0-1", "t-0-1.set-aside-unknown-1", "registry", "broker.json",
	} {
		if got, ok := persistence.ParseDirName(name); ok {
			t.Errorf("%q is read as topic %q, partition %s", name, got.Topic, got.ID)
		}
	}
}

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

func TestDataInAnotherPlaceThanItsDataPath(t *testing.T) {
	cfg := config(t, map[string]string{"data": "/a"})
	own := cfg.Topic("t")
	own.DataPath = "/b"
	cfg.Topics = append(cfg.Topics, own)
	fs := disk(t, "/a/t-0-0")
	_, err := Open(fs, cfg)
	if err == nil || !strings.Contains(err.Error(), "/a") || !strings.Contains(err.Error(), "/b") || !strings.Contains(err.Error(), "move t-0-0") {
		t.Errorf("got %v", err)
	}
	if err := fs.RemoveAll("/a/t-0-0"); err != nil {
		t.Fatal(err)
	}
	if err := vfs.MakeDir(fs, "/b/t-0-0"); err != nil {
		t.Fatal(err)
	}
	d, err := Open(fs, cfg) // nothing was left locked
	if err != nil {
		t.Fatal(err)
	}
	if got := d.Path("t", protocol.PartitionID{}); got != "/b/t-0-0" {
		t.Errorf("path %s", got)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

func TestWhatADeletionLeftIsRemoved(t *testing.T) {
	fs := disk(t, "/a/t-0-0.set-aside-deleted-1", "/a/t-0-0.set-aside-unknown-1", "/a/u-0-0")
	d, err := Open(fs, config(t, map[string]string{"data": "/a"}))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	names, err := fs.List("/a")
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, n := range names {
		if !strings.HasPrefix(n, "broker.") {
			left = append(left, n)
		}
	}
	if d := cmp.Diff([]string{"t-0-0.set-aside-unknown-1", "u-0-0"}, left); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string]int{"u": 1}, d.Topics()); d != "" {
		t.Error(d)
	}
}

func TestATokenOutlivesRestarts(t *testing.T) {
	fs, cfg := disk(t, "/a"), config(t, map[string]string{"data": "/a"})
	var tokens []string
	for range 2 {
		d, err := Open(fs, cfg)
		if err != nil {
			t.Fatal(err)
		}
		tokens = append(tokens, d.Token)
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if tokens[0] == "" || tokens[0] != tokens[1] {
		t.Errorf("tokens %q", tokens)
	}
}

func TestALockThatCannotBeOpenedIsNotAnotherBroker(t *testing.T) {
	dir := t.TempDir()
	cfg, lock := config(t, map[string]string{"data": dir}), vfs.Default.PathJoin(dir, lockName)
	if err := vfs.MakeDir(vfs.Default, lock); err != nil {
		t.Fatal(err)
	}
	_, err := Open(vfs.Default, cfg)
	if err == nil || strings.Contains(err.Error(), "another broker") || !strings.Contains(err.Error(), "cannot use data directory "+dir) {
		t.Errorf("a lock that is a directory: %v", err)
	}
	if err := vfs.Default.Remove(lock); err != nil {
		t.Fatal(err)
	}
	d, err := Open(vfs.Default, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err = Open(vfs.Default, cfg); err == nil || !strings.Contains(err.Error(), "in use by another broker") {
		t.Errorf("a lock that is held: %v", err)
	}
}

func TestPartitionsThatWereLedAndHaveNoDirectoryAreFound(t *testing.T) {
	fs := disk(t, "/a/t-0-0", "/a/t-0-3")
	d, err := Open(fs, config(t, map[string]string{"data": "/a"}))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	w, err := cluster.OpenWitness(fs, "/a", false)
	if err != nil {
		t.Fatal(err)
	}
	err = w.Raise(cluster.Epochs{
		"t":       {0: {1, 2, 0, 4, 5}, 1: {1}}, // 0-2 was never led, 0-4 is of an older topic t
		"deleted": {0: {1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	got := d.Gone(map[string]int{"new": 2, "t": 4}, w.Highest)
	if diff := cmp.Diff([]string{"/a/t-0-1"}, got); diff != "" {
		t.Error(diff)
	}
}
