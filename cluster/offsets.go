package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"metaq/cluster/registry"
	"metaq/protocol"
)

// OffsetMark is a group's progress in one partition.
type OffsetMark struct {
	Group     string
	Topic     string
	Partition protocol.PartitionID
	Progress  Progress
	Born      protocol.Epoch // of the topic that this is the progress in; see Topic.Born
}

// marked is what was mirrored last: to write only what changed, without reading.
type marked struct {
	version  registry.Version
	progress Progress
}

// groupMirror is what a registration knows of the registry's copy of a group's offsets. It
// holds as long as nobody else coordinates the group.
type groupMirror struct {
	marks map[string]marked         // by path
	born  map[string]protocol.Epoch // of the topics of the offsets, by path; 0 may be not known
}

// mirrorOf returns what is known of a group's offsets; the caller has the turn.
func (r *Registration) mirrorOf(group string) *groupMirror {
	m := r.mirrors[group]
	if m == nil {
		m = &groupMirror{map[string]marked{}, map[string]protocol.Epoch{}}
		r.mirrors[group] = m
	}
	return m
}

// MirrorOffsets writes offsets where MetaQ keeps them, in one Multi as long as they fit:
// only what changed since the last call, and only for groups that this registration has
// claimed (ErrNotCoordinator otherwise). ErrFenced when a newer coordinator has a group;
// its offsets are then not touched. Offsets are a mirror: the truth is in the
// coordinator's log, so a failed call needs no repair but the next one. All marks of one
// topic have the same Born; where it grows, offsets that are not in marks become 0.
func (r *Registration) MirrorOffsets(ctx context.Context, marks []OffsetMark) error {
	if err := r.take(ctx); err != nil {
		return fmt.Errorf("mirror offsets: %w", err)
	}
	defer r.give()
	changed, guard, err := r.changedMarks(marks)
	if err != nil || len(changed) == 0 {
		return err
	}
	for len(changed) > 0 {
		chunk := changed[:min(len(changed), registry.MaxMultiOps-len(guard))]
		changed = changed[len(chunk):]
		if err := r.mirror(ctx, guard, chunk); err != nil {
			return fmt.Errorf("mirror offsets: %w", err)
		}
	}
	if err := r.mirrorBorn(ctx, guard, marks); err != nil {
		return fmt.Errorf("mirror offsets: %w", err)
	}
	return nil
}

// mirrorBorn says beside the offsets of which topic they are. It comes after them: whoever
// finds new offsets said to be an earlier topic's begins at 0, and who found an earlier
// topic's said to be the new one's would skip messages.
func (r *Registration) mirrorBorn(ctx context.Context, guard []registry.Op, marks []OffsetMark) error {
	due := map[string]protocol.Epoch{}
	whose := map[string]*groupMirror{} // by path
	fresh := map[string]bool{}
	for _, m := range marks {
		fresh[r.markPath(m)] = true
		if path := r.paths.offsetsOf(m.Group, m.Topic); m.Born > r.mirrorOf(m.Group).born[path] {
			due[path], whose[path] = m.Born, r.mirrorOf(m.Group)
		}
	}
	if len(due) == 0 {
		return nil
	}
	where := slices.Sorted(maps.Keys(due))
	err := converge(ctx, r.reg, guard, func(ctx context.Context) ([]registry.Op, error) {
		nodes, err := readAll(ctx, r.reg, where)
		var ops []registry.Op
		if err != nil {
			return nil, err
		}
		for i, n := range nodes {
			if due[where[i]] <= bornOf(n) {
				continue
			}
			stale, err := childrenOf(ctx, r.reg, where[i])
			if err != nil {
				return nil, err
			}
			stale = mapped(stale, func(name string) string { return where[i] + "/" + name })
			stale = slices.DeleteFunc(stale, func(path string) bool { return fresh[path] })
			old, err := readAll(ctx, r.reg, stale)
			if err != nil {
				return nil, err
			}
			for k, path := range stale {
				delete(whose[where[i]].marks, path)
				ops = append(ops, putOp(path, old[k], []byte(Progress{MessageID: -1}.String())))
			}
			ops = append(ops, putOp(where[i], n, encode(due[where[i]])))
		}
		return ops, nil
	})
	if err == nil {
		for path, born := range due {
			whose[path].born[path] = born
		}
	}
	return err
}

