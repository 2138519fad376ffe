package broker

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"metaq/protocol"
)

func TestGroupsOfAllBrokers(t *testing.T) {
	list := func(groups ...protocol.GroupSummary) protocol.GroupList { return protocol.GroupList{Groups: groups} }
	said := map[int]protocol.GroupList{
		0: list(
			protocol.GroupSummary{Group: "b", Generation: 9},
			protocol.GroupSummary{Group: "deleted", Generation: 3},
			protocol.GroupSummary{Group: "moved", Generation: 8}),
		1: list(
			protocol.GroupSummary{Group: "a", Generation: 1},
			protocol.GroupSummary{Group: "moved", Generation: 5}),
	}
	for _, c := range []struct {
		name    string
		leaders map[string]int
		want    []string
	}{
		{"the coordinator's word counts", map[string]int{"a": 1, "b": 0, "deleted": 1, "moved": 1}, []string{"a 1", "b 9", "moved 5"}},
		{"without the registry the newest generation", nil, []string{"a 1", "b 9", "deleted 3", "moved 8"}},
		{"the coordinator is away", map[string]int{"a": 2, "b": 0, "deleted": 1, "moved": 2}, []string{"a 1", "b 9", "moved 8"}},
	} {
		var got []string
		for _, s := range mergeGroups(said, c.leaders).Groups {
			got = append(got, s.Group+" "+string(rune('0'+s.Generation)))
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
	if got := mergeGroups(nil, nil).Groups; got == nil || len(got) != 0 {
		t.Errorf("no group: %v", got)
	}
}
