package transport

import (
	"strings"
	"testing"

	"metaq/protocol"
)

func FuzzSubject(f *testing.F) {
	for _, s := range []string{"put.t", "put.t.0-1", "batch.t.1023-9999", "get.a.b.c", "offsets..", "put.", ".", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, rest string) {
		got, err := parseTarget("metaq.", "metaq."+rest)
		if err != nil {
			if code := protocol.AsError(err).Code; code != 400 || strings.Contains(err.Error(), "\n") {
				t.Errorf("refused with %d: %v", code, err)
			}
			return
		}
		back := got.op + "." + got.topic
		if got.one {
			back += "." + got.partition.String()
		}
		if back != rest {
			t.Errorf("%q is read as %q", rest, back)
		}
	})
}

func FuzzBatch(f *testing.F) {
	good := batchOf(f, 0, "a", "bb", "ccc")
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add(append(good, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := checkBatch(b, 1<<20, 3)
		if err != nil {
			if code := protocol.AsError(err).Code; code != 400 && code != 413 {
				t.Errorf("refused with %d: %v", code, err)
			}
			return
		}
		for r, err := range protocol.DecodeRecords(&h, b) {
			if err != nil || recordSize(&r) > 3 {
				t.Errorf("an accepted batch has a record of %d bytes, %v", recordSize(&r), err)
			}
		}
	})
}
