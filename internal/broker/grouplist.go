package broker

import (
	"cmp"
	"context"
	"slices"
	"time"

	"metaq/actors"
	"metaq/protocol"
)

// coordinatorsWait bounds a look into the registry for a list.
const coordinatorsWait = 2 * time.Second

// gatherGroups returns what makes the list of all brokers' groups; nil when this
// broker runs alone.
func (b *Broker) gatherGroups() func(own protocol.GroupList) protocol.GroupList {
	if b.members == nil {
		return nil
	}
	return func(own protocol.GroupList) protocol.GroupList {
		others := b.members.others()
		said := actors.FromAll(others, b.members.PeerGroups)
		var silent []int
		for _, id := range others {
			if _, ok := said[id]; !ok {
				silent = append(silent, id)
			}
		}
		said[b.members.home] = own
		ctx, cancel := context.WithTimeout(context.Background(), coordinatorsWait)
		defer cancel()
		leaders, err := b.members.coordinators(ctx)
		if err != nil {
			b.log.Warn("registry does not say who coordinates the groups: a list may have some that were deleted", "err", err)
		}
		list := mergeGroups(said, leaders)
		list.Silent = silent
		return list
	}
}

// mergeGroups makes one list of those of several brokers, by their ids. A group that
// has moved is still in the log of its former coordinator, as it was then: the
// present one's word counts. When nobody coordinates it, or who does says nothing,
// the newest generation does.
func mergeGroups(said map[int]protocol.GroupList, leaders map[string]int) protocol.GroupList {
	all := map[string]protocol.GroupSummary{}
	for id, list := range said {
		for _, s := range list.Groups {
			leader, known := leaders[s.Group]
			if known {
				_, known = said[leader]
			}
			was, there := all[s.Group]
			if known && leader == id || !known && (!there || s.Generation > was.Generation) {
				all[s.Group] = s
			}
		}
	}
	list := protocol.GroupList{Groups: []protocol.GroupSummary{}}
	for _, s := range all {
		list.Groups = append(list.Groups, s)
	}
	slices.SortFunc(list.Groups, func(a, b protocol.GroupSummary) int { return cmp.Compare(a.Group, b.Group) })
	return list
}
