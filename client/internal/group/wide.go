package group

import (
	"context"
	"slices"

	"metaq/protocol"
)

// A member of a group with very many partitions: views come in pages, and what it says is
// said in parts, each of which fits the smallest message that a server may be set to.

// mostPlaces is how many partitions one commit or heartbeat names: below 64 KiB of JSON.
const mostPlaces = 250

// whole asks for the pages that follow the first one of a view. The view may change while it
// is read: then it is read again from its beginning.
func (m *Membership) whole(ctx context.Context, view protocol.GroupView) (protocol.GroupView, error) {
	for all := view; ; {
		if all.Next == "" {
			return all, nil
		}
		r := protocol.GroupHeartbeat{
			Member: view.Member, Instance: m.join.Instance, Generation: all.Generation, Revision: afresh, After: all.Next,
		}
		var page protocol.GroupView
		if err := m.c.Group(ctx, m.group, protocol.GroupVerbHeartbeat, r, &page); err != nil {
			return all, err
		}
		switch {
		case page.Revision == all.Revision && page.Next == all.Next:
			return all, protocol.ErrInternal.With("a page says that the next one is itself: %q", page.Next)
		case page.Revision == all.Revision:
			all.Join(page)
		default:
			r.After, all = "", protocol.GroupView{}
			if err := m.c.Group(ctx, m.group, protocol.GroupVerbHeartbeat, r, &all); err != nil {
				return all, err
			}
		}
	}
}

// commitAll makes the offsets of a commit durable, in as many commits as that takes.
func (m *Membership) commitAll(ctx context.Context, r protocol.GroupCommit) error {
	all := r.Offsets
	for part := range slices.Chunk(all, mostPlaces) {
		var reply protocol.GroupOffsets
		r.Offsets = part
		if err := m.c.Group(ctx, m.group, protocol.GroupVerbCommit, r, &reply); err != nil {
			return err
		}
	}
	return nil
}

// releaseAll gives back what the view wants released, and returns the view after that.
func (m *Membership) releaseAll(ctx context.Context, view protocol.GroupView) (protocol.GroupView, error) {
	parts := slices.Collect(slices.Chunk(view.Release, mostPlaces))
	if len(parts) == 0 {
		parts = [][]protocol.TopicPartition{nil}
	}
	var after protocol.GroupView
	for _, part := range parts {
		r := protocol.GroupHeartbeat{Member: view.Member, Instance: m.join.Instance, Generation: view.Generation, Released: part}
		after = protocol.GroupView{}
		err := m.c.Group(ctx, m.group, protocol.GroupVerbHeartbeat, r, &after)
		if err == nil {
			after, err = m.whole(ctx, after)
		}
		if err != nil {
			return after, err
		}
	}
	return after, nil
}
