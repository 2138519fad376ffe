package core

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"metaq/protocol"
)

// The part of Group that is about offsets, and what it tells about itself.

// Commit makes offsets the committed ones: all or none.
func (c *Group) Commit(now time.Time, r protocol.GroupCommit, to any) Effects {
	if err := c.RefuseCommit(now, &r); err != nil {
		c.answer(to, err)
		return c.Settle(now)
	}
	reply := protocol.GroupOffsets{Group: c.name, Generation: c.generation, Offsets: []protocol.GroupPosition{}}
	c.label(r.Offsets)
	for _, o := range r.Offsets {
		p := c.part(o.At())
		if !p.Known || o.Offset > p.Committed || c.Bug == GoBack {
			p.Committed, p.epoch, p.Known = o.Offset, o.Epoch, true
			c.commits[o.At()] = true
			if o.Offset > p.Log.EndOffset {
				p.heard++
			}
		}
		o.Offset, o.Epoch = p.Committed, p.epoch
		reply.Offsets = append(reply.Offsets, o)
	}
	sortPositions(reply.Offsets)
	c.answer(to, reply)
	return c.Settle(now)
}

// RefuseCommit returns why a commit is refused, or nil.
func (c *Group) RefuseCommit(now time.Time, r *protocol.GroupCommit) error {
	m := c.Members[r.Member]
	if m == nil && c.Bug != ForgetOwner {
		return c.unknownMember(r.Member, r.Instance)
	}
	if m != nil {
		m.alive(now)
	}
	if r.Generation != c.generation && c.Bug != forgetGeneration {
		return protocol.ErrFenced.With("generation %d is not the group's, which is %d: send a heartbeat, then commit what is still assigned", r.Generation, c.generation)
	}
	for i := range r.Offsets {
		o := &r.Offsets[i]
		if o.Offset < 0 {
			return protocol.ErrBadRequest.With("offset %d of %s is negative", o.Offset, o.At())
		}
		if p := c.Parts[o.At()]; c.Bug != ForgetOwner && (p == nil || p.owner != r.Member) {
			return protocol.ErrFenced.With("%s is not member %s's: send a heartbeat, then commit what is still assigned", o.At(), r.Member)
		}
		if p := c.Parts[o.At()]; p != nil && p.stopped {
			return c.refuseStopped(o.At(), p)
		}
	}
	return nil
}

// Committed are all committed offsets.
func (c *Group) Committed() protocol.GroupOffsets {
	all := map[protocol.TopicPartition]Place{}
	for at, p := range c.Parts {
		if p.Known && !c.past(at, p) {
			all[at] = Place{p.Committed, p.epoch}
		}
	}
	return protocol.GroupOffsets{Group: c.name, Generation: c.generation, Offsets: Positions(all)}
}

// MayReset refuses what may not be done to a group with members.
func (c *Group) MayReset(force bool) error {
	if len(c.Members) == 0 || force {
		return nil
	}
	return protocol.ErrConflict.With("group %s has %d members: stop them first, or use force, which puts them out", c.name, len(c.Members))
}

// Reset sets offsets, also back. With force it puts the members out first.
func (c *Group) Reset(now time.Time, offsets []protocol.GroupPosition, force bool, to any) Effects {
	if err := c.MayReset(force); err != nil {
		c.answer(to, err)
		return c.Settle(now)
	}
	c.fence(now)
	reply := protocol.GroupOffsets{Group: c.name, Generation: c.generation, Offsets: slices.Clone(offsets)}
	for _, o := range offsets {
		c.begin(now, []string{o.Topic})
		delete(c.untold, o.Topic)
		p := c.part(o.At())
		p.Committed, p.epoch, p.Known = o.Offset, o.Epoch, true
		p.stopped, p.diverged = false, nil
		c.Doubt(o.At())
		c.commits[o.At()] = true
	}
	sortPositions(reply.Offsets)
	c.answer(to, reply)
	return c.Settle(now)
}

// fence puts all members out.
func (c *Group) fence(now time.Time) {
	for _, id := range slices.Sorted(maps.Keys(c.Members)) {
		c.remove(c.Members[id], protocol.ErrNoMember.With("the offsets of group %s were reset, which puts its members out: join again under a new name", c.name))
	}
	c.rebalance(now)
}

// RemoveAll ends the group. The shell must not use the core any more.
func (c *Group) RemoveAll(now time.Time, force bool, to any) (Effects, bool) {
	if err := c.MayReset(force); err != nil {
		c.answer(to, err)
		return c.Settle(now), false
	}
	c.fence(now)
	c.answer(to, protocol.Done{OK: true})
	out := c.Settle(now)
	out.Entry = &Entry{Group: c.name, Deleted: true}
	return out, true
}

// DismissAll answers all who wait, when the group stops.
func (c *Group) DismissAll(refusal *protocol.Error) []Answer {
	for _, m := range c.Members {
		c.dismiss(m, refusal)
	}
	out := c.out.Answers
	c.out.Answers = nil
	return out
}

// Info describes the group, without the ends of the partitions.
func (c *Group) Info(now time.Time) protocol.GroupInfo {
	info := protocol.GroupInfo{
		Group: c.name, State: protocol.GroupStable, Generation: c.generation,
		Strategy: cmp.Or(c.strategy, protocol.StrategySticky),
		Members:  []protocol.GroupMember{}, Partitions: []protocol.GroupPartition{},
	}
	owned := map[string]int{}
	for _, at := range c.Sorted() {
		p := c.Parts[at]
		if c.past(at, p) {
			continue
		}
		row := protocol.GroupPartition{Topic: at.Topic, Partition: at.Partition, Owner: p.owner, Diverged: p.diverged}
		if p.Known {
			offset := p.Committed
			row.Committed = &offset
		}
		if p.owner != p.target {
			row.Target = p.target
			info.State = protocol.GroupMoving
		}
		owned[p.owner]++
		info.Partitions = append(info.Partitions, row)
	}
	if len(c.Members) == 0 {
		info.State = protocol.GroupEmpty
	}
	for _, id := range slices.Sorted(maps.Keys(c.Members)) {
		m := c.Members[id]
		info.Members = append(info.Members, protocol.GroupMember{
			Member: id, Instance: m.join.Instance, Client: m.join.Client, Topics: m.join.Topics,
			SessionMs: m.join.SessionMs, SilentMs: now.Sub(m.heard).Milliseconds(), Partitions: owned[id],
		})
	}
	return info
}
