package protocol

import (
	"errors"
	"testing"
	"time"
)

func TestGroupJoinIsChecked(t *testing.T) {
	now := time.UnixMilli(0)
	for _, tt := range []struct {
		name string
		r    GroupJoin
		want *Error
	}{
		{"the least that a join says", GroupJoin{Topics: []string{"t"}}, nil},
		{"all that it may say", GroupJoin{
			Member: "m", Instance: "i", Client: "host", Topics: []string{"b", "a", "b"}, Strategy: StrategyRange,
			SessionMs: MinSessionMs, ReleaseMs: MaxSessionMs, Start: GroupPlace{At: StartTime, Time: &now},
		}, nil},
		{"no topic", GroupJoin{}, ErrBadRequest},
		{"bad topic", GroupJoin{Topics: []string{"a.b"}}, ErrBadName},
		{"empty topic", GroupJoin{Topics: []string{""}}, ErrBadName},
		{"bad member", GroupJoin{Member: "a b", Topics: []string{"t"}}, ErrBadName},
		{"short session", GroupJoin{Topics: []string{"t"}, SessionMs: MinSessionMs - 1}, ErrBadRequest},
		{"negative release", GroupJoin{Topics: []string{"t"}, ReleaseMs: -1}, ErrBadRequest},
		{"unknown strategy", GroupJoin{Topics: []string{"t"}, Strategy: "fair"}, ErrBadRequest},
		{"unknown start", GroupJoin{Topics: []string{"t"}, Start: GroupPlace{At: "middle"}}, ErrBadRequest},
		{"time without a time", GroupJoin{Topics: []string{"t"}, Start: GroupPlace{At: StartTime}}, ErrBadRequest},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.r.Check()
			if tt.want == nil && err != nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Fatalf("Check: %v, want %v", err, tt.want)
			}
			if err == nil && (tt.r.SessionMs == 0 || tt.r.ReleaseMs == 0) {
				t.Error("defaults are missing")
			}
			if err == nil && len(tt.r.Topics) > 2 {
				t.Errorf("topics are %v, not sorted and without repetition", tt.r.Topics)
			}
		})
	}
}

func TestGroupResetIsChecked(t *testing.T) {
	for _, tt := range []struct {
		name string
		r    GroupReset
		want *Error
	}{
		{"to the start", GroupReset{Topic: "t", To: GroupPlace{At: StartEarliest}}, nil},
		{"to nowhere", GroupReset{Topic: "t"}, ErrBadRequest},
		{"below zero", GroupReset{Topic: "t", To: GroupPlace{At: StartOffset, Offset: -1}}, ErrBadRequest},
		{"of no topic", GroupReset{To: GroupPlace{At: StartEarliest}}, ErrBadName},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.r.Check(); tt.want == nil && err != nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Fatalf("Check: %v, want %v", err, tt.want)
			}
		})
	}
}
