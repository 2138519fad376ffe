package protocol

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// goldenRecords are in every golden batch.
func goldenRecords() []Record {
	return []Record{
		{Offset: 41, Time: 1_700_000_000_000, Key: []byte("key"), Value: []byte("the first record")},
		{Offset: 42, Time: 1_700_000_000_002, Headers: []Header{{"a", "b"}, {HeaderAttribute, "attr"}}, Value: []byte("the second record, the second record")},
		{Offset: 43, Time: 1_700_000_000_005, Key: []byte{}, Value: []byte{}},
	}
}

// TestGoldenBatches pins the bytes of a batch. Of a compressed one only the
// reading is pinned: another release of a compressor may write fewer bytes.
func TestGoldenBatches(t *testing.T) {
	for c := CompressionNone; c <= CompressionS2; c++ {
		var b BatchBuilder
		for _, r := range goldenRecords() {
			if err := b.Add(&r); err != nil {
				t.Fatal(err)
			}
		}
		enc := b.Encode(c, Producer{ID: 7, Epoch: 2, Sequence: 9})
		StampBatch(enc, Stamp{Base: 41, Position: 5000, Epoch: 3, Unsynced: 4, MaxTime: 1_700_000_000_005, MetaqLen: b.MetaqLen()})
		path := filepath.Join("testdata", "batch-"+c.String()+".hex")
		if *update {
			if err := os.WriteFile(path, []byte(hex.Dump(enc)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatalf("%v: make it with -update", err)
		}
		want := undump(t, string(text))
		if c == CompressionNone && !bytes.Equal(enc, want) {
			t.Errorf("%s: the format has changed (-want +got):\n%s", path, cmp.Diff(string(text), hex.Dump(enc)))
		}
		h, err := CheckBatch(want, 0)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if h.Compression != c || h.Base != 41 || h.Position != 5000 || h.Epoch != 3 || h.Unsynced != 4 || h.ProducerID != 7 || h.ProducerEpoch != 2 || h.BaseSequence != 9 || h.MetaqLen != b.MetaqLen() {
			t.Errorf("%s: header %+v", path, h)
		}
		if d := cmp.Diff(goldenRecords(), decodeAll(t, want)); d != "" {
			t.Errorf("%s: %s", path, d)
		}
	}
}

// undump reads what hex.Dump writes.
func undump(t *testing.T, text string) []byte {
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
