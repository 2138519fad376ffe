package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"metaq/cluster/registry"
	"metaq/protocol"
)

// Group is the record of a consumer group: who coordinates it. The coordinator is
// alive as long as its broker is registered.
type Group struct {
	Name   string
	Epoch  protocol.Epoch // grows with every claim
	Leader int            // broker id, or NoLeader
	// Deleted is the epoch in which the group was deleted last: what any log knows of it
	// from that epoch, or from one before, is over.
	Deleted protocol.Epoch
}

// Group reads a group's record. ErrNotFound when nobody ever claimed it.
func (c *Catalog) Group(ctx context.Context, name string) (Group, error) {
	path := c.paths.group(name)
	n, err := c.reg.Get(ctx, path)
	if err != nil {
		return Group{}, fmt.Errorf("group %s: %w", name, err)
	}
	l, err := decode[coordination](path, n)
	return groupOf(name, l), err
}

// Groups reads the records of all groups that were ever claimed and can be read, sorted by
// name.
func (c *Catalog) Groups(ctx context.Context) ([]Group, error) {
	names, err := childrenOf(ctx, c.reg, registry.ParentOf(c.paths.group("x")))
	if err != nil {
		return nil, fmt.Errorf("list groups: %w", err)
	}
	nodes, err := readAll(ctx, c.reg, mapped(names, c.paths.group))
	if err != nil {
		return nil, fmt.Errorf("read groups: %w", err)
	}
	var groups []Group
	for i, n := range nodes {
		if !n.ok {
			continue
		}
		l, err := decode[coordination](c.paths.group(names[i]), n.Node)
		if err != nil {
			continue // nobody can coordinate that group; its next claim says why
		}
		groups = append(groups, groupOf(names[i], l))
	}
	return groups, nil
}

func groupOf(name string, l coordination) Group {
	return Group{Name: name, Epoch: l.Epoch, Leader: l.Leader, Deleted: l.Deleted}
}

// ClaimGroup makes this broker the coordinator of a group and returns the epoch of
// that. A *CoordinatedError names the coordinator when another registered broker has
// it. Claiming again what is held here raises the epoch again.
func (r *Registration) ClaimGroup(ctx context.Context, group string) (protocol.Epoch, error) {
	if err := protocol.CheckName("group", group); err != nil {
		return 0, fmt.Errorf("claim group: %w: %w", registry.ErrInvalid, err)
	}
	var epoch protocol.Epoch
	err := r.inTurn(ctx, "claim group "+group, func(ctx context.Context) ([]registry.Op, func(), error) {
		if r.leases != nil && !r.leases.mayClaim() {
			return nil, nil, fmt.Errorf("%w: the broker has no lease at this moment", registry.ErrUnavailable)
		}
		path := r.paths.group(group)
		n, err := readOne(ctx, r.reg, path)
		if err != nil {
			return nil, nil, err
		}
		was := coordination{leadership: leadership{Leader: NoLeader}}
		var take []registry.Op
		if n.ok {
			if was, err = decode[coordination](path, n.Node); err != nil {
				return nil, nil, err
			}
		}
		if was.Leader != NoLeader && was.Leader != r.self.ID {
			// A broker that comes back after this look at it finds the version of the record
			// changed, and is refused whatever it writes as coordinator.
			var free bool
			if take, free, err = r.free(ctx, was.Leader); err != nil {
				return nil, nil, err
			}
			if !free {
				return nil, nil, &CoordinatedError{Group: group, Leader: was.Leader, Epoch: was.Epoch}
			}
		}
		next := coordination{leadership{Epoch: was.Epoch + 1, Leader: r.self.ID}, was.Deleted}
		version := registry.Version(0)
		if n.ok {
			version = n.Version + 1
		}
		return append(take, putOp(path, n, encode(next))), func() {
			epoch = next.Epoch
			r.groups[group] = version
			if was.Leader != r.self.ID {
				delete(r.mirrors, group) // another broker has written there in between
			}
		}, nil
	})
	return epoch, err
}

// free reports whether what a broker coordinated may be claimed, and what the claim must carry.
func (r *Registration) free(ctx context.Context, broker int) ([]registry.Op, bool, error) {
	if r.leases != nil {
		return r.leases.take(ctx, r, broker)
	}
	alive, err := readOne(ctx, r.reg, r.paths.broker(broker))
	return nil, err == nil && !alive.ok, err
}

// HoldGroups returns those groups that this broker id coordinated in the given epochs, or in
// the ones right after, and that nobody else has claimed or deleted since. This registration
// may mirror their offsets from then on, as if it had claimed them.
func (r *Registration) HoldGroups(ctx context.Context, epochs map[string]protocol.Epoch) ([]string, error) {
	if err := r.take(ctx); err != nil {
		return nil, fmt.Errorf("hold groups: %w", err)
	}
	defer r.give()
	names := slices.Sorted(maps.Keys(epochs))
	nodes, err := readAll(ctx, r.reg, mapped(names, r.paths.group))
	if err != nil {
		return nil, fmt.Errorf("hold groups: %w", err)
	}
	var held []string
	for i, n := range nodes {
		if !n.ok {
			continue
		}
		l, err := decode[coordination](r.paths.group(names[i]), n.Node)
		if err != nil {
			return nil, fmt.Errorf("hold groups: %w", err)
		}
		// The epoch after the known one is a claim, or a deletion, of this broker that its log
		// did not come to know.
		known := epochs[names[i]]
		if l.Leader == r.self.ID && known > 0 && l.Deleted < known && (l.Epoch == known || l.Epoch == known+1) {
			r.groups[names[i]] = n.Version
			held = append(held, names[i])
		}
	}
	return held, nil
}

// DeleteGroup deletes the mirrored offsets of a group that this registration has claimed,
// notes in its record that the group was deleted, and returns the epoch of what comes after
// that, as a claim does. ErrNotCoordinator; ErrFenced when a newer coordinator has it.
// After any other error the group may be deleted or not: claim it anew to see.
func (r *Registration) DeleteGroup(ctx context.Context, group string) (protocol.Epoch, error) {
	// The offsets go first: were they still there when the record says so, nobody could
	// tell them from those of a new group.
	if err := r.dropOffsets(ctx, group); err != nil {
		return 0, fmt.Errorf("delete group %s: %w", group, err)
	}
	var epoch protocol.Epoch
	err := r.inTurn(ctx, "delete group "+group, func(ctx context.Context) ([]registry.Op, func(), error) {
		path := r.paths.group(group)
		n, err := r.reg.Get(ctx, path)
		if err != nil {
			return nil, nil, err
		}
		was, err := decode[coordination](path, n)
		if err != nil {
			return nil, nil, err
		}
		if n.Version != r.groups[group] {
			return nil, nil, fmt.Errorf("%w: broker %d claimed it with epoch %d", ErrFenced, was.Leader, was.Epoch)
		}
		next := coordination{leadership{Epoch: was.Epoch + 1, Leader: r.self.ID}, was.Epoch}
		return []registry.Op{registry.Set(path, encode(next), n.Version)}, func() {
			epoch = next.Epoch
			r.groups[group] = n.Version + 1
		}, nil
	})
	return epoch, err
}
