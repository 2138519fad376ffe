package broker

import (
	"context"
	"errors"
	"maps"
	"slices"

	"metaq/actors/group"
	"metaq/actors/group/core"
	"metaq/cluster"
	"metaq/cluster/registry"
	"metaq/protocol"
)

// coordination is the actors' Coordination over a member of package cluster.
type coordination struct{ reg *topicRegistry }

// ClaimGroup implements group.Coordination.
func (c coordination) ClaimGroup(ctx context.Context, name string) (protocol.Epoch, error) {
	m, err := c.reg.reached()
	if err != nil {
		return 0, err
	}
	epoch, err := m.ClaimGroup(ctx, name)
	var other *cluster.CoordinatedError
	if errors.As(err, &other) {
		return 0, &group.CoordinatedElsewhere{Broker: other.Leader}
	}
	return epoch, onWire(err)
}

// GroupRecorded implements group.Coordination.
func (c coordination) GroupRecorded(ctx context.Context, name string) (bool, error) {
	m, err := c.reg.reached()
	if err != nil {
		return false, err
	}
	err = m.With(ctx, func(r *cluster.Registration) error {
		_, err := r.Group(ctx, name)
		return err
	})
	if errors.Is(err, registry.ErrNotFound) {
		return false, nil
	}
	return err == nil, onWire(err)
}

// Holds implements group.Coordination.
func (c coordination) Holds(term uint64) bool {
	m, err := c.reg.Now()
	return err == nil && m.Holds(term)
}

// Term implements group.Coordination.
func (c coordination) Term() uint64 {
	m, err := c.reg.Now()
	if err != nil {
		return 0
	}
	return m.Term()
}

// Sighted implements group.Coordination.
func (c coordination) Sighted() (int, bool) {
	m, err := c.reg.Now()
	if err != nil {
		return 0, false
	}
	return m.Sighted()
}

// answerLease answers another broker's question.
func (c coordination) answerLease(ask protocol.LeaseAsk) protocol.LeaseAnswer {
	m, err := c.reg.Now()
	if err != nil {
		return protocol.LeaseAnswer{}
	}
	return m.AnswerLease(ask)
}

// HeldGroups implements group.Coordination.
func (c coordination) HeldGroups(ctx context.Context, epochs map[string]protocol.Epoch) ([]string, error) {
	m, err := c.reg.Now()
	if err != nil {
		return nil, err
	}
	held, err := m.HoldGroups(ctx, epochs)
	return held, onWire(err)
}

// GroupOffsets implements group.Coordination.
func (c coordination) GroupOffsets(ctx context.Context, name string) (group.Mirror, error) {
	m, err := c.reg.Now()
	if err != nil {
		return group.Mirror{}, err
	}
	var marks []cluster.OffsetMark
	var record cluster.Group
	var begins []cluster.Begin
	err = m.With(ctx, func(r *cluster.Registration) (err error) {
		if record, err = r.Group(ctx, name); err == nil {
			marks, err = r.Offsets(ctx, name)
		}
		if err == nil {
			begins, err = r.Begins(ctx, name)
		}
		return err
	})
	out := group.Mirror{Offsets: make([]protocol.GroupPosition, len(marks)), Born: map[string]protocol.Epoch{}, Deleted: record.Deleted}
	for _, b := range begins {
		out.Begins = append(out.Begins, core.Begin{Topic: b.Topic, At: b.At, Born: b.Born, Homes: b.Homes})
	}
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

// MirrorOffsets implements group.Coordination. Groups that another broker has taken
// over are left to it, and do not hold up the others.
func (c coordination) MirrorOffsets(ctx context.Context, changed map[string]group.Mirror) error {
	m, err := c.reg.Now()
	if err != nil {
		return err
	}
	if err := mirrorBegins(ctx, m, changed); err != nil {
		return err
	}
	// In parts: one call takes a limited number of groups, and others that write to the
	// registry have their turn in between.
	var errs []error
	for part := range slices.Chunk(slices.Sorted(maps.Keys(changed)), mirroredAtOnce) {
		errs = append(errs, mirrorGroups(ctx, m, part, changed))
	}
	return errors.Join(errs...)
}

// mirroredAtOnce is how many groups one write to the registry is for.
const mirroredAtOnce = 200

func mirrorGroups(ctx context.Context, m *cluster.Member, groups []string, changed map[string]group.Mirror) error {
	var all []cluster.OffsetMark
	for _, name := range groups {
		all = append(all, marksOf(name, changed[name])...)
	}
	err := m.MirrorOffsets(ctx, all)
	if !lostGroup(err) {
		return onWire(err)
	}
	var errs []error
	for _, name := range groups {
		if err := m.MirrorOffsets(ctx, marksOf(name, changed[name])); !lostGroup(err) {
			errs = append(errs, onWire(err))
		}
	}
	return errors.Join(errs...)
}

// mirrorBegins writes when groups have begun.
func mirrorBegins(ctx context.Context, m *cluster.Member, changed map[string]group.Mirror) error {
	var errs []error
	for name, mirror := range changed {
		var begins []cluster.Begin
		for _, b := range mirror.Begins {
			begins = append(begins, cluster.Begin{Topic: b.Topic, At: b.At, Born: b.Born, Homes: b.Homes, Gone: b.Gone})
		}
		if len(begins) == 0 {
			continue
		}
		err := m.With(ctx, func(r *cluster.Registration) error { return r.MirrorBegins(ctx, name, begins) })
		if !lostGroup(err) {
			errs = append(errs, onWire(err))
		}
	}
	return errors.Join(errs...)
}

// DeleteGroup implements group.Coordination.
func (c coordination) DeleteGroup(ctx context.Context, name string) (protocol.Epoch, error) {
	m, err := c.reg.reached()
	if err != nil {
		return 0, err
	}
	epoch, err := m.DeleteGroup(ctx, name)
	return epoch, onWire(err)
}

// Away implements group.Coordination.
func (c coordination) Away() error {
	_, err := c.reg.reached()
	return err
}

func lostGroup(err error) bool {
	return errors.Is(err, cluster.ErrFenced) || errors.Is(err, cluster.ErrNotCoordinator)
}

// marksOf are a group's offsets as MetaQ keeps them.
func marksOf(name string, mirror group.Mirror) []cluster.OffsetMark {
	marks := make([]cluster.OffsetMark, len(mirror.Offsets))
	for i, p := range mirror.Offsets {
		marks[i] = cluster.OffsetMark{
			Group: name, Topic: p.Topic, Partition: p.Partition, Born: mirror.Born[p.Topic],
			Progress: cluster.ProgressAt(p.Offset, p.Epoch),
		}
	}
	return marks
}
