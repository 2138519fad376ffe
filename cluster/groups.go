package cluster

import (
	"context"
	"errors"
	"fmt"

	"metaq/protocol"
)

// Group is the record of a consumer group: who coordinates it. The coordinator is
// alive as long as its broker is registered.
type Group struct {
	Name   string
	Epoch  protocol.Epoch // grows with every claim
	Leader int            // broker id, or NoLeader
}

// Group reads a group's record. ErrNotFound when nobody ever claimed it.
func (c *Catalog) Group(ctx context.Context, name string) (Group, error) {
	path := c.paths.group(name)
	n, err := c.reg.Get(ctx, path)
	if err != nil {
		return Group{}, fmt.Errorf("group %s: %w", name, err)
	}
	l, err := decode[leadership](path, n)
	return Group{Name: name, Epoch: l.Epoch, Leader: l.Leader}, err
}

// Groups reads the records of all groups that were ever claimed, sorted by name.
func (c *Catalog) Groups(ctx context.Context) ([]Group, error) {
	names, err := childrenOf(ctx, c.reg, parentOf(c.paths.group("x")))
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
		l, err := decode[leadership](c.paths.group(names[i]), n.Node)
		if err != nil {
			return nil, err
		}
		groups = append(groups, Group{Name: names[i], Epoch: l.Epoch, Leader: l.Leader})
	}
	return groups, nil
}

// ClaimGroup makes this broker the coordinator of a group and returns the epoch of
// that. A *CoordinatedError names the coordinator when another registered broker has
// it. Claiming again what is held here raises the epoch again.
func (r *Registration) ClaimGroup(ctx context.Context, group string) (protocol.Epoch, error) {
	if err := protocol.CheckName("group", group); err != nil {
		return 0, fmt.Errorf("claim group: %w: %w", ErrInvalid, err)
	}
	var epoch protocol.Epoch
	err := r.inTurn(ctx, "claim group "+group, func(ctx context.Context) ([]Op, func(), error) {
		path := r.paths.group(group)
		n, err := readOne(ctx, r.reg, path)
		if err != nil {
			return nil, nil, err
		}
		was := leadership{Leader: NoLeader}
		if n.ok {
			if was, err = decode[leadership](path, n.Node); err != nil {
				return nil, nil, err
			}
		}
		if was.Leader != NoLeader && was.Leader != r.self.ID {
			// A broker that comes back after this look at it finds the version of the record
			// changed, and is refused whatever it writes as coordinator.
			alive, err := readOne(ctx, r.reg, r.paths.broker(was.Leader))
			if err != nil {
				return nil, nil, err
			}
			if alive.ok {
				return nil, nil, &CoordinatedError{Group: group, Leader: was.Leader, Epoch: was.Epoch}
			}
		}
		next := leadership{Epoch: was.Epoch + 1, Leader: r.self.ID}
		version := Version(0)
		if n.ok {
			version = n.Version + 1
		}
		return []Op{putOp(path, n, encode(next))}, func() {
			epoch = next.Epoch
			r.groups[group] = version
		}, nil
	})
	return epoch, err
}

// ReleaseGroup gives a group back, so that another broker can claim it at once. It
// does nothing when this broker is not the coordinator.
func (r *Registration) ReleaseGroup(ctx context.Context, group string) error {
	err := r.inTurn(ctx, "release group "+group, func(ctx context.Context) ([]Op, func(), error) {
		path := r.paths.group(group)
		n, err := readOne(ctx, r.reg, path)
		if err != nil || !n.ok {
			return nil, nil, err
		}
		was, err := decode[leadership](path, n.Node)
		if err != nil || was.Leader != r.self.ID {
			return nil, nil, err
		}
		was.Leader = NoLeader
		return []Op{Set(path, encode(was), n.Version)}, func() {}, nil
	})
	if err != nil && !errors.Is(err, ErrFenced) {
		return err
	}
	if err := r.take(ctx); err != nil {
		return err
	}
	delete(r.groups, group)
	r.give()
	return nil
}
