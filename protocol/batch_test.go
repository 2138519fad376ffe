package protocol

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func genRecord(t *rapid.T) Record {
	r := Record{
		Time:  rapid.Int64Range(0, 1<<39).Draw(t, "time"),
		Value: rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "value"),
	}
	if rapid.Bool().Draw(t, "keyed") {
		r.Key = rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "key")
	}
	for range rapid.IntRange(0, 3).Draw(t, "headers") {
		r.Headers = append(r.Headers, Header{
			Name:  rapid.SampledFrom([]string{"a", "Content-Type", HeaderAttribute}).Draw(t, "name"),
			Value: string(rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "header")),
		})
	}
	return r
}

func decodeAll(t interface {
	Helper()
	Fatal(args ...any)
}, b []byte,
) []Record {
	t.Helper()
	h, err := ParseBatchHeader(b)
	if err != nil {
		t.Fatal(err)
	}
	var out []Record
	for r, err := range DecodeRecords(&h, b) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

func TestBatchRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var in []Record
		var bb BatchBuilder
		var metaq int64
		for range rapid.IntRange(1, 20).Draw(t, "count") {
			r := genRecord(t)
			if len(in) > 0 {
				r.Time = max(r.Time, in[0].Time)
			}
			if err := bb.Add(&r); err != nil {
				t.Fatal(err)
			}
			in = append(in, r)
			metaq += r.MetaqSize()
		}
		c := Compression(rapid.IntRange(0, 2).Draw(t, "compression"))
		b := bb.Encode(c, Producer{ID: 7, Epoch: 2, Sequence: 9})
		h, err := CheckBatch(b, 0)
		if err != nil {
			t.Fatal(err)
		}
		if h.Length != len(b) || h.Count != len(in) || h.MetaqLen != metaq || h.MetaqLen != bb.MetaqLen() {
			t.Fatalf("header %+v, want %d bytes, %d records, %d MetaQ bytes", h, len(b), len(in), metaq)
		}
		now := h.MaxTime + rapid.Int64Range(0, 1<<30).Draw(t, "now")
		StampBatch(b, Stamp{Base: 100, Position: 5000, Epoch: 3, Unsynced: 4, MaxTime: now, MetaqLen: h.MetaqLen})
		got := decodeAll(t, b)
		for i := range in {
			in[i].Offset = 100 + Offset(i)
			in[i].Time += now - h.MaxTime
		}
		if d := cmp.Diff(in, got, cmp.Comparer(func(a, b []byte) bool {
			return bytes.Equal(a, b) && (a == nil) == (b == nil) || len(a) == 0 && len(b) == 0 && (a == nil) == (b == nil)
		})); d != "" {
			t.Fatal(d)
		}
		s, err := CheckBatch(b, 0)
		if err != nil || s.Base != 100 || s.Position != 5000 || s.Epoch != 3 || s.Unsynced != 4 || s.ProducerID != 7 {
			t.Fatalf("stamped header %+v, %v", s, err)
		}
	})
}