// bornOf reads what mirrorBorn wrote. MetaQ's clients make the node, too, with data that
// means nothing.
func bornOf(n found) protocol.Epoch {
	born, err := strconv.ParseUint(string(n.Data), 10, 32)
	if err != nil {
		return 0
	}
	return protocol.Epoch(born)
}

// changedMarks picks what differs from the last mirror, and the checks that give the right.
func (r *Registration) changedMarks(marks []OffsetMark) ([]OffsetMark, []registry.Op, error) {
	guard := []registry.Op{r.fence}
	var changed []OffsetMark
	for _, m := range marks {
		known := r.mirrorOf(m.Group)
		was, found := known.marks[r.markPath(m)]
		if found && was.progress == m.Progress && m.Born <= known.born[r.paths.offsetsOf(m.Group, m.Topic)] {
			continue
		}
		version, claimed := r.groups[m.Group]
		if !claimed {
			return nil, nil, fmt.Errorf("mirror offsets: %w: %s", ErrNotCoordinator, m.Group)
		}
		if err := protocol.CheckName("topic", m.Topic); err != nil {
			return nil, nil, fmt.Errorf("mirror offsets: %w: %w", registry.ErrInvalid, err)
		}
		if check := registry.Check(r.paths.group(m.Group), version); !slices.ContainsFunc(guard, func(op registry.Op) bool { return op.Path == check.Path }) {
			guard = append(guard, check)
		}
		changed = append(changed, m)
	}
	if len(guard) > registry.MaxMultiOps/2 {
		return nil, nil, fmt.Errorf("mirror offsets: %w: %d groups in one call; at most %d", registry.ErrTooLarge, len(guard)-1, registry.MaxMultiOps/2-1)
	}
	return changed, guard, nil
}

func (r *Registration) markPath(m OffsetMark) string {
	return r.paths.offset(m.Group, m.Topic, m.Partition)
}

// mirror writes one chunk. The versions are those of the last call where they are
// known, so that the usual case reads nothing.
func (r *Registration) mirror(ctx context.Context, guard []registry.Op, marks []OffsetMark) error {
	known := true
	var parents []string
	for _, m := range marks {
		if _, found := r.mirrorOf(m.Group).marks[r.markPath(m)]; !found {
			known = false
			parents = append(parents, registry.ParentOf(r.markPath(m)))
		}
	}
	if err := ensure(ctx, r.reg, slices.Compact(slices.Sorted(slices.Values(parents)))); err != nil {
		return err
	}
	plan := mapped(marks, func(m OffsetMark) found {
		was, ok := r.mirrorOf(m.Group).marks[r.markPath(m)]
		return found{Node: registry.Node{Version: was.version}, ok: ok}
	})
	same := make([]bool, len(marks)) // as what is there
	err := converge(ctx, r.reg, guard, func(ctx context.Context) (ops []registry.Op, err error) {
		if !known {
			if plan, err = readAll(ctx, r.reg, mapped(marks, r.markPath)); err != nil {
				return nil, err
			}
		}
		known = false // a second round reads
		for i, m := range marks {
			// After a start everything is mirrored once more, and nearly all of it is there.
			if same[i] = plan[i].ok && string(plan[i].Data) == m.Progress.String(); !same[i] {
				ops = append(ops, putOp(r.markPath(m), plan[i], []byte(m.Progress.String())))
			}
		}
		if len(ops) == 0 {
			// The fence and the groups' records are checked all the same: what was read says
			// nothing of who may write.
			ops = guard[:1]
		}
		return ops, nil
	})
	if err != nil {
		// What arrived and what did not is unknown, so the versions are as well.
		for _, m := range marks {
			delete(r.mirrorOf(m.Group).marks, r.markPath(m))
		}
		return err
	}
	for i, m := range marks {
		version := registry.Version(0)
		switch {
		case same[i]:
			version = plan[i].Version
		case plan[i].ok:
			version = plan[i].Version + 1
		}
		r.mirrorOf(m.Group).marks[r.markPath(m)] = marked{version: version, progress: m.Progress}
	}
	return nil
}

