package protocol

import (
	"errors"
	"strings"
	"testing"
)

// withHeaders returns a sealed batch whose second record has the headers.
func withHeaders(t testing.TB, c Compression, names ...string) []byte {
	t.Helper()
	second := Record{Value: []byte("two")}
	for _, name := range names {
		second.Headers = append(second.Headers, Header{Name: name, Value: "1"})
	}
	var bb BatchBuilder
	for _, r := range []Record{{Value: []byte("one")}, second} {
		if err := bb.Add(&r); err != nil {
			t.Fatal(err)
		}
	}
	return append([]byte(nil), bb.Encode(c, Producer{ID: NoProducer})...)
}

func TestHeadersThatABatchMustNotHave(t *testing.T) {
	for _, tt := range []struct {
		header string
		put    *Error // nil: it may be put
		batch  *Error
	}{
		{"Trace", nil, nil},
		{HeaderAttribute, nil, nil},
		{HeaderSubject, nil, nil},
		{"Nats-Trace-Dest", nil, nil},
		{"nats-ttl", nil, nil}, // names are compared exactly
		{"Nats-", nil, nil},
		{"\u00e9", nil, nil},
		{"a\xff", ErrBadRequest, ErrBadRequest}, // JSON answers would spoil it
		{"Nats-TTL", ErrHeaderTTL, ErrHeaderTTL},
		{"Nats-Rollup", ErrHeaderRollup, ErrHeaderRollup},
		{"Nats-Schedule-Target", ErrHeaderSched, ErrHeaderSched},
		{"Nats-Batch-Id", ErrHeaderBatch, ErrHeaderBatch},
		{"Nats-Expected-Last-Subject-Sequence", ErrBadRequest, ErrBadRequest},
		{HeaderKey, nil, ErrHeaderInBatch},
		{HeaderMsgID, nil, ErrHeaderInBatch},
		{HeaderExpectStream, nil, ErrHeaderInBatch},
		{HeaderExpectSeq, nil, ErrHeaderInBatch},
		{HeaderExpectMsgID, nil, ErrHeaderInBatch},
	} {
		if err := RefusedHeader(tt.header); !same(err, tt.put) {
			t.Errorf("put with %s: %v, want %v", tt.header, err, tt.put)
		}
		for _, c := range []Compression{CompressionNone, CompressionS2, CompressionZstd} {
			b := withHeaders(t, c, "Nats-Other", tt.header, "Last")
			_, err := CheckSent(b, 0)
			var refused *Error
			if errors.As(err, &refused) != (err != nil) || !same(refused, tt.batch) {
				t.Errorf("batch with %s: %v, want %v", tt.header, err, tt.batch)
			}
			if _, err := CheckBatch(b, 0); err != nil {
				t.Errorf("what is stored is not judged: %v", err)
			}
		}
		passed := Passed([]Header{{Name: tt.header, Value: "v"}})[0]
		want := tt.header
		if tt.batch != nil {
			want = "Metaq-Original-" + strings.ReplaceAll(tt.header, "\xff", "%FF")
		}
		if passed.Name != want || passed.Value != "v" || RefusedInBatch(passed.Name) != nil {
			t.Errorf("%s is passed on as %+v", tt.header, passed)
		}
	}
}

func TestWhatIsAddedToHeadersIsNotCounted(t *testing.T) {
	for _, tt := range []struct {
		header Header
		want   int
	}{
		{Header{Name: "Trace", Value: "abc"}, 0},
		{Header{Name: "Metaq-Dead-Reason", Value: "abc"}, 17 + 3},
		{Header{Name: "Metaq-Original-Nats-Msg-Id", Value: "abc"}, 15},
		{Header{Name: "Metaq-Dead-Reason", Value: string(make([]byte, 1<<20))}, 8 << 10},
	} {
		if got := Added([]Header{{Name: "a", Value: "b"}, tt.header}); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.header.Name, got, tt.want)
		}
	}
}

func same(got, want *Error) bool {
	if got == nil || want == nil {
		return got == want
	}
	return errors.Is(got, want)
}
