package cluster_test

import (
	"testing"

	"metaq/cluster"
	"metaq/cluster/registrytest"
	"metaq/internal/vfs/faultfs"
	"metaq/protocol"
)

// A broker that gets a group back knows nothing of what the registry has of its offsets: the
// broker in between has written there.
func TestAGroupThatComesBackIsMirroredWhateverWasMirroredBefore(t *testing.T) {
	store := registrytest.OpenLocal(t, faultfs.New(0))
	reg := registrytest.Session(t, store.Open)
	first := register(t, reg, broker(0, "a"), nil)
	ctx := t.Context()
	mark := func(offset int64, born protocol.Epoch) []cluster.OffsetMark {
		return []cluster.OffsetMark{{Group: "g", Topic: "t", Born: born, Progress: cluster.Progress{MessageID: -1, Offset: offset}}}
	}
	_, err := first.ClaimGroup(ctx, "g")
	registrytest.Check(t, err)
	registrytest.Check(t, first.MirrorOffsets(ctx, mark(100, 5)))

	// Broker 1 takes over while broker 0 is registered, as it does when a lease has lapsed.
	record, err := reg.Get(ctx, "/meta/nats/groups/g")
	registrytest.Check(t, err)
	_, err = reg.Set(ctx, "/meta/nats/groups/g", []byte(`{"epoch":1,"leader":-1}`), record.Version)
	registrytest.Check(t, err)
	second := register(t, reg, broker(1, "b"), nil)
	_, err = second.ClaimGroup(ctx, "g")
	registrytest.Check(t, err)
	registrytest.Check(t, second.MirrorOffsets(ctx, mark(150, 5)))
	_, err = second.DeleteGroup(ctx, "g")
	registrytest.Check(t, err)
	registrytest.Check(t, second.MirrorOffsets(ctx, mark(200, 0)))
	registrytest.Check(t, second.Leave(ctx))

	// An operator resets the group to where the first broker mirrored it last.
	_, err = first.ClaimGroup(ctx, "g")
	registrytest.Check(t, err)
	registrytest.Check(t, first.MirrorOffsets(ctx, mark(100, 5)))
	got, err := first.Offsets(ctx, "g")
	registrytest.Check(t, err)
	equal(t, got, mark(100, 5))
}
