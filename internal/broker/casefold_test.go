package broker

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"metaq/actors"
	"metaq/internal/vfs"
	"metaq/persistence/store"
	"metaq/protocol"
)

// foldingFS keeps the case of names and does not tell them apart by it, as the file
// systems of Windows and macOS do.
type foldingFS struct{ vfs.FS }

// real is path as its elements were made.
func (f foldingFS) real(path string) string {
	at := "/"
	for element := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		names, err := f.FS.List(at)
		if err != nil {
			names = nil // below what is not there nothing is
		}
		for _, name := range names {
			if strings.EqualFold(name, element) {
				element = name
			}
		}
		at = f.PathJoin(at, element)
	}
	return at
}

func (f foldingFS) Create(path string) (vfs.File, error) {
	return f.FS.Create(f.real(path))
}

func (f foldingFS) Open(path string) (vfs.File, error) {
	return f.FS.Open(f.real(path))
}

func (f foldingFS) OpenReadWrite(path string) (vfs.File, error) {
	return f.FS.OpenReadWrite(f.real(path))
}

func (f foldingFS) OpenDir(path string) (vfs.File, error)  { return f.FS.OpenDir(f.real(path)) }
func (f foldingFS) Remove(path string) error               { return f.FS.Remove(f.real(path)) }
func (f foldingFS) RemoveAll(path string) error            { return f.FS.RemoveAll(f.real(path)) }
func (f foldingFS) Rename(from, to string) error           { return f.FS.Rename(f.real(from), f.real(to)) }
func (f foldingFS) List(path string) ([]string, error)     { return f.FS.List(f.real(path)) }
func (f foldingFS) Stat(path string) (vfs.FileInfo, error) { return f.FS.Stat(f.real(path)) }

// TestTopicsThatDifferOnlyInCase wants that the second one is refused where both
// would have one directory, also after a restart, and that its deletion leaves the
// first one's data.
func TestTopicsThatDifferOnlyInCase(t *testing.T) {
	cfg := config(t, map[string]string{"data": "/a"})
	fs := foldingFS{disk(t, "/a")}
	id := protocol.PartitionID{}
	var s *logs
	restart := func() {
		t.Helper()
		d, err := store.Open(fs, cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
		s = &logs{dirs: d, log: slog.New(slog.DiscardHandler), now: func() time.Time { return time.Unix(1_700_000_000, 0) }}
	}
	opens := func(topic string) error {
		l, err := s.Open(topic, id, actors.Settings{MaxSegmentSize: 1 << 20})
		if err != nil {
			return err
		}
		return l.Close()
	}
	refuses := func(topic, owner string) {
		t.Helper()
		err := opens(topic)
		if err == nil || !strings.Contains(err.Error(), "topic "+topic+" ") || !strings.Contains(err.Error(), "topic "+owner+" ") {
			t.Errorf("%s beside %s: %v", topic, owner, err)
		}
	}
	restart()
	if err := opens("Orders"); err != nil {
		t.Fatal(err)
	}
	refuses("orders", "Orders")
	if err := s.dirs.Close(); err != nil {
		t.Fatal(err)
	}
	restart()
	refuses("orders", "Orders")
	if err := s.SetAside("orders", id); err != nil {
		t.Fatal(err)
	}
	if err := opens("Orders"); err != nil {
		t.Fatal(err)
	}
	if there, err := store.Exists(fs.FS, "/a/Orders-0-0"); !there || err != nil {
		t.Errorf("the deletion of orders took the data of Orders: %v", err)
	}
	if err := s.SetAside("Orders", id); err != nil {
		t.Fatal(err)
	}
	if err := opens("orders"); err != nil {
		t.Error(err)
	}
}

// TestCaseMattersWhereTheFileSystemTellsIt holds that two such topics are well on
// other file systems.
func TestCaseMattersWhereTheFileSystemTellsIt(t *testing.T) {
	d, err := store.Open(disk(t, "/a/Orders-0-0", "/a/orders-0-0"), config(t, map[string]string{"data": "/a"}))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, topic := range []string{"Orders", "orders"} {
		if err := d.Claim(topic, protocol.PartitionID{}); err != nil || !d.Owns(topic, protocol.PartitionID{}) {
			t.Errorf("%s: %v", topic, err)
		}
	}
}
