package broker

import (
	"fmt"
	"testing"

	"metaq/actors/group"
	"metaq/cluster"
	"metaq/cluster/local"
	"metaq/internal/vfs/faultfs"
	"metaq/protocol"
)

// More groups than one write to the registry takes have changed since the last mirror: all of
// them are mirrored, and not none.
func TestOffsetsOfAThousandGroupsAreMirrored(t *testing.T) {
	local, err := local.Open(local.Options{FS: faultfs.New(0), Dir: "registry"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := local.Close(); err != nil {
			t.Error(err)
		}
	})
	m, err := cluster.Join(t.Context(), cluster.MemberOptions{Open: local.Open, Broker: cluster.Broker{ID: 3, Token: "t"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	c := coordination{&topicRegistry{member: m}}
	changed := map[string]group.Mirror{}
	for i := range 1000 {
		name := fmt.Sprintf("g%d", i)
		if _, err := c.ClaimGroup(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		changed[name] = group.Mirror{Offsets: []protocol.GroupPosition{{Topic: "t", Offset: protocol.Offset(i)}}}
	}
	if err := c.MirrorOffsets(t.Context(), changed); err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{0, 123, 999} {
		mirror, err := c.GroupOffsets(t.Context(), fmt.Sprintf("g%d", i))
		if err != nil || len(mirror.Offsets) != 1 || mirror.Offsets[0].Offset != protocol.Offset(i) {
			t.Errorf("group g%d: %+v, %v", i, mirror, err)
		}
	}
}
