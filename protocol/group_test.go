package protocol

import (
	"errors"
	"slices"
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

func TestAGroupsRequestsNameEachPartitionOnce(t *testing.T) {
	id := func(n int) PartitionID { return PartitionID{N: n} }
	reset := GroupReset{Topic: "t", To: GroupPlace{At: StartLatest}}
	for range 50_000 {
		reset.Partitions = append(reset.Partitions, id(1), id(0))
	}
	if err := reset.Check(); err != nil {
		t.Fatal(err)
	}
	if want := []PartitionID{id(0), id(1)}; !slices.Equal(reset.Partitions, want) {
		t.Errorf("reset names %d partitions, %v are different", len(reset.Partitions), want)
	}
	reset.Partitions = make([]PartitionID, MaxResetPartitions+1)
	if err := reset.Check(); !errors.Is(err, ErrBadRequest) {
		t.Errorf("a reset of %d partitions: %v", MaxResetPartitions+1, err)
	}

	commit := GroupCommit{Offsets: []GroupPosition{
		{Topic: "u", Partition: id(0), Offset: 5},
		{Topic: "t", Partition: id(0), Offset: 1},
		{Topic: "t", Partition: id(0), Offset: 9},
		{Topic: "t", Partition: id(0), Offset: 3},
	}}
	if err := commit.Check(); err != nil {
		t.Fatal(err)
	}
	if len(commit.Offsets) != 2 || commit.Offsets[0].Offset != 9 || commit.Offsets[1].Offset != 5 {
		t.Errorf("commit is %+v, want the highest offset of each partition", commit.Offsets)
	}

	beat := GroupHeartbeat{Released: []TopicPartition{{"t", id(1)}, {"t", id(0)}, {"t", id(1)}}}
	if err := beat.Check(); err != nil {
		t.Fatal(err)
	}
	if want := []TopicPartition{{"t", id(0)}, {"t", id(1)}}; !slices.Equal(beat.Released, want) {
		t.Errorf("released are %v, want %v", beat.Released, want)
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
