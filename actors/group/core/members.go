package core

import (
	"cmp"
	"slices"
	"time"

	"metaq/protocol"
)

// The part of Group that is about members coming, beating and going.

// Join makes a member, or changes one. The request is checked and names its
// member.
func (c *Group) Join(now time.Time, r protocol.GroupJoin, to any) Effects {
	m := c.Members[r.Member]
	old := c.instance(r.Instance, r.Member)
	if m == nil {
		// A join that is sent again after a newer run has joined must not take its place.
		if err := c.replacedBy(r.Member, ""); err != nil {
			c.answer(to, err)
			return c.Settle(now)
		}
	}
	others := len(c.Members)
	if m != nil {
		others--
	}
	if old != nil {
		others--
	}
	switch {
	case m != nil && m.join.Instance != r.Instance:
		c.answer(to, protocol.ErrConflict.With("member %s is there as instance %q: take another name", r.Member, m.join.Instance))
		return c.Settle(now)
	case m == nil && len(c.Members) >= maxMembers:
		c.answer(to, protocol.ErrBusy.With("group %s has %d members, more are not taken", c.name, maxMembers))
		return c.Settle(now)
	case c.grown(m, old, &r) > 0 && c.size+c.grown(m, old, &r) > c.MaxSize:
		c.answer(to, protocol.ErrTooLarge.With(
			"group %s: the names and topics of its members have %d bytes and would have %d with this join, the limit is %d: subscribe to fewer topics, use several groups, or raise maxGroupState",
			c.name, c.size, c.size+c.grown(m, old, &r), c.MaxSize))
		return c.Settle(now)
	case others > 0 && r.Alone:
		c.answer(to, protocol.ErrConflict.With("group %s has other members: to be alone in it, stop them first", c.name))
		return c.Settle(now)
	case others > 0 && c.loner() != nil:
		c.answer(to, protocol.ErrConflict.With("member %s is alone in group %s: wait until it has left", c.loner().join.Member, c.name))
		return c.Settle(now)
	case others > 0 && r.Strategy != "" && r.Strategy != c.strategy:
		c.answer(to, protocol.ErrConflict.With("the group's strategy is %s: join with it, or with none, or when the group is empty", c.strategy))
		return c.Settle(now)
	}
	if others == 0 || c.strategy == "" {
		c.strategy = cmp.Or(r.Strategy, c.strategy, protocol.StrategySticky)
	}
	balanced := m != nil && slices.Equal(m.join.Topics, r.Topics)
	switch {
	case old != nil:
		balanced = slices.Equal(old.join.Topics, r.Topics)
		m = c.replace(now, old, r)
	case m == nil:
		m = &member{}
		c.Members[r.Member] = m
	}
	c.size += joinSize(&r) - m.size
	m.join, m.size, m.logged = r, joinSize(&r), false
	c.begin(now, r.Topics)
	m.alive(now)
	m.touch(now)
	c.unsaved = true
	if !balanced {
		c.rebalance(now)
	}
	c.park(now, m, &parkedBeat{to: to, until: now.Add(joinWait), joining: true})
	return c.Settle(now)
}

// joinSize is what a member costs: its names and topics, and what is around them.
func joinSize(r *protocol.GroupJoin) int {
	const around = 64
	n := around + len(r.Member) + len(r.Instance) + len(r.Client)
	for _, t := range r.Topics {
		n += len(t)
	}
	return n
}

// grown is what a join adds to the size of the group, whose members m and old it replaces;
// both may be nil.
func (c *Group) grown(m, old *member, r *protocol.GroupJoin) int {
	n := joinSize(r)
	if m != nil {
		n -= m.size
	}
	if old != nil {
		n -= old.size
	}
	return n
}

// loner finds the member that is to be the only one.
func (c *Group) loner() *member {
	for _, m := range c.Members {
		if m.join.Alone {
			return m
		}
	}
	return nil
}

// instance finds the member that another run of the same static member made.
func (c *Group) instance(name, id string) *member {
	if name == "" {
		return nil
	}
	for _, m := range c.Members {
		if m.join.Instance == name && m.join.Member != id {
			return m
		}
	}
	return nil
}

