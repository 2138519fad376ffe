package protocol

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestCheckName(t *testing.T) {
	for _, ok := range []string{"a", "meta-test", "A_z-0", strings.Repeat("x", MaxNameLen)} {
		if err := CheckName("topic", ok); err != nil {
			t.Errorf("%q: %v", ok, err)
		}
	}
	for _, bad := range []string{"", "a.b", "*", ">", "a b", "t\u00e9", "a\n", strings.Repeat("x", MaxNameLen+1)} {
		err := CheckName("topic", bad)
		if err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, want an error of one line", bad, err)
		}
	}
}

func TestPartitionIDHasOneForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := PartitionID{Home: rapid.IntRange(0, MaxBrokerID).Draw(t, "home"), N: rapid.IntRange(0, MaxPartitions-1).Draw(t, "n")}
		if q, err := ParsePartitionID(p.String()); err != nil || q != p {
			t.Fatalf("%v became %v, %v", p, q, err)
		}
	})
	for _, bad := range []string{"", "0", "-", "0-", "-1", "00-1", "0-01", "+0-1", "1024-0", "0-10000", "0-1-2", "a-b", " 0-1"} {
		if p, err := ParsePartitionID(bad); err == nil {
			t.Errorf("%q was read as %v", bad, p)
		}
	}
}

func TestPartitionsAreOrderedByHomeThenNumber(t *testing.T) {
	p := func(home, n int) PartitionID { return PartitionID{Home: home, N: n} }
	ordered := []PartitionID{p(0, 0), p(0, 2), p(0, 10), p(1, 0), p(10, 0)}
	for i, a := range ordered {
		for j, b := range ordered {
			if got, want := a.Compare(b), sign(i-j); got != want {
				t.Errorf("%v against %v: %d, want %d", a, b, got, want)
			}
		}
	}
}

func sign(n int) int { return max(-1, min(1, n)) }

// The vectors stand in docs/protocol.md too: other languages test with them.
func TestKeyHashVectors(t *testing.T) {
	for key, want := range map[string]uint32{
		"":            0x811c9dc5,
		"a":           0xe40c292c,
		"foobar":      0xbf9cf968,
		"customer-42": 0xfe68adbe,
	} {
		if got := KeyHash([]byte(key)); got != want {
			t.Errorf("KeyHash(%q) = 0x%08x, want 0x%08x", key, got, want)
		}
	}
}

func TestKeysSpreadOverPartitions(t *testing.T) {
	const keys, parts = 10_000, 7
	var n [parts]int
	for i := range keys {
		n[PartitionOf(fmt.Appendf(nil, "user-%d", i), parts)]++
	}
	for p, got := range n {
		if got < keys/parts*8/10 || got > keys/parts*12/10 {
			t.Errorf("partition %d got %d of %d keys", p, got, keys)
		}
	}
}

func TestSubjects(t *testing.T) {
	s := Subjects{}
	got := []string{
		s.Put("t"), s.Partition(OpGet, "t", PartitionID{1, 2}), s.Group("g", "join"),
		s.Admin("topic", "create"), s.Node("3", "partition"), Subjects{Prefix: "x.y"}.Put("t"),
	}
	want := []string{
		"metaq.put.t", "metaq.get.t.1-2", "metaq.group.g.join",
		"metaq.admin.topic.create", "metaq.node.3.partition", "x.y.put.t",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for subject, inside := range map[string]bool{
		"metaq.put.t": true, "metaq": true, "metaq.": true, "metaqs.put": false, "_INBOX.metaq": false, "": false,
	} {
		if s.Inside(subject) != inside {
			t.Errorf("Inside(%q) is %v", subject, !inside)
		}
	}
}

func TestPubAckAppendIsItsJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := NewPubAck(
			rapid.StringMatching(`[A-Za-z0-9_-]{1,20}`).Draw(t, "topic"),
			PartitionID{rapid.IntRange(0, MaxBrokerID).Draw(t, "home"), rapid.IntRange(0, 99).Draw(t, "n")},
			Offset(rapid.Int64Range(0, 1<<62).Draw(t, "offset")), rapid.IntRange(0, 1000).Draw(t, "count"))
		a.Duplicate = rapid.Bool().Draw(t, "duplicate")
		want, err := json.Marshal(a)
		if err != nil || string(a.Append(nil)) != string(want) {
			t.Fatalf("%s\n%s, %v", a.Append(nil), want, err)
		}
	})
}

