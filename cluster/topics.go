package cluster

import (
	"context"
	"errors"
	"fmt"

	"metaq/cluster/registry"
	"metaq/protocol"
)

// CreateTopic adds a topic. ErrExists when it is there, with whatever settings; ErrSubjects.
func (r *Registration) CreateTopic(ctx context.Context, t Topic) error {
	_, err := r.MakeTopic(ctx, t)
	return err
}

// MakeTopic is CreateTopic and returns the topic with the Born that it was given.
func (r *Registration) MakeTopic(ctx context.Context, t Topic) (made Topic, err error) {
	if err := t.Check(); err != nil {
		return t, err
	}
	err = r.inTurn(ctx, "create topic "+t.Name, func(ctx context.Context) ([]registry.Op, func(), error) {
		got, err := readAll(ctx, r.reg, []string{r.paths.topic(t.Name), r.paths.partitions(t.Name)})
		if err != nil {
			return nil, nil, err
		}
		if got[0].ok {
			return nil, nil, registry.ErrExists
		}
		ops, err := r.planSubjects(ctx, t)
		if err != nil {
			return nil, nil, err
		}
		floor, err := epochFloor(r.paths.partitions(t.Name), got[1])
		if err != nil {
			return nil, nil, err
		}
		next := t
		next.Born = max(t.Born, floor)
		ops = append(ops, registry.Create(r.paths.topic(t.Name), encode(next), registry.Persistent))
		if got[1].ok {
			// Who makes and deletes the topic between this look and the write raises the floor.
			ops = append(ops, registry.Check(r.paths.partitions(t.Name), got[1].Version))
		} else {
			ops = append(ops, registry.Create(r.paths.partitions(t.Name), nil, registry.Persistent))
		}
		return ops, func() { made = next }, nil
	})
	return made, err
}

// planSubjects refuses a topic that listens to a subject which another one listens to,
// too: a message can go to one topic only. Whoever changes what topics listen to sets the
// node above them, so that of two who do so at once one reads again, and sees the other.
func (r *Registration) planSubjects(ctx context.Context, t Topic) ([]registry.Op, error) {
	if t.Config.Subjects == nil || len(*t.Config.Subjects) == 0 {
		return nil, nil
	}
	above, err := r.reg.Get(ctx, r.paths.topics())
	if err != nil {
		return nil, err
	}
	others, err := r.Topics(ctx)
	if err != nil {
		return nil, err
	}
	for _, other := range others {
		if other.Name == t.Name || other.Config.Subjects == nil {
			continue
		}
		for _, theirs := range *other.Config.Subjects {
			for _, ours := range *t.Config.Subjects {
				if protocol.FiltersOverlap(ours, theirs) {
					return nil, fmt.Errorf("%w: topic %s would listen to %s, but topic %s listens to %s, which takes in the same subject: a message can go to one topic only",
						ErrSubjects, t.Name, ours, other.Name, theirs)
				}
			}
		}
	}
	return []registry.Op{registry.Set(r.paths.topics(), nil, above.Version)}, nil
}

// SetTopic replaces the record of the topic that has t's name and Born. ErrNotFound; ErrReplaced;
// ErrFewerPartitions; ErrSubjects. With t.Version above 0 the record must still have that version, otherwise ErrVersion:
// a topic that was read, changed and written loses nobody's change. A version of 0
// takes the record as it is now.
func (r *Registration) SetTopic(ctx context.Context, t Topic) error {
	if err := t.Check(); err != nil {
		return err
	}
	return r.inTurn(ctx, "set topic "+t.Name, func(ctx context.Context) ([]registry.Op, func(), error) {
		same, err := r.sameTopic(ctx, t.Name) // before the look at the topic itself
		if err != nil {
			return nil, nil, err
		}
		was, err := r.Topic(ctx, t.Name)
		if err != nil {
			return nil, nil, err
		}
		if t.Born != was.Born {
			return nil, nil, replaced(t.Name, t.Born, was.Born)
		}
		if t.Version > 0 && t.Version != was.Version {
			return nil, nil, fmt.Errorf("%w: %d, not %d", registry.ErrVersion, was.Version, t.Version)
		}
		if t.Partitions < was.Partitions {
			return nil, nil, fmt.Errorf("%w: %d now, %d asked for", ErrFewerPartitions, was.Partitions, t.Partitions)
		}
		ops, err := r.planSubjects(ctx, t)
		if err != nil {
			return nil, nil, err
		}
		ops = append(ops, same...)
		return append(ops, registry.Set(r.paths.topic(t.Name), encode(t), was.Version)), func() {}, nil
	})
}

