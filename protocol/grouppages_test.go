package protocol

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func placeOf(i int) TopicPartition {
	return TopicPartition{fmt.Sprintf("t%02d", i/50), PartitionID{Home: i % 50 / 10, N: i % 10}}
}

func TestPagesOfAGroupAreTheGroup(t *testing.T) {
	for _, c := range []struct{ entries, limit, size int }{
		{0, 0, 4096}, {1, 1, 4096}, {7, 3, 4096}, {300, 0, 4096}, {1000, 0, 1 << 16}, {400, 399, 1 << 20},
	} {
		offsets := GroupOffsets{Group: "g", Offsets: []GroupPosition{}}
		info := GroupInfo{Group: "g", Lag: 5, Members: []GroupMember{}, Partitions: []GroupPartition{}}
		view := GroupView{Group: "g", Revision: 9, Assigned: []GroupPosition{}, Release: []TopicPartition{}, Pending: []TopicPartition{}}
		for i := range c.entries {
			at := placeOf(i)
			position := GroupPosition{Topic: at.Topic, Partition: at.Partition, Offset: Offset(i)}
			offsets.Offsets = append(offsets.Offsets, position)
			info.Members = append(info.Members, GroupMember{Member: fmt.Sprintf("m%04d", i), Topics: []string{at.Topic}})
			info.Partitions = append(info.Partitions, GroupPartition{Topic: at.Topic, Partition: at.Partition, Error: "no <leader>"})
			view.Assigned, view.Release, view.Pending = append(view.Assigned, position), append(view.Release, at), append(view.Pending, at)
			view.Diverged = append(view.Diverged, GroupStopped{at.Topic, at.Partition, GroupDiverged{Offset: 1, Time: time.Unix(0, 0).UTC(), Stopped: true}})
		}
		name := fmt.Sprintf("%d entries, limit %d, %d bytes", c.entries, c.limit, c.size)
		gotOffsets, _ := pagesOf(t, offsets, c.limit, c.size, func(sum, page GroupOffsets) (GroupOffsets, string) {
			next := page.Next
			page.Offsets, page.Next = append(sum.Offsets, page.Offsets...), ""
			return page, next
		})
		gotInfo, _ := pagesOf(t, info, c.limit, c.size, func(sum, page GroupInfo) (GroupInfo, string) {
			next := page.Next
			page.Members, page.Partitions, page.Next = append(sum.Members, page.Members...), append(sum.Partitions, page.Partitions...), ""
			return page, next
		})
		first := true
		gotView, _ := pagesOf(t, view, c.limit, c.size, func(sum, page GroupView) (GroupView, string) {
			if first {
				first = false
				return page, page.Next
			}
			sum.Join(page)
			return sum, page.Next
		})
		empty := cmp.FilterValues(func(a, b []GroupPosition) bool { return len(a)+len(b) == 0 }, cmp.Ignore())
		if d := cmp.Diff(offsets, gotOffsets, empty); d != "" {
			t.Errorf("offsets, %s: %s", name, d)
		}
		if len(gotInfo.Members) != c.entries || c.entries > 0 && !cmp.Equal(info, gotInfo) {
			t.Errorf("info, %s: %s", name, cmp.Diff(info, gotInfo))
		}
		if d := cmp.Diff(view, gotView); d != "" {
			t.Errorf("view, %s: %s", name, d)
		}
	}
}