// Offsets reads the mirrored offsets of a group, whoever wrote them, in the order of
// topic and partition. A group that never had one has none.
func (c *Catalog) Offsets(ctx context.Context, group string) ([]OffsetMark, error) {
	topics, err := childrenOf(ctx, c.reg, c.paths.offsets(group))
	if err != nil {
		return nil, fmt.Errorf("offsets of %s: %w", group, err)
	}
	above, err := readAll(ctx, c.reg, mapped(topics, func(topic string) string { return c.paths.offsetsOf(group, topic) }))
	if err != nil {
		return nil, fmt.Errorf("offsets of %s: %w", group, err)
	}
	var marks []OffsetMark
	for i, topic := range topics {
		names, err := childrenOf(ctx, c.reg, c.paths.offsetsOf(group, topic))
		if err != nil {
			return nil, fmt.Errorf("offsets of %s: %w", group, err)
		}
		for _, name := range names {
			id, err := protocol.ParsePartitionID(name)
			if err != nil {
				return nil, fmt.Errorf("offsets of %s: %w: %w", group, ErrRecord, err)
			}
			marks = append(marks, OffsetMark{Group: group, Topic: topic, Partition: id, Born: bornOf(above[i])})
		}
	}
	slices.SortStableFunc(marks, func(a, b OffsetMark) int {
		if a.Topic != b.Topic {
			return 0 // topics are in order already
		}
		return a.Partition.Compare(b.Partition)
	})
	nodes, err := readAll(ctx, c.reg, mapped(marks, func(m OffsetMark) string { return c.paths.offset(group, m.Topic, m.Partition) }))
	if err != nil {
		return nil, fmt.Errorf("offsets of %s: %w", group, err)
	}
	var read []OffsetMark
	for i, n := range nodes {
		if !n.ok {
			continue
		}
		m := marks[i]
		p, err := ParseProgress(string(n.Data))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.paths.offset(group, m.Topic, m.Partition), err)
		}
		m.Progress = p
		read = append(read, m)
	}
	return read, nil
}

// dropOffsets deletes the mirrored offsets, and begins, of a group that this registration has claimed.
// ErrNotCoordinator, ErrFenced.
func (r *Registration) dropOffsets(ctx context.Context, group string) error {
	if err := r.take(ctx); err != nil {
		return fmt.Errorf("drop offsets: %w", err)
	}
	defer r.give()
	version, claimed := r.groups[group]
	if !claimed {
		return fmt.Errorf("drop offsets: %w", ErrNotCoordinator)
	}
	top := r.paths.offsets(group)
	err := converge(ctx, r.reg, []registry.Op{r.fence, registry.Check(r.paths.group(group), version)}, func(ctx context.Context) ([]registry.Op, error) {
		topics, err := childrenOf(ctx, r.reg, top)
		if err != nil {
			return nil, err
		}
		var paths []string
		for _, topic := range topics {
			names, err := childrenOf(ctx, r.reg, top+"/"+topic)
			if err != nil {
				return nil, err
			}
			for _, name := range names {
				paths = append(paths, top+"/"+topic+"/"+name)
			}
			paths = append(paths, top+"/"+topic)
		}
		begun, err := childrenOf(ctx, r.reg, r.paths.group(group))
		if err != nil {
			return nil, err
		}
		paths = append(paths, mapped(begun, func(topic string) string { return r.paths.begin(group, topic) })...)
		nodes, err := readAll(ctx, r.reg, paths)
		var ops []registry.Op
		for i, n := range nodes {
			if n.ok {
				ops = append(ops, registry.Delete(paths[i], n.Version))
			}
		}
		return ops, err
	})
	delete(r.mirrors, group)
	if err != nil {
		return fmt.Errorf("drop offsets: %w", err)
	}
	return nil
}
