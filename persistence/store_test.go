package persistence

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"metaq/internal/vfs"
	"metaq/protocol"
)

func TestDirNames(t *testing.T) {
	for name, want := range map[string]PartitionDir{
		"meta-test-0-3":             {"meta-test", protocol.PartitionID{Home: 0, N: 3}},
		"a-1-2-10-11":               {"a-1-2", protocol.PartitionID{Home: 10, N: 11}},
		"t-1023-9999":               {"t", protocol.PartitionID{Home: 1023, N: 9999}},
		"--0-0":                     {"-", protocol.PartitionID{}},
		"t-0":                       {},
		"-0-0":                      {},
		"t-0-03":                    {},
		"t-1024-0":                  {},
		"lock":                      {},
		"a.b-0-0":                   {},
		"t-0-0.set-aside-unknown-1": {},
	} {
		got, ok := ParseDirName(name)
		if got != want || ok != (want.Topic != "") {
			t.Errorf("%s: %+v, %t", name, got, ok)
		}
		if ok && DirName(got.Topic, got.ID) != name {
			t.Errorf("%s: written again as %s", name, DirName(got.Topic, got.ID))
		}
	}
}

func TestStoreListsAndSetsAside(t *testing.T) {
	fsys := vfs.NewMem()
	s, err := OpenStore(fsys, "/data", "broker 0")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, id := range []protocol.PartitionID{{Home: 0, N: 10}, {Home: 0, N: 9}, {Home: 1, N: 0}} {
		dir, err := s.Claim("a-b", id)
		if err != nil {
			t.Fatal(err)
		}
		l, _ := openLog(t, Options{FS: fsys, Dir: dir})
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Claim("A-b", protocol.PartitionID{Home: 1, N: 0}); err == nil || !strings.Contains(err.Error(), "upper and lower case") {
		t.Fatal(err)
	}
	if _, err := s.Claim("a.b", protocol.PartitionID{}); err == nil {
		t.Fatal("a name that is not allowed is accepted")
	}
	path, err := s.SetAside("a-b", protocol.PartitionID{Home: 0, N: 10}, "unknown-topic")
	if err != nil || path != "/data/a-b-0-10.set-aside-unknown-topic-1" {
		t.Fatal(path, err)
	}
	got, err := s.Partitions()
	if err != nil {
		t.Fatal(err)
	}
	want := []PartitionDir{{"a-b", protocol.PartitionID{Home: 0, N: 9}}, {"a-b", protocol.PartitionID{Home: 1, N: 0}}}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatal(d)
	}
}

// TestTwoProcessesDoNotShareAStore runs this test a second time, as the other
// process.
func TestTwoProcessesDoNotShareAStore(t *testing.T) {
	if dir := os.Getenv("STORE_OF_ANOTHER_PROCESS"); dir != "" {
		_, err := OpenStore(nil, dir, "broker 1")
		if err == nil || !strings.Contains(err.Error(), "in use by broker 0, the first") || !strings.Contains(err.Error(), dir) {
			t.Fatalf("the second process gets: %v", err)
		}
		return
	}
	dir := t.TempDir()
	s, err := OpenStore(nil, dir, "broker 0, the first")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenStore(nil, dir, "broker 0, again"); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Fatalf("the same process gets: %v", err)
	}
	other := exec.Command(os.Args[0], "-test.run=^TestTwoProcessesDoNotShareAStore$")
	other.Env = append(os.Environ(), "STORE_OF_ANOTHER_PROCESS="+dir)
	if out, err := other.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = OpenStore(nil, dir, "broker 0, later"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
