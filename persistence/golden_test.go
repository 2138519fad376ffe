package persistence

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"metaq/internal/vfs"
	"metaq/internal/vfs/faultfs"
	"metaq/protocol"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares b with the hex dump in testdata/name and returns the bytes of
// the file, so that a decoder can be tried on what an older release wrote.
func golden(t *testing.T, name string, b []byte) []byte {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(hex.Dump(b)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v: make it with -update", err)
	}
	want := parseDump(t, string(text))
	if !bytes.Equal(b, want) {
		t.Fatalf("%s: the format has changed (-want +got):\n%s", path, cmp.Diff(string(text), hex.Dump(b)))
	}
	return want
}

// parseDump reads what hex.Dump writes.
func parseDump(t *testing.T, text string) []byte {
	t.Helper()
	var out []byte
	for line := range strings.Lines(text) {
		columns, _, ok := strings.Cut(line, "  |")
		if !ok {
			continue
		}
		b, err := hex.DecodeString(strings.Join(strings.Fields(columns)[1:], ""))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b...)
	}
	return out
}

// TestFormatsStayAsTheyAre pins every byte of a small log. docs/format explains
// the same files.
func TestFormatsStayAsTheyAre(t *testing.T) {
	c := newClock()
	fsys := faultfs.New(0)
	l, _ := openLog(t, Options{FS: fsys, Dir: "/t-0-0", SegmentSize: 700, IndexInterval: 100, Preallocate: -1, Now: c.now})
	if err := l.SetEpoch(1); err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		c.ms += 1000
		put(t, l, c.ms, values(2*i, 2*i+2)...)
	}
	if err := l.SetEpoch(2); err != nil {
		t.Fatal(err)
	}
	put(t, l, c.ms, "last")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := fsys.List("/t-0-0")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, name := range names {
		b, err := vfs.ReadFile(fsys, "/t-0-0/"+name, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = golden(t, name+".hex", b)
	}
	want := []string{stateName, baseName(0) + indexSuffix, baseName(0) + segmentSuffix, baseName(12) + segmentSuffix}
	for _, name := range want {
		if len(files[name]) == 0 {
			t.Errorf("%s is not among %v", name, names)
		}
	}
	readGolden(t, files)
}

// TestLogsOfEarlierReleasesAreRead reads what releases wrote whose segments knew no append
// clock.
func TestLogsOfEarlierReleasesAreRead(t *testing.T) {
	files := map[string][]byte{}
	for _, name := range []string{stateName, baseName(0) + indexSuffix, baseName(0) + segmentSuffix, baseName(12) + segmentSuffix} {
		text, err := os.ReadFile(filepath.Join("testdata", "v1", name+".hex"))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = parseDump(t, string(text))
	}
	readGolden(t, files)
}

// readGolden opens a log that consists of the golden files.
func readGolden(t *testing.T, files map[string][]byte) {
	t.Helper()
	fsys := faultfs.New(0)
	if err := fsys.MkdirAll("/old"); err != nil {
		t.Fatal(err)
	}
	for name, b := range files {
		f, err := fsys.Create("/old/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(bytes.Clone(b)); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	l, r := openLog(t, Options{FS: fsys, Dir: "/old"})
	if !r.Clean || r.StateRebuilt != "" || l.LastEpoch() != 2 || l.EpochEnd(1) != 12 {
		t.Fatalf("recovery %+v, epoch %d, epoch 1 ends at %d", r, l.LastEpoch(), l.EpochEnd(1))
	}
	if d := cmp.Diff(append(values(0, 12), "last"), readAll(t, l, 0, 1<<20)); d != "" {
		t.Fatal(d)
	}
	s, err := decodeState(files[stateName])
	if err != nil || s.mark.chain.next != 13 || s.mark.segment != 12 || s.truncate != noTruncate {
		t.Fatalf("state %+v, %v", s, err)
	}
	entries, why := decodeIndex(files[baseName(0)+indexSuffix], 0, 1<<20)
	if why != "" || len(entries) != 5 || entries[0].offset != protocol.Offset(2) {
		t.Fatalf("index %+v, %s", entries, why)
	}
}
