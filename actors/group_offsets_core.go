package actors

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"metaq/protocol"
)

// The part of groupCore that is about offsets, and what it tells about itself.

// commit makes offsets the committed ones: all or none.
func (c *groupCore) commit(now time.Time, r protocol.GroupCommit, to any) groupEffects {
	if err := c.refuseCommit(now, &r); err != nil {
		c.answer(to, err)
		return c.settle(now)
	}
	reply := protocol.GroupOffsets{Group: c.name, Generation: c.generation, Offsets: []protocol.GroupPosition{}}
	c.label(r.Offsets)
	for _, o := range r.Offsets {
		p := c.part(o.At())
		if !p.known || o.Offset > p.committed || c.bug == goBack {
			p.committed, p.epoch, p.known = o.Offset, o.Epoch, true
			c.commits[o.At()] = true
			if o.Offset > p.log.EndOffset {
				p.heard++
			}
		}
		o.Offset, o.Epoch = p.committed, p.epoch
		reply.Offsets = append(reply.Offsets, o)
	}
	sortPositions(reply.Offsets)
	c.answer(to, reply)
	return c.settle(now)
}

func (c *groupCore) refuseCommit(now time.Time, r *protocol.GroupCommit) error {
	m := c.members[r.Member]
	if m == nil && c.bug != forgetOwner {
		return c.unknownMember(r.Member, r.Instance)
	}
	if m != nil {
		m.alive(now)
	}
	if r.Generation != c.generation && c.bug != forgetGeneration {
		return protocol.ErrFenced.With("generation %d is not the group's, which is %d: send a heartbeat, then commit what is still assigned", r.Generation, c.generation)
	}
	for i := range r.Offsets {
		o := &r.Offsets[i]
		if o.Offset < 0 {
			return protocol.ErrBadRequest.With("offset %d of %s is negative", o.Offset, o.At())
		}
		if p := c.parts[o.At()]; c.bug != forgetOwner && (p == nil || p.owner != r.Member) {
			return protocol.ErrFenced.With("%s is not member %s's: send a heartbeat, then commit what is still assigned", o.At(), r.Member)
		}
		if p := c.parts[o.At()]; p != nil && p.stopped {
			return c.refuseStopped(o.At(), p)
		}
	}
	return nil
}

// committed are all committed offsets.
func (c *groupCore) committed() protocol.GroupOffsets {
	all := map[protocol.TopicPartition]place{}
	for at, p := range c.parts {
		if p.known && !c.past(at, p) {
			all[at] = place{p.committed, p.epoch}
		}
	}
	return protocol.GroupOffsets{Group: c.name, Generation: c.generation, Offsets: positions(all)}
}

// mayReset refuses what may not be done to a group with members.
func (c *groupCore) mayReset(force bool) error {
	if len(c.members) == 0 || force {
		return nil
	}
	return protocol.ErrConflict.With("group %s has %d members: stop them first, or use force, which puts them out", c.name, len(c.members))
}

// reset sets offsets, also back. With force it puts the members out first.
func (c *groupCore) reset(now time.Time, offsets []protocol.GroupPosition, force bool, to any) groupEffects {
	if err := c.mayReset(force); err != nil {
		c.answer(to, err)
		return c.settle(now)
	}
	c.fence(now)
	reply := protocol.GroupOffsets{Group: c.name, Generation: c.generation, Offsets: slices.Clone(offsets)}
	for _, o := range offsets {
		c.begin(now, []string{o.Topic})
		delete(c.untold, o.Topic)
		p := c.part(o.At())
		p.committed, p.epoch, p.known = o.Offset, o.Epoch, true
		p.stopped, p.diverged = false, nil
		c.doubt(o.At())
		c.commits[o.At()] = true
	}
	sortPositions(reply.Offsets)
	c.answer(to, reply)
	return c.settle(now)
}

// fence puts all members out.
func (c *groupCore) fence(now time.Time) {
	for _, id := range slices.Sorted(maps.Keys(c.members)) {
		c.remove(c.members[id], protocol.ErrNoMember.With("the offsets of group %s were reset, which puts its members out: join again under a new name", c.name))
	}
	c.rebalance(now)
}

// removeAll ends the group. The shell must not use the core any more.
func (c *groupCore) removeAll(now time.Time, force bool, to any) (groupEffects, bool) {
	if err := c.mayReset(force); err != nil {
		c.answer(to, err)
		return c.settle(now), false
	}
	c.fence(now)
	c.answer(to, protocol.Done{OK: true})
	out := c.settle(now)
	out.entry = &groupEntry{Group: c.name, Deleted: true}
	return out, true
}

// dismissAll answers all who wait, when the group stops.
func (c *groupCore) dismissAll(refusal *protocol.Error) []groupAnswer {
	for _, m := range c.members {
		c.dismiss(m, refusal)
	}
	out := c.out.answers
	c.out.answers = nil
	return out
}

// info describes the group, without the ends of the partitions.
func (c *groupCore) info(now time.Time) protocol.GroupInfo {
	info := protocol.GroupInfo{
		Group: c.name, State: protocol.GroupStable, Generation: c.generation,
		Strategy: cmp.Or(c.strategy, protocol.StrategySticky),
		Members:  []protocol.GroupMember{}, Partitions: []protocol.GroupPartition{},
	}
	owned := map[string]int{}
	for _, at := range c.sorted() {
		p := c.parts[at]
		if c.past(at, p) {
			continue
		}
		row := protocol.GroupPartition{Topic: at.Topic, Partition: at.Partition, Owner: p.owner, Diverged: p.diverged}
		if p.known {
			offset := p.committed
			row.Committed = &offset
		}
		if p.owner != p.target {
			row.Target = p.target
			info.State = protocol.GroupMoving
		}
		owned[p.owner]++
		info.Partitions = append(info.Partitions, row)
	}
	if len(c.members) == 0 {
		info.State = protocol.GroupEmpty
	}
	for _, id := range slices.Sorted(maps.Keys(c.members)) {
		m := c.members[id]
		info.Members = append(info.Members, protocol.GroupMember{
			Member: id, Instance: m.join.Instance, Client: m.join.Client, Topics: m.join.Topics,
			SessionMs: m.join.SessionMs, SilentMs: now.Sub(m.heard).Milliseconds(), Partitions: owned[id],
		})
	}
	return info
}