// replace gives a static member's new run all that the old one had. The old one
// is not a member any more, which fences it.
func (c *Group) replace(now time.Time, old *member, r protocol.GroupJoin) *member {
	m := &member{join: r, revision: old.revision, replaced: append(old.replaced, old.join.Member)}
	m.replaced = m.replaced[max(0, len(m.replaced)-maxReplaced):]
	c.dismiss(old, c.instanceTaken(m))
	delete(c.Members, old.join.Member)
	c.size -= old.size
	c.Members[r.Member] = m
	for _, p := range c.Parts {
		if p.releasing() && p.owner == old.join.Member {
			p.owner = "" // its work has ended with it
		}
		if p.owner == old.join.Member {
			p.owner = r.Member
		}
		if p.target == old.join.Member {
			p.target = r.Member
		}
	}
	c.touchAll(now)
	return m
}

// park keeps a request. A member has one at a time: what it asked before is
// answered now.
func (c *Group) park(now time.Time, m *member, b *parkedBeat) {
	if m.parked != nil {
		c.answer(m.parked.to, c.view(m))
	}
	m.parked = b
}

// dismiss answers what a member waits for.
func (c *Group) dismiss(m *member, refusal *protocol.Error) {
	if m.parked != nil {
		c.answer(m.parked.to, refusal)
		m.parked = nil
	}
}

// unknownMember returns the refusal of a member that the group does not have.
func (c *Group) unknownMember(id, instance string) *protocol.Error {
	if err := c.replacedBy(id, instance); err != nil {
		return err
	}
	return c.noMember(id)
}

// replacedBy returns the refusal of a run of a static member whose place a newer run has
// taken; nil when no such run is a member. It must be final: an older run that joined again
// would take the place of the newer one, which would then do the same, without an end.
func (c *Group) replacedBy(id, instance string) *protocol.Error {
	for _, m := range c.Members {
		if m.join.Instance != "" && (m.join.Instance == instance || slices.Contains(m.replaced, id)) {
			return c.instanceTaken(m)
		}
	}
	return nil
}

func (c *Group) instanceTaken(by *member) *protocol.Error {
	return protocol.ErrInstance.With("instance %s of group %s was started again and is member %s now: stop this process, or give each process an instance of its own",
		by.join.Instance, c.name, by.join.Member)
}

func (c *Group) noMember(id string) *protocol.Error {
	return protocol.ErrNoMember.With("group %s has no member %q: its session is over, or it was put out; join again under a new name", c.name, id)
}

// Heartbeat keeps a member alive and takes what it released.
func (c *Group) Heartbeat(now time.Time, r protocol.GroupHeartbeat, to any) Effects {
	m := c.Members[r.Member]
	if m == nil {
		c.answer(to, c.unknownMember(r.Member, r.Instance))
		return c.Settle(now)
	}
	m.alive(now)
	if r.Generation == c.generation {
		// Within a generation targets do not change: whoever says so now has seen
		// that the partition goes to another, and will not take it up again.
		for _, at := range r.Released {
			if p := c.Parts[at]; p != nil && p.owner == r.Member && p.releasing() {
				p.owner = ""
				c.unsaved = true
				m.touch(now)
			}
		}
	}
	b := &parkedBeat{to: to, revision: r.Revision, until: now.Add(min(time.Duration(r.WaitMs)*time.Millisecond, m.session()/3))}
	c.park(now, m, b)
	return c.Settle(now)
}

// Leave ends a membership.
func (c *Group) Leave(now time.Time, r protocol.GroupLeave, to any) Effects {
	m := c.Members[r.Member]
	if r.Instance != "" {
		if m = c.instance(r.Instance, ""); m == nil {
			c.answer(to, protocol.ErrNoMember.With("group %s has no instance %q: see metaq group info %s", c.name, r.Instance, c.name))
			return c.Settle(now)
		}
	}
	if m != nil {
		c.remove(m, c.noMember(m.join.Member))
		c.rebalance(now)
	}
	c.answer(to, protocol.Done{OK: true})
	return c.Settle(now)
}

// remove ends a membership without a rebalance.
func (c *Group) remove(m *member, refusal *protocol.Error) {
	c.dismiss(m, refusal)
	id := m.join.Member
	delete(c.Members, id)
	c.size -= m.size
	for _, p := range c.Parts {
		if p.owner == id {
			p.owner = ""
		}
		if p.target == id {
			p.target = ""
		}
	}
	c.unsaved = true
}
