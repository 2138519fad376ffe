package messagedir

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "rewrite the golden file")

func TestARecordComesBackAsItWas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := genRecord().Draw(t, "record")
		b, err := encodeRecord(&want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeRecord(b)
		if err != nil {
			t.Fatal(err)
		}
		if (got.Key == nil) != (want.Key == nil) {
			t.Fatalf("key %q came back as %q", want.Key, got.Key)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
		if _, err := decodeRecord(b[:rapid.IntRange(0, len(b)-1).Draw(t, "cut")]); err == nil {
			t.Fatal("a record that is cut short was decoded")
		}
	})
}

// The bytes of a release are for ever: later ones read them.
func TestGoldenFile(t *testing.T) {
	const path = "testdata/kept.hex"
	want := write(t,
		entry{kind: kindKept, number: 1, record: encoded(t, record(1))},
		entry{kind: kindKept, number: 2, record: encoded(t, record(2))},
		entry{kind: kindDone, number: 1},
	)
	if *update {
		if err := os.WriteFile(path, []byte(hex.Dump(want)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(got), hex.Dump(want)); diff != "" {
		t.Fatalf("the format has changed (-want +got):\n%s", diff)
	}
	l, torn, err := read(want, "g")
	if err != nil || torn != 0 || len(l.live) != 1 || l.next != 3 {
		t.Fatalf("%+v, %d torn, %v", l, torn, err)
	}
}

// FuzzRead reads a file of anything. It is refused, or its entries are the bytes
// that they would be written as, up to the torn end.
func FuzzRead(f *testing.F) {
	good := write(f,
		entry{kind: kindKept, number: 1, record: encoded(f, record(1))},
		entry{kind: kindDone, number: 1},
		entry{kind: kindKept, number: 2, record: encoded(f, record(2))},
	)
	f.Add(good)
	f.Add(good[:len(good)-3])
	f.Add([]byte("MQK\x01"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		l, torn, err := read(b, "g")
		if err != nil {
			if d := (*DamageError)(nil); !errors.As(err, &d) {
				t.Fatal(err)
			}
			return
		}
		end := int64(len(b)) - torn
		again := appendHeader(nil, "g")
		for int64(len(again)) < end {
			e, ok := parseEntry(b[len(again):], int64(len(again)))
			if !ok {
				t.Fatalf("no entry at %d", len(again))
			}
			again = appendEntry(again, &e)
		}
		if !bytes.Equal(again, b[:end]) {
			t.Fatal("written again it is other bytes")
		}
		small, fresh := l.compact(b, "g")
		if reread, torn, err := read(small, "g"); err != nil || torn != 0 || len(reread.live) != len(l.live) || reread.end != fresh.end {
			t.Fatalf("rewritten it holds %v, %d torn, %v", reread, torn, err)
		}
	})
}

// FuzzDecodeRecord decodes anything. What is a record is encoded to the same bytes.
func FuzzDecodeRecord(f *testing.F) {
	b := encoded(f, record(1))
	f.Add(b)
	f.Add(b[:len(b)-1])
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{0xff}, 300)) // the longest length that a byte can say
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeRecord(b)
		if err != nil {
			return
		}
		if again := encoded(t, r); !bytes.Equal(again, b) {
			t.Fatalf("% x was encoded as % x", b, again)
		}
	})
}