func TestErrorsCrossTheWire(t *testing.T) {
	back := DecodeError(EncodeError(fmt.Errorf("put: %w", ErrNoTopic.With("no such topic: orders"))))
	if !errors.Is(back, ErrNoTopic) || AsError(back).Description != "no such topic: orders" || AsError(back).Class() != GiveUp {
		t.Errorf("got %v", back)
	}
	var r *RangeError
	if back := DecodeError(EncodeError(NewRangeError(5, 10, 20))); !errors.As(back, &r) || r.LogStart != 10 || r.EndOffset != 20 || !errors.Is(back, ErrRange) {
		t.Errorf("got %#v", back)
	}
	if back := DecodeError(EncodeError(errors.New("boom"))); !errors.Is(back, ErrInternal) {
		t.Errorf("got %v", back)
	}
	for _, none := range []string{"", "{}", `{"stream":"a","seq":1}`, "MQF", "{", "null"} {
		if err := DecodeError([]byte(none)); err != nil {
			t.Errorf("%q is no error, got %v", none, err)
		}
	}
	if ErrBusy.Class() != BackOffThenRetry || ErrDiskFull.Class() != Retry {
		t.Error("429 means back off, 503 means retry")
	}
}

func TestErrorNumbersAreUnique(t *testing.T) {
	seen := map[int]*Error{}
	for _, e := range []*Error{
		ErrBadRequest, ErrBadName, ErrBatchRefused, ErrReplySubject, ErrNoTopic, ErrNoPartition, ErrExists, ErrConflict,
		ErrFenced, ErrTooLarge, ErrRange, ErrBusy, ErrUnavailable, ErrDiskFull, ErrPartition, ErrInternal, ErrNotAccepted,
		ErrHeaderRollup, ErrHeaderTTL, ErrHeaderIncr, ErrHeaderBatch, ErrHeaderInBatch, ErrHeaderSched, ErrStreamDiffers, ErrWrongSequence, ErrWrongMsgID,
	} {
		if other := seen[e.ErrCode]; other != nil {
			t.Errorf("%v and %v share %d", e, other, e.ErrCode)
		}
		seen[e.ErrCode] = e
	}
}

func TestDecodeRequest(t *testing.T) {
	var r GetRequest
	if err := DecodeRequest([]byte(` {"offset":3,"format":"batch"} `), &r); err != nil || *r.Offset != 3 || r.Check() != nil {
		t.Errorf("%+v, %v", r, err)
	}
	if err := DecodeRequest(nil, &r); err != nil {
		t.Errorf("an empty body is an empty request: %v", err)
	}
	for _, bad := range []string{"x", "[]", `{"offset":"a"}`, `{"ofset":1}`, `{}{}`, `{} x`, "\x00"} {
		if err := DecodeRequest([]byte(bad), &r); !errors.Is(err, ErrBadRequest) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	neg := Offset(-1)
	for _, bad := range []GetRequest{{Offset: &neg}, {MaxBytes: -1}, {MaxMessages: -1}, {WaitMs: -1}, {Format: "xml"}} {
		if err := bad.Check(); !errors.Is(err, ErrBadRequest) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestMessageKeepsAnyBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := genRecord(t)
		b, err := json.Marshal(NewMessage(&in))
		if err != nil {
			t.Fatal(err)
		}
		var m Message
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		if got, err := m.Payload(); err != nil || string(got) != string(in.Value) {
			t.Fatalf("payload %q, %v; want %q", got, err, in.Value)
		}
		want := slices.Clone(in.Headers)
		slices.SortStableFunc(want, func(a, b Header) int { return strings.Compare(a.Name, b.Name) })
		if got := m.AllHeaders(); !slices.Equal(got, want) {
			t.Fatalf("headers %q, want %q", got, want)
		}
		if !m.Time.Equal(time.UnixMilli(in.Time)) || (m.Key == nil && m.KeyBase64 == nil) != (in.Key == nil) {
			t.Fatalf("%s", b)
		}
	})
}

func TestFetchHeaderRoundTrip(t *testing.T) {
	for _, want := range []FetchHeader{{LogStart: 3, EndOffset: 9}, {LogStart: 3, EndOffset: 9, More: true}} {
		b := append(AppendFetchHeader(nil, want), "rest"...)
		h, rest, err := ParseFetch(b)
		if err != nil || h != want || string(rest) != "rest" {
			t.Errorf("%+v %q %v, want %+v", h, rest, err, want)
		}
	}
}

func FuzzParseFetch(f *testing.F) {
	f.Add(AppendFetchHeader(nil, FetchHeader{LogStart: 3, EndOffset: 9}))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, rest, err := ParseFetch(b)
		if err == nil && string(append(AppendFetchHeader(nil, h), rest...)) != string(b) && [4]byte(b[4:8]) == [4]byte{} {
			t.Errorf("%x encodes to something else", b)
		}
	})
}
