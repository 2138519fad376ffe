package client

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"metaq/client/internal/fetch"
	"metaq/protocol"
)

// Strategies that divide the partitions of a group.
const (
	StrategySticky     = protocol.StrategySticky
	StrategyRange      = protocol.StrategyRange
	StrategyConsistent = protocol.StrategyConsistent
)

// Refusals of a group that callers look for.
var (
	ErrNoGroup  error = protocol.ErrNoGroup
	ErrNoMember error = protocol.ErrNoMember
	// ErrInstance ends a Consumer: a newer process has joined with the same WithInstance.
	ErrInstance error = protocol.ErrInstance
	ErrFenced   error = protocol.ErrFenced
	ErrConflict error = protocol.ErrConflict // the group has members
)

// place is the form of a Start in requests.
func (s Start) place() protocol.GroupPlace {
	switch s.s.Kind {
	case fetch.StartLatest:
		return protocol.GroupPlace{At: protocol.StartLatest}
	case fetch.StartOffset:
		return protocol.GroupPlace{At: protocol.StartOffset, Offset: s.s.Offset}
	case fetch.StartTime:
		at := s.s.At.UTC()
		return protocol.GroupPlace{At: protocol.StartTime, Time: &at}
	default:
		return protocol.GroupPlace{At: protocol.StartEarliest}
	}
}

// GroupList returns the groups of all brokers that answer in time, sorted by name.
func (a *Admin) GroupList(ctx context.Context) (all protocol.GroupList, err error) {
	all.Groups = []protocol.GroupSummary{}
	err = protocol.EachPage(func(after string) (string, error) {
		var page protocol.GroupList
		err := a.c.calls.Call(ctx, a.c.calls.Subjects.Admin("group", "ls"), protocol.ListRequest{After: after}, &page)
		all.Groups, all.Silent = append(all.Groups, page.Groups...), page.Silent
		return page.Next, err
	})
	if err != nil {
		return all, fmt.Errorf("group ls: %w", err)
	}
	return all, nil
}

// GroupInfo describes a group, with the lag of each partition in messages.
func (a *Admin) GroupInfo(ctx context.Context, group string) (protocol.GroupInfo, error) {
	var all protocol.GroupInfo
	err := protocol.EachPage(func(after string) (string, error) {
		var page protocol.GroupInfo
		err := a.c.calls.Group(ctx, group, protocol.GroupVerbInfo, protocol.ListRequest{After: after}, &page)
		page.Members, page.Partitions = append(all.Members, page.Members...), append(all.Partitions, page.Partitions...)
		all = page
		return page.Next, err
	})
	return all, err
}

// GroupOffsets returns the committed offsets of a group.
func (a *Admin) GroupOffsets(ctx context.Context, group string) ([]protocol.GroupPosition, error) {
	return a.c.groupOffsets(ctx, group, "")
}

// groupOffsets returns the committed offsets of a group that follow one, see
// protocol.GroupOffsets.
func (c *Client) groupOffsets(ctx context.Context, group, from string) (all []protocol.GroupPosition, err error) {
	err = protocol.EachPage(func(after string) (string, error) {
		var page protocol.GroupOffsets
		err := c.calls.Group(ctx, group, protocol.GroupVerbOffsets, protocol.ListRequest{After: cmp.Or(after, from)}, &page)
		all = append(all, page.Offsets...)
		return page.Next, err
	})
	return all, err
}

// GroupReset moves a group's committed offsets in one topic and returns the new
// ones; without partitions it moves all. ErrConflict while the group has members,
// unless force is set, which puts them out of the group. It may make a group.
func (a *Admin) GroupReset(ctx context.Context, group, topic string, to Start, force bool, partitions ...PartitionID) ([]protocol.GroupPosition, error) {
	var reply protocol.GroupOffsets
	err := a.c.calls.Group(ctx, group, protocol.GroupVerbReset,
		protocol.GroupReset{Topic: topic, Partitions: partitions, To: to.place(), Force: force}, &reply)
	if err != nil || reply.Next == "" {
		return reply.Offsets, err
	}
	// The others that were moved; the reset is done whatever becomes of this.
	rest, err := a.c.groupOffsets(ctx, group, reply.Next)
	for i := range rest {
		if rest[i].Topic == topic && (len(partitions) == 0 || slices.Contains(partitions, rest[i].Partition)) {
			reply.Offsets = append(reply.Offsets, rest[i])
		}
	}
	return reply.Offsets, err
}

// GroupRemove puts a static member, by its instance, out of a group, so that others get
// its partitions at once: one that has closed and will not come back. One that runs joins
// again. ErrNoMember when it is not there.
func (a *Admin) GroupRemove(ctx context.Context, group, instance string) error {
	var done protocol.Done
	return a.c.calls.GroupAs(ctx, group, protocol.GroupVerbLeave, "remove", protocol.GroupLeave{Instance: instance}, &done)
}

// GroupDelete forgets a group and its offsets. ErrConflict while it has members,
// unless force is set.
func (a *Admin) GroupDelete(ctx context.Context, group string, force bool) error {
	var done protocol.Done
	return a.c.calls.Group(ctx, group, protocol.GroupVerbDelete, protocol.GroupDelete{Force: force}, &done)
}