func replaced(name string, meant, found protocol.Epoch) error {
	return fmt.Errorf("%w: topic %s has born %d now, not %d", ErrReplaced, name, found, meant)
}

// sameTopic fails a write when a topic is deleted after this look at it. The version of the
// topic's own record does not tell: that of a topic made again begins at 0 as well.
func (r *Registration) sameTopic(ctx context.Context, name string) ([]registry.Op, error) {
	parts := r.paths.partitions(name)
	n, err := readOne(ctx, r.reg, parts)
	if err != nil || !n.ok {
		return nil, err
	}
	return []registry.Op{registry.Check(parts, n.Version)}, nil
}

// DeleteTopic removes a topic and the record of its partitions' leaders. ErrNotFound.
// The highest of their epochs stays: in a topic of the same name that is made later all
// epochs are above it.
func (r *Registration) DeleteTopic(ctx context.Context, name string) error {
	return r.deleteTopic(ctx, name, func(Topic) error { return nil })
}

// DeleteTopicBorn is DeleteTopic for the topic of the name that has this Born: ErrReplaced
// when it is another one by now.
func (r *Registration) DeleteTopicBorn(ctx context.Context, name string, born protocol.Epoch) error {
	return r.deleteTopic(ctx, name, func(is Topic) error {
		if is.Born != born {
			return replaced(name, born, is.Born)
		}
		return nil
	})
}

func (r *Registration) deleteTopic(ctx context.Context, name string, meant func(Topic) error) error {
	return r.inTurn(ctx, "delete topic "+name, func(ctx context.Context) ([]registry.Op, func(), error) {
		same, err := r.sameTopic(ctx, name) // before the look at the topic itself
		if err != nil {
			return nil, nil, err
		}
		t, err := r.Topic(ctx, name)
		if err != nil && !errors.Is(err, ErrRecord) { // a damaged record can be deleted
			return nil, nil, err
		}
		if err == nil {
			if err := meant(t); err != nil {
				return nil, nil, err
			}
		}
		parts := r.paths.partitions(name)
		homes, err := childrenOf(ctx, r.reg, parts)
		if err != nil {
			return nil, nil, err
		}
		homePaths := mapped(homes, func(home string) string { return parts + "/" + home })
		got, err := readAll(ctx, r.reg, append(homePaths, parts))
		if err != nil {
			return nil, nil, err
		}
		// The topic goes first: claims of its partitions check it.
		ops := append(same, registry.Delete(r.paths.topic(name), t.Version))
		var highest protocol.Epoch
		for i, path := range homePaths {
			if !got[i].ok {
				continue
			}
			ops = append(ops, registry.Delete(path, got[i].Version))
			leads, err := decode[[]leadership](path, got[i].Node)
			if err != nil {
				return nil, nil, err
			}
			for _, l := range leads {
				highest = max(highest, l.Epoch)
			}
		}
		parent := got[len(homePaths)]
		before, err := epochFloor(parts, parent)
		if err != nil {
			return nil, nil, err
		}
		// Above the topic's own Born also when nobody has ever claimed a partition of it: the
		// next topic of the name is another one.
		return append(ops, putOp(parts, parent, encode(max(highest, before, t.Born+1)))), func() {}, nil
	})
}

// EpochFloor returns the highest epoch that DeleteTopic left behind of a topic of this
// name; 0 when none was ever deleted.
func (c *Catalog) EpochFloor(ctx context.Context, name string) (protocol.Epoch, error) {
	path := c.paths.partitions(name)
	got, err := readAll(ctx, c.reg, []string{path})
	if err != nil {
		return 0, fmt.Errorf("what is left of topic %s: %w", name, err)
	}
	return epochFloor(path, got[0])
}

// epochFloor reads what DeleteTopic left in the node above a topic's homes.
func epochFloor(path string, n found) (protocol.Epoch, error) {
	if !n.ok || len(n.Data) == 0 {
		return 0, nil
	}
	return decode[protocol.Epoch](path, n.Node)
}

// inTurn is write, with the turn taken, and with words for the error.
func (r *Registration) inTurn(ctx context.Context, what string, plan func(ctx context.Context) ([]registry.Op, func(), error)) error {
	if err := r.take(ctx); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer r.give()
	if err := r.write(ctx, plan); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
