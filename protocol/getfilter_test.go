package protocol

import (
	"errors"
	"testing"
)

func TestGetFilter(t *testing.T) {
	text := func(s string) *string { return &s }
	rec := &Record{Key: []byte("k1"), Headers: []Header{{Name: "Type", Value: "order.new"}, {Name: "Type", Value: "vip"}}}
	for _, tt := range []struct {
		name string
		f    Filter
		want bool
	}{
		{"equal", Filter{Header: "Type", Equals: text("order.new")}, true},
		{"equal to the second value", Filter{Header: "Type", Equals: text("vip")}, true},
		{"not equal", Filter{Header: "Type", Equals: text("order")}, false},
		{"prefix", Filter{Header: "Type", Prefix: text("order.")}, true},
		{"every value begins with nothing", Filter{Header: "Type", Prefix: text("")}, true},
		{"no such header", Filter{Header: "type", Prefix: text("")}, false},
		{"key", Filter{Header: HeaderKey, Equals: text("k1")}, true},
		{"another key", Filter{Header: HeaderKey, Prefix: text("x")}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.f.Match(rec); got != tt.want {
				t.Errorf("Match is %v", got)
			}
		})
	}
	for _, bad := range []Filter{{}, {Header: "a"}, {Header: "a", Equals: text(""), Prefix: text("")}, {Equals: text("x")}} {
		r := GetRequest{Filter: &bad}
		if err := r.Check(); !errors.Is(err, ErrBadRequest) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	r := GetRequest{Filter: &Filter{Header: "a", Equals: text("x")}, Format: FormatBatch}
	if err := r.Check(); !errors.Is(err, ErrBadRequest) {
		t.Errorf("filter with batches: %v", err)
	}
}
