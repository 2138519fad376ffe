package persistence

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"metaq/internal/vfs"
	"metaq/internal/vfs/faultfs"
	"metaq/protocol"
)

// inspected returns the report as `metaq log check` prints it.
func inspected(t *testing.T, fsys vfs.FS) (string, Report) {
	t.Helper()
	r, err := Inspect(fsys, "/t-0-0")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, s := range r.Segments {
		fmt.Fprintf(&b, "%s %d %d %d %s\n", s.Name, s.First, s.Last, s.Bytes, s.State)
	}
	return b.String(), r
}

// overwrite changes bytes of a file.
func overwrite(t *testing.T, fsys vfs.FS, path string, at int64, b []byte) {
	t.Helper()
	f, err := fsys.OpenReadWrite(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}

func TestInspectTellsTheStateOfEachSegment(t *testing.T) {
	fsys := faultfs.New(0)
	o := Options{FS: fsys, Dir: "/t-0-0", SegmentSize: 400, Preallocate: -1, Now: newClock().now}
	l, _ := openLog(t, o)
	for i := range 8 {
		put(t, l, epochTime, values(i, i+1)...)
	}
	first, second := "/t-0-0/"+baseName(0)+segmentSuffix, "/t-0-0/"+baseName(6)+segmentSuffix
	got, r := inspected(t, fsys)
	want := `00000000000000000000.log 0 2 337 ok
00000000000000000003.log 3 5 337 ok
00000000000000000006.log 6 7 246 ok
`
	if d := cmp.Diff(want, got); d != "" || r.Torn || len(r.Damage) > 0 {
		t.Fatal(d, r)
	}
	// A write that never finished.
	overwrite(t, fsys, second, 246, []byte("MQB\x01\x00\x00\x00\x50"))
	got, r = inspected(t, fsys)
	if want := "torn tail at 246: 2 records kept, 8 bytes dropped\n"; !strings.HasSuffix(got, want) || !r.Torn || len(r.Damage) > 0 {
		t.Fatal(got, r)
	}
	// A byte of a sealed segment.
	overwrite(t, fsys, first, 240, []byte{0xff})
	got, r = inspected(t, fsys)
	var damage *DamageError
	if !strings.Contains(got, "damage at 155: bad batch: checksum") || len(r.Damage) == 0 || !errors.As(r.Damage[0], &damage) || damage.Path != first || damage.Offset != 1 {
		t.Fatal(got, r)
	}
	// The reader finds the same, and only what it needs is damaged.
	if b, err := l.Read(nil, 0, 1, 50); err != nil || len(decode(t, b)) != 1 {
		t.Fatal(err)
	}
	if _, err := l.Read(nil, 1, 3, 50); !errors.As(err, &damage) || damage.Position != 155 {
		t.Fatal(err)
	}
	if got := readAll(t, l, 3, 1000); len(got) != 5 {
		t.Fatal(got)
	}
	// A segment in the middle.
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := fsys.Remove("/t-0-0/" + baseName(3) + segmentSuffix); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(o); !errors.As(err, &damage) || !strings.Contains(err.Error(), "a segment is missing before it") {
		t.Fatal(err)
	}
	if got, r = inspected(t, fsys); !strings.Contains(got, "damage at 0: a segment is missing before it") {
		t.Fatal(got, r)
	}
}

func TestInspectWantsAPartition(t *testing.T) {
	fsys := faultfs.New(0)
	if err := vfs.MakeDir(fsys, "/empty"); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"/empty", "/none"} {
		if _, err := Inspect(fsys, dir); err == nil || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

func TestDumpGivesEveryBatch(t *testing.T) {
	fsys := faultfs.New(0)
	l, _ := openLog(t, Options{FS: fsys, Dir: "/t-0-0", Now: newClock().now})
	put(t, l, epochTime, "a", "b")
	put(t, l, epochTime+1, "c")
	path := "/t-0-0/" + baseName(0) + segmentSuffix
	var got []string
	dump := func() error {
		got = nil
		return Dump(fsys, path, func(at int64, h protocol.BatchHeader, records []protocol.Record) error {
			for _, r := range records {
				got = append(got, fmt.Sprintf("%d %d %d %s", at, r.Offset, r.Time, r.Value))
			}
			return nil
		})
	}
	if err := dump(); err != nil {
		t.Fatal(err)
	}
	want := []string{"64 0 1700000000000 a", "64 1 1700000000000 b", "154 2 1700000000001 c"}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatal(d)
	}
	overwrite(t, fsys, path, 160, []byte{1})
	var damage *DamageError
	if err := dump(); !errors.As(err, &damage) || damage.Position != 154 || len(got) != 2 {
		t.Fatal(err, got)
	}
	if err := Dump(fsys, "/t-0-0/epochs", nil); err == nil {
		t.Fatal("a file that is no segment is dumped")
	}
}

// TestAWrongIndexIsMadeAgain replaces the index of a sealed segment by one whose
// entries are well formed and wrong.
func TestAWrongIndexIsMadeAgain(t *testing.T) {
	fsys := faultfs.New(0)
	rebuilt := 0
	o := Options{
		FS: fsys, Dir: "/t-0-0", SegmentSize: 3000, IndexInterval: 200, Now: newClock().now,
		Events: Events{IndexRebuilt: func(path, why string) { rebuilt++ }},
	}
	l, _ := openLog(t, o)
	for i := range 60 {
		put(t, l, epochTime+int64(i), values(i, i+1)...)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for name, entries := range map[string][]indexEntry{
		"between batches":   {{offset: 3, at: 200, time: epochTime + 2}},
		"of another record": {{offset: 4, at: segmentHeaderSize + 3*91, time: epochTime + 4}},
		"of another time":   {{offset: 3, at: segmentHeaderSize + 3*91, time: epochTime + 9}},
	} {
		rebuilt = 0
		if err := writeIndex(fsys, "/t-0-0", 0, entries); err != nil {
			t.Fatal(err)
		}
		l, _ := openLog(t, o)
		if d := cmp.Diff(values(25, 60), readAll(t, l, 25, 500)); d != "" || rebuilt != 1 {
			t.Fatalf("%s: made again %d times, %s", name, rebuilt, d)
		}
		if at, err := l.OffsetAt(epochTime+10, 60); err != nil || at != 10 {
			t.Fatal(at, err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if entries, why, err := readIndex(fsys, "/t-0-0", (*l.segments.Load())[0]); err != nil || why != "" || len(entries) < 5 {
			t.Fatalf("%s: the index has %d entries, %s", name, len(entries), why)
		}
	}
}
