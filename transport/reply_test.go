package transport

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"metaq/actors"
	"metaq/protocol"
)

// batchOf returns a batch of the values, from base.
func batchOf(t testing.TB, base protocol.Offset, values ...string) []byte {
	t.Helper()
	var bb protocol.BatchBuilder
	for _, v := range values {
		if err := bb.Add(&protocol.Record{Time: 1000, Value: []byte(v)}); err != nil {
			t.Fatal(err)
		}
	}
	b := bb.Encode(protocol.CompressionNone, protocol.Producer{ID: protocol.NoProducer})
	protocol.StampBatch(b, protocol.Stamp{Base: base, MaxTime: 1000, MetaqLen: bb.MetaqLen()})
	return bytes.Clone(b)
}

func getResult(t testing.TB, format string) *actors.GetResult {
	return &actors.GetResult{
		Topic: "t", Partition: protocol.PartitionID{Home: 0, N: 3}, LogStart: 2, EndOffset: 9, From: 5,
		Batches:     append(batchOf(t, 4, "four", "five", "<six>"), batchOf(t, 7, "seven", "\xff8")...),
		MaxMessages: 1000, Format: format,
	}
}

func decodeGet(t testing.TB, b []byte) protocol.GetReply {
	t.Helper()
	if err := protocol.DecodeError(b); err != nil {
		t.Fatal(err)
	}
	var r protocol.GetReply
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	return r
}

