package messagedir

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"metaq/client"
	"metaq/internal/vfs"
)

var epoch = time.Date(2026, 1, 2, 15, 4, 5, 6e6, time.UTC)

// record is the i-th record of a test.
func record(i int) client.Record {
	return client.Record{
		Topic: "orders", Partition: client.PartitionID{Home: 1, N: i % 3}, Offset: client.Offset(i), Time: epoch,
		Key: []byte("k"), Value: fmt.Appendf(nil, "record %d", i), Headers: []client.Header{{Name: "Kind", Value: "rare"}},
	}
}

func genRecord() *rapid.Generator[client.Record] {
	return rapid.Custom(func(t *rapid.T) client.Record {
		r := client.Record{
			Topic:     rapid.StringMatching(`[A-Za-z0-9_-]{1,20}`).Draw(t, "topic"),
			Partition: client.PartitionID{Home: rapid.IntRange(0, 1023).Draw(t, "home"), N: rapid.IntRange(0, 99).Draw(t, "n")},
			Offset:    client.Offset(rapid.Int64Range(0, 1<<62).Draw(t, "offset")),
			Time:      time.UnixMilli(rapid.Int64Range(-1<<45, 1<<45).Draw(t, "millis")).UTC(),
			Value:     rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "value"),
		}
		if rapid.Bool().Draw(t, "keyed") {
			r.Key = rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "key")
		}
		for range rapid.IntRange(0, 3).Draw(t, "headers") {
			r.Headers = append(r.Headers, client.Header{Name: rapid.String().Draw(t, "name"), Value: rapid.String().Draw(t, "header")})
		}
		return r
	})
}

// open opens the only consumer of group g in /logs.
func open(t testing.TB, fsys vfs.FS, o Options) *Store {
	t.Helper()
	o.FS = fsys
	s, err := NewWith("/logs", o).open("g", "")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// held returns the offsets of the records that s keeps, in their order.
func held(t testing.TB, s *Store) []client.Offset {
	t.Helper()
	numbers, err := s.Kept()
	if err != nil {
		t.Fatal(err)
	}
	var out []client.Offset
	for _, n := range numbers {
		r, err := s.Record(n)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r.Offset)
	}
	return out
}

func encoded(t testing.TB, r client.Record) []byte {
	t.Helper()
	b, err := encodeRecord(&r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// write appends entries to the file of a consumer called g.
func write(t testing.TB, entries ...entry) []byte {
	t.Helper()
	b := appendHeader(nil, "g")
	for _, e := range entries {
		e.at = int64(len(b))
		b = appendEntry(b, &e)
	}
	return b
}
