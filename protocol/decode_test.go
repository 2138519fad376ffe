package protocol

import (
	"bytes"
	stdjson "encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestAFaultInARequestIsToldInWordsOfJSON(t *testing.T) {
	for _, tt := range []struct {
		into       any
		body, want string
	}{
		{&GroupJoin{}, `{"member":5}`, "field member is a number, use a string"},
		{&GroupJoin{}, `{"session_ms":"x"}`, "field session_ms is a string, use a whole number in range"},
		{&GroupJoin{}, `{"session_ms":1.5}`, "field session_ms is a number, use a whole number in range"},
		{&GroupJoin{}, `{"session_ms":99999999999999999999}`, "field session_ms is a number, use a whole number in range"},
		{&GroupJoin{}, `{"session_ms":true}`, "field session_ms is true, use a whole number in range"},
		{&GroupJoin{}, `{"topics":"orders"}`, "field topics is a string, use an array"},
		{&GroupJoin{}, `{"topics":[7]}`, "field topics.0 is a number, use a string"},
		{&GroupJoin{}, `{"start":[]}`, "field start is an array, use an object"},
		{&GroupJoin{}, `[]`, "it is an array, use an object"},
		{&GroupJoin{}, `{"nope":1}`, "field nope is unknown"},
		{&GroupJoin{}, `{"start":{"AT":"latest"}}`, "field start.AT is unknown"},
		{&GroupJoin{}, `{"start":{"time":"soon"}}`, "field start.time: parsing time"},
		{&GroupJoin{}, `{"start":{"time":5}}`, "field start.time is a number, use a string"},
		{&GroupCommit{}, `{"offsets":[{"topic":"t"},{"partition":"3"}]}`, `field offsets.1.partition: partition "3" is not`},
		{&GroupCommit{}, `{"offsets":[{"partition":3}]}`, "field offsets.0.partition is a number, use a string"},
		{&GetRequest{}, `{"OFFSET":1}`, "field OFFSET is unknown"},
		{&GetRequest{}, `{"offset":2,"offset":1}`, "field offset is given twice"},
		{&GetRequest{}, `{"offset":2,"off\u0073et":1}`, "field offset is given twice"},
		{&GetRequest{}, `{"filter":{"header":"a","equals":"b","header":"c"}}`, "field filter.header is given twice"},
		{&TopicCreate{}, `{"topic":"a","TOPIC":"b"}`, "field TOPIC is unknown"},
		{&TopicCreate{}, `{"config":{"key_token":1,"key_token":1}}`, "field config.key_token is given twice"},
		{&TopicCreate{}, `{"` + strings.Repeat("x", 5000) + `":1}`, "field " + strings.Repeat("x", 40) + "... is unknown"},
		{&TopicCreate{}, `{"topic":"a"`, "unexpected EOF, after 12 bytes"},
		{&TopicCreate{}, "{\"topic\":\"\xff\"}", "invalid UTF-8"},
		{&TopicCreate{}, `{"topic":"a"} {}`, "invalid character '{' after top-level value"},
		{&struct{}{}, `{"a":1}`, "field a is unknown"},
	} {
		err := DecodeRequest([]byte(tt.body), tt.into)
		if want := "request is not the JSON expected here: " + tt.want; !errors.Is(err, ErrBadRequest) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s gives %v, want %s", tt.body, err, want)
		}
	}
}

// requests are empty ones of every kind.
var requests = []func() any{
	func() any { return new(GetRequest) }, func() any { return new(OffsetsRequest) },
	func() any { return new(TopicCreate) }, func() any { return new(TopicSet) }, func() any { return new(TopicName) },
	func() any { return new(GroupJoin) }, func() any { return new(GroupHeartbeat) }, func() any { return new(GroupLeave) },
	func() any { return new(GroupCommit) }, func() any { return new(GroupReset) }, func() any { return new(GroupDelete) },
	func() any { return new(struct{}) },
}

// The reference is the standard library's decoder, which takes more: what is taken here
// means the same there, and its names are exact and given once.
func FuzzDecodeRequest(f *testing.F) {
	for _, seed := range []string{
		"", " ", "null", "{}", "[]", `{}{}`, `{} x`,
		`{"offset":0,"max_bytes":1,"max_messages":1,"wait_ms":1,"format":"json","filter":{"header":"a","equals":"b"}}`,
		`{"offset":1,"offset":2}`, `{"OFFSET":1}`, `{"off\u0073et":1}`,
		`{"time":"2026-01-02T15:04:05Z"}`,
		`{"topic":"t","partitions":4,"config":{"subjects":["a.>"],"key_token":2,"accept_publish":false}}`,
		`{"member":"m","topics":["t"],"start":{"at":"time","time":"2026-01-02T15:04:05.5+08:00"},"session_ms":10000}`,
		`{"member":"m","generation":7,"offsets":[{"topic":"t","partition":"0-3","offset":9}]}`,
		`{"member":"m","generation":7,"revision":3,"released":[{"topic":"t","partition":"0-3"}]}`,
		`{"topic":"t","to":{"at":"offset","offset":3},"partitions":["0-0"],"force":true}`,
		"{\"topic\":\"\xff\"}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, empty := range requests {
			got := empty()
			err := DecodeRequest(b, got)
			if err != nil && !errors.Is(err, ErrBadRequest) {
				t.Fatalf("%T: %v", got, err)
			}
			if err != nil || len(bytes.TrimSpace(b)) == 0 {
				continue
			}
			want := empty()
			d := stdjson.NewDecoder(bytes.NewReader(b))
			d.DisallowUnknownFields()
			if err := d.Decode(want); err != nil || d.More() {
				t.Fatalf("%T of %q is taken: %v", got, b, err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("%q is %+v, want %+v", b, got, want)
			}
			exactOnce(t, b, got)
		}
		_ = DecodeError(b)
	})
}

// exactOnce checks that the names at the top of b are among those of v, and differ.
func exactOnce(t *testing.T, b []byte, v any) {
	t.Helper()
	d := stdjson.NewDecoder(bytes.NewReader(b))
	if open, err := d.Token(); err != nil || open == nil {
		return // null
	}
	known, seen := map[string]bool{}, map[string]bool{}
	for f := range reflect.TypeOf(v).Elem().Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		known[name] = true
	}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		name, _ := token.(string)
		if !known[name] || seen[name] {
			t.Fatalf("%q: the name %q is taken in a %T", b, name, v)
		}
		seen[name] = true
		if err := d.Decode(new(stdjson.RawMessage)); err != nil {
			t.Fatal(err)
		}
	}
}