func TestAGetInJSONHoldsWhatWasAskedFor(t *testing.T) {
	b := encodeAnswer([]byte("before"), getResult(t, protocol.FormatJSON), 10_000)
	got := string(bytes.TrimPrefix(b, []byte("before")))
	want := `{"topic":"t","partition":"0-3","next_offset":9,"end_offset":9,"log_start":2,"messages":[` +
		`{"offset":5,"time":"1970-01-01T00:00:01Z","data":"five"},{"offset":6,"time":"1970-01-01T00:00:01Z","data":"<six>"},` +
		`{"offset":7,"time":"1970-01-01T00:00:01Z","data":"seven"},{"offset":8,"time":"1970-01-01T00:00:01Z","data_base64":"/zg="}]}`
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestAGetInJSONEndsWhereItIsFull(t *testing.T) {
	full := len(encodeAnswer(nil, getResult(t, protocol.FormatJSON), 10_000))
	seen := map[int]bool{}
	for limit := full + offsetDigits + epochDigits; limit > 0; limit-- {
		b := encodeAnswer(nil, getResult(t, protocol.FormatJSON), limit)
		if err := protocol.DecodeError(b); err != nil {
			if !errors.Is(err, protocol.ErrTooLarge) || !strings.Contains(err.Error(), "offset 5") {
				t.Fatalf("limit %d: %v", limit, err)
			}
			seen[0] = true
			continue
		}
		r := decodeGet(t, b)
		if len(b) > limit || r.NextOffset != 5+protocol.Offset(len(r.Messages)) {
			t.Fatalf("limit %d: %d bytes, %d messages, next offset %d", limit, len(b), len(r.Messages), r.NextOffset)
		}
		seen[len(r.Messages)] = true
	}
	if d := cmp.Diff(map[int]bool{0: true, 1: true, 2: true, 3: true, 4: true}, seen); d != "" {
		t.Errorf("numbers of messages seen: %s", d)
	}
}

func TestAGetInJSONCountsMessages(t *testing.T) {
	r := getResult(t, protocol.FormatJSON)
	r.MaxMessages = 2
	if got := decodeGet(t, encodeAnswer(nil, r, 10_000)); len(got.Messages) != 2 || got.NextOffset != 7 {
		t.Errorf("%d messages, next offset %d", len(got.Messages), got.NextOffset)
	}
}

func TestAnEmptyGetHasAnEmptyList(t *testing.T) {
	r := getResult(t, protocol.FormatJSON)
	r.Batches, r.From = nil, 9
	if got := string(encodeAnswer(nil, r, 10_000)); !strings.HasSuffix(got, `"next_offset":9,"end_offset":9,"log_start":2,"messages":[]}`) {
		t.Error(got)
	}
}

// TestAnAnswerIsSentAsItWasRead when it can be, and then is what encoding gives.
func TestAnAnswerIsSentAsItWasRead(t *testing.T) {
	r := getResult(t, protocol.FormatBatch)
	r.More = true
	full := encodeAnswer(nil, r, 10_000)
	if readyFrame(r, 10_000) != nil {
		t.Error("there is no frame")
	}
	r.Frame = append(protocol.AppendFetchHeader(nil, protocol.FetchHeader{LogStart: 2, EndOffset: 9, More: true}), r.Batches...)
	if got := readyFrame(r, len(full)); !bytes.Equal(got, full) {
		t.Errorf("sent\n%x, want\n%x", got, full)
	}
	if readyFrame(r, len(full)-1) != nil {
		t.Error("the frame is larger than the limit")
	}
	r.Format = protocol.FormatJSON
	if readyFrame(r, 10_000) != nil {
		t.Error("the frame is not JSON")
	}
}

func TestAGetInBatchesHoldsWholeBatches(t *testing.T) {
	r := getResult(t, protocol.FormatBatch)
	r.More = true
	first := len(batchOf(t, 4, "four", "five", "<six>"))
	for _, tc := range []struct {
		limit, batches int
	}{
		{10_000, len(r.Batches)},
		{protocol.FetchHeaderSize + len(r.Batches), len(r.Batches)},
		{protocol.FetchHeaderSize + len(r.Batches) - 1, first},
		{protocol.FetchHeaderSize + first, first},
	} {
		h, got, err := protocol.ParseFetch(encodeAnswer(nil, r, tc.limit))
		if err != nil || h.LogStart != 2 || h.EndOffset != 9 || !bytes.Equal(got, r.Batches[:tc.batches]) ||
			h.More != (tc.batches == len(r.Batches)) { // what follows would not continue a part
			t.Errorf("limit %d: header %+v, %d bytes of batches, %v", tc.limit, h, len(got), err)
		}
	}
	err := protocol.DecodeError(encodeAnswer(nil, r, protocol.FetchHeaderSize+first-1))
	if !errors.Is(err, protocol.ErrTooLarge) {
		t.Errorf("a batch that does not fit gives %v", err)
	}
}

func TestDamageThatWasReadIsAnError(t *testing.T) {
	for _, format := range []string{protocol.FormatJSON, protocol.FormatBatch} {
		r := getResult(t, format)
		r.Batches = r.Batches[:len(r.Batches)-1]
		if err := protocol.DecodeError(encodeAnswer(nil, r, 10_000)); !errors.Is(err, protocol.ErrPartition) {
			t.Errorf("%s: %v", format, err)
		}
	}
}

func TestAnswers(t *testing.T) {
	p := protocol.PartitionID{Home: 0, N: 3}
	for _, tc := range []struct {
		name   string
		answer any
		want   string
	}{
		{"acknowledgement", protocol.NewPubAck("t", p, 41, 0), `{"stream":"t-0-3","seq":42,"topic":"t","partition":"0-3","offset":41}`},
		{"offsets", protocol.OffsetsReply{LogStart: 1, EndOffset: 2, Offset: 2}, `{"log_start":1,"end_offset":2,"offset":2}`},
		{"done", protocol.Done{OK: true}, `{"ok":true}`},
		{"refusal", protocol.ErrNoTopic, `{"error":{"code":404,"err_code":10059,"description":"no such topic"},"stream":"","seq":0}`},
		{"out of range", protocol.NewRangeError(9, 1, 5), `{"error":{"code":416,"err_code":20008,"description":"offset 9 is out of range: ask for 1 to 5"},"stream":"","seq":0,"log_start":1,"end_offset":5}`},
		{"another error", errors.New("what"), `{"error":{"code":500,"err_code":20010,"description":"what"},"stream":"","seq":0}`},
		{"no answer at all", 7, `{"error":{"code":500,"err_code":20010,"description":"an actor answered with int"},"stream":"","seq":0}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if d := cmp.Diff(tc.want, string(encodeAnswer(nil, tc.answer, 1000))); d != "" {
				t.Error(d)
			}
		})
	}
}

// What was asked for is done by then: 413 would say that the same request fails again.
func TestAnAnswerThatIsTooLargeIsNoRefusal(t *testing.T) {
	offsets := protocol.GroupOffsets{Offsets: make([]protocol.GroupPosition, 100)}
	err := protocol.DecodeError(encodeAnswer(nil, offsets, 1000))
	if !errors.Is(err, protocol.ErrAnswerSize) || !strings.Contains(err.Error(), "the request was carried out") {
		t.Errorf("got %v", err)
	}
}

func TestThePlaceOfAPageIsReadBack(t *testing.T) {
	for _, page := range []protocol.Page{{}, {Limit: 7}, {After: "0-12"}, {After: "failed:t/0-3", Limit: 1}} {
		if reply, got := fromPagePlace(pagePlace("_INBOX.a.b", page)); reply != "_INBOX.a.b" || got != page {
			t.Errorf("%+v came back as %q, %+v", page, reply, got)
		}
	}
}

// zipped returns a compressed batch of n records of size bytes, from base.
func zipped(t testing.TB, base protocol.Offset, n, size int) []byte {
	t.Helper()
	var bb protocol.BatchBuilder
	for range n {
		if err := bb.Add(&protocol.Record{Time: 1000, Value: make([]byte, size)}); err != nil {
			t.Fatal(err)
		}
	}
	metaqLen := bb.MetaqLen()
	b := bb.Encode(protocol.CompressionZstd, protocol.Producer{ID: protocol.NoProducer})
	protocol.StampBatch(b, protocol.Stamp{Base: base, MaxTime: 1000, MetaqLen: metaqLen})
	return bytes.Clone(b)
}

func TestAGetLooksAtABoundedNumberOfBytes(t *testing.T) {
	nothing := "no such value"
	get := func(from protocol.Offset, batches ...[]byte) protocol.GetReply {
		return decodeGet(t, encodeAnswer(nil, &actors.GetResult{
			Topic: "t", From: from, EndOffset: 1000, Batches: bytes.Join(batches, nil), MaxMessages: 1000,
			Format: protocol.FormatJSON, Filter: &protocol.Filter{Header: "h", Equals: &nothing},
		}, 8<<20))
	}
	three := [][]byte{zipped(t, 0, 30, 100_000), zipped(t, 30, 30, 100_000), zipped(t, 60, 30, 100_000), zipped(t, 90, 30, 100_000)}
	if r := get(0, three...); r.NextOffset != 60 || len(r.Messages) != 0 {
		t.Errorf("after 6 of 12 MB the next offset is %d, with %d messages", r.NextOffset, len(r.Messages))
	}
	if r := get(75, three[2:]...); r.NextOffset != 120 {
		t.Errorf("from the middle of a batch the next offset is %d", r.NextOffset)
	}
	large := zipped(t, 0, 200, 100_000)
	if r := get(0, large, zipped(t, 200, 1, 10)); r.NextOffset != 200 {
		t.Errorf("one batch of 20 MB: the next offset is %d, and no get would get further", r.NextOffset)
	}
}
