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
	m, err := c.reg.now()
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
func (c coordination) GroupOffsets(ctx context.Context, group string) ([]protocol.GroupPosition, error) {
	m, err := c.reg.now()
	if err != nil {
		return nil, err
	}
	var marks []cluster.OffsetMark
	err = m.With(ctx, func(r *cluster.Registration) (err error) { marks, err = r.Offsets(ctx, group); return err })
	out := make([]protocol.GroupPosition, len(marks))
	for i, mark := range marks {
		out[i] = protocol.GroupPosition{Topic: mark.Topic, Partition: mark.Partition, Offset: protocol.Offset(mark.Progress.Offset)}
	}
	return out, onWire(err)
}

// MirrorOffsets implements actors.Coordination. Groups that another broker has taken
// over are left to it, and do not hold up the others.
func (c coordination) MirrorOffsets(ctx context.Context, changed map[string][]protocol.GroupPosition) error {
	m, err := c.reg.now()
	if err != nil {
		return err
	}
	var all []cluster.OffsetMark
	for group, positions := range changed {
		all = append(all, marksOf(group, positions)...)
	}
	if err = m.MirrorOffsets(ctx, all); !lostGroup(err) {
		return onWire(err)
	}
	var errs []error
	for group, positions := range changed {
		if err := m.MirrorOffsets(ctx, marksOf(group, positions)); !lostGroup(err) {
			errs = append(errs, onWire(err))
		}
	}
	return errors.Join(errs...)
}

func lostGroup(err error) bool {
	return errors.Is(err, cluster.ErrFenced) || errors.Is(err, cluster.ErrNotCoordinator)
}

// marksOf are a group's offsets as MetaQ keeps them; the id of the last message is
// not known here.
func marksOf(group string, positions []protocol.GroupPosition) []cluster.OffsetMark {
	marks := make([]cluster.OffsetMark, len(positions))
	for i, p := range positions {
		marks[i] = cluster.OffsetMark{
			Group: group, Topic: p.Topic, Partition: p.Partition,
			Progress: cluster.Progress{MessageID: -1, Offset: int64(p.Offset)},
		}
	}
	return marks
}
