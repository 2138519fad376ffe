package broker

import (
	"context"
	"errors"

	"metaq/actors"
	"metaq/cluster"
	"metaq/protocol"
)

// coordination is the actors' Coordination over a member of package cluster.
type coordination struct{ reg *registry }

// ClaimGroup implements actors.Coordination.
func (c coordination) ClaimGroup(ctx context.Context, group string) (protocol.Epoch, error) {
	m, err := c.reg.reached()
	if err != nil {
		return 0, err
	}
	epoch, err := m.ClaimGroup(ctx, group)
	var other *cluster.CoordinatedError
	if errors.As(err, &other) {
		return 0, &actors.CoordinatedElsewhere{Broker: other.Leader}
	}
	return epoch, onWire(err)
}

// GroupOffsets implements actors.Coordination.
func (c coordination) GroupOffsets(ctx context.Context, group string) (actors.GroupMirror, error) {
	m, err := c.reg.now()
	if err != nil {
		return actors.GroupMirror{}, err
	}
	var marks []cluster.OffsetMark
	var record cluster.Group
	err = m.With(ctx, func(r *cluster.Registration) (err error) {
		if record, err = r.Group(ctx, group); err == nil {
			marks, err = r.Offsets(ctx, group)
		}
		return err
	})
	out := actors.GroupMirror{Offsets: make([]protocol.GroupPosition, len(marks)), Born: map[string]protocol.Epoch{}, Deleted: record.Deleted}
	for i, mark := range marks {
		if mark.Born > 0 {
			out.Born[mark.Topic] = mark.Born
		}
		out.Offsets[i] = protocol.GroupPosition{
			Topic: mark.Topic, Partition: mark.Partition,
			Offset: protocol.Offset(mark.Progress.Offset), Epoch: mark.Progress.Epoch(),
		}
	}
	return out, onWire(err)
}

// MirrorOffsets implements actors.Coordination. Groups that another broker has taken
// over are left to it, and do not hold up the others.
func (c coordination) MirrorOffsets(ctx context.Context, changed map[string]actors.GroupMirror) error {
	m, err := c.reg.now()
	if err != nil {
		return err
	}
	var all []cluster.OffsetMark
	for group, mirror := range changed {
		all = append(all, marksOf(group, mirror)...)
	}
	if err = m.MirrorOffsets(ctx, all); !lostGroup(err) {
		return onWire(err)
	}
	var errs []error
	for group, mirror := range changed {
		if err := m.MirrorOffsets(ctx, marksOf(group, mirror)); !lostGroup(err) {
			errs = append(errs, onWire(err))
		}
	}
	return errors.Join(errs...)
}

// DeleteGroup implements actors.Coordination.
func (c coordination) DeleteGroup(ctx context.Context, group string) (protocol.Epoch, error) {
	m, err := c.reg.reached()
	if err != nil {
		return 0, err
	}
	epoch, err := m.DeleteGroup(ctx, group)
	return epoch, onWire(err)
}

// Away implements actors.Coordination.
func (c coordination) Away() error {
	_, err := c.reg.reached()
	return err
}

func lostGroup(err error) bool {
	return errors.Is(err, cluster.ErrFenced) || errors.Is(err, cluster.ErrNotCoordinator)
}

// marksOf are a group's offsets as MetaQ keeps them.
func marksOf(group string, mirror actors.GroupMirror) []cluster.OffsetMark {
	marks := make([]cluster.OffsetMark, len(mirror.Offsets))
	for i, p := range mirror.Offsets {
		marks[i] = cluster.OffsetMark{
			Group: group, Topic: p.Topic, Partition: p.Partition, Born: mirror.Born[p.Topic],
			Progress: cluster.ProgressAt(p.Offset, p.Epoch),
		}
	}
	return marks
}
