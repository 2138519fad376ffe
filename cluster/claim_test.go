package cluster

import (
	"errors"
	"math"
	"testing"

	"pgregory.net/rapid"

	"metaq/cluster/registry"
	"metaq/protocol"
)

func TestRaiseGoesAboveAllThatWasSeen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		epochs := rapid.SliceOfN(rapid.Uint32Range(0, math.MaxUint32-1), 0, 5)
		cast := func(name string) (list []protocol.Epoch) {
			for _, e := range epochs.Draw(t, name) {
				list = append(list, protocol.Epoch(e))
			}
			return list
		}
		floor, witnessed, recorded := cast("floor"), cast("witnessed"), cast("recorded")
		least := protocol.Epoch(rapid.Uint32Range(0, math.MaxUint32-1).Draw(t, "least"))
		was := mapped(recorded, func(e protocol.Epoch) leadership { return leadership{Epoch: e, Leader: 3} })
		next, err := raise(was, floor, witnessed, least, 7)
		if len(was) > len(floor) {
			if !errors.Is(err, ErrFewerPartitions) {
				t.Fatalf("fewer partitions: %v", err)
			}
			return
		}
		if err != nil || len(next) != len(floor) {
			t.Fatalf("%d of %d, %v", len(next), len(floor), err)
		}
		for i, l := range next {
			highest := max(floor[i], least)
			for _, list := range [][]protocol.Epoch{witnessed, recorded} {
				if i < len(list) {
					highest = max(highest, list[i])
				}
			}
			if l.Epoch != highest+1 || l.Leader != 7 {
				t.Fatalf("partition %d: %+v above %d", i, l, highest)
			}
		}
	})
}

func TestRaiseRefusesToStartAgainAtZero(t *testing.T) {
	if _, err := raise(nil, []protocol.Epoch{math.MaxUint32}, nil, 0, 0); !errors.Is(err, registry.ErrInvalid) {
		t.Fatalf("epoch after the last: %v", err)
	}
}

func TestChunksKeepToTheLimits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sizes := rapid.SliceOfN(rapid.IntRange(0, 200_000), 1, 50).Draw(t, "sizes")
		var ops []registry.Op
		for _, size := range sizes {
			ops = append(ops, registry.Create("/x", make([]byte, size), registry.Persistent))
		}
		guard := []registry.Op{registry.Check("/fence", 0)}
		for len(ops) > 0 {
			n := fitting(guard, ops)
			if n < 1 {
				t.Fatal("no progress")
			}
			if err := registry.CheckOps(append(guard[:1:1], ops[:n]...)); err != nil {
				t.Fatal(err)
			}
			ops = ops[n:]
		}
	})
	if n := fitting([]registry.Op{registry.Check("/fence", 0)}, make([]registry.Op, 5000)); n != registry.MaxMultiOps-1 {
		t.Fatalf("%d operations beside one guard", n)
	}
}
