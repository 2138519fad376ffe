package actors

import (
	"slices"
	"time"

	"metaq/protocol"
)

// The part of groupCore that finds out whether the group's places are still in the logs.
// A log that lost its end, to a power failure or a restored backup, and grew again has
// other records at the same offsets; a group that continued there would skip them. So a
// place carries the epoch of the record before it, and is compared with the log when the
// coordinator starts, when the partition is given to a member, when its leader changed,
// and whenever else a leader was asked for its ends.

// groupCheck asks a leader for the lineage of its log, see groupCore.placed.
type groupCheck struct {
	at     protocol.TopicPartition
	born   protocol.Epoch // of the topic
	doubts int            // of the partition when it was asked: what came later needs another answer
	heard  int            // of the partition when it was asked: an answer may be older than what came since
}

// groupDiverged is told to people once: the group's place was not in the log.
type groupDiverged struct {
	at protocol.TopicPartition
	protocol.GroupDiverged
}

const (
	// checkPause is the time between two tries to compare a place with its log, and
	// idlePause that for a partition that nobody works on.
	checkPause = time.Second
	idlePause  = 5 * time.Second
)

// doubt has the group's place compared with the log again.
func (c *groupCore) doubt(at protocol.TopicPartition) {
	if p := c.parts[at]; p != nil {
		p.checked, p.checking, p.checkAt = false, false, time.Time{}
		p.doubts++
		c.restless = true
	}
}

// question is what to ask the leader of a partition now.
func (c *groupCore) question(at protocol.TopicPartition) groupCheck {
	q := groupCheck{at: at, born: c.born[at.Topic]}
	if p := c.parts[at]; p != nil {
		q.doubts, q.heard = p.doubts, p.heard
	}
	return q
}

// check asks for a comparison that is due.
func (c *groupCore) check(now time.Time, at protocol.TopicPartition, p *groupPart) {
	if !p.known || p.checked {
		return
	}
	c.restless = true
	if !p.checking && !now.Before(p.checkAt) {
		p.checking = true
		c.out.check = append(c.out.check, c.question(at))
	}
}

// placed takes the lineage of a partition's log, or why it is not known. It may come
// unasked.
func (c *groupCore) placed(now time.Time, asked groupCheck, log protocol.Lineage, err error) groupEffects {
	p := c.parts[asked.at]
	if p == nil {
		return c.settle(now)
	}
	if asked.doubts != p.doubts {
		return c.settle(now) // an older leader's answer
	}
	p.checking = false
	if asked.heard != p.heard {
		// A leader that is slow holds up what the others answered at once. A log that was
		// longer in another answer, or in a commit that was believed, has not been cut since
		// because this one says less. If the comparison is still due, settle asks again.
		return c.settle(now)
	}
	if err == nil && asked.born != c.born[asked.at.Topic] {
		err = errOldTopic
	}
	withheld := p.withheld
	p.withheld = false
	if err != nil {
		// The owner cannot read there now; what it would find is looked at when the leader
		// is back.
		if p.checkAt = now.Add(checkPause); p.owner == "" {
			p.checkAt = now.Add(idlePause)
		}
	} else {
		c.place(now, asked.at, p, log, withheld)
	}
	if m := c.members[p.owner]; m != nil && withheld {
		m.touch(now)
	}
	return c.settle(now)
}

// place compares the group's place with the log. The owner may be at work there, unless
// the partition was withheld from it.
func (c *groupCore) place(now time.Time, at protocol.TopicPartition, p *groupPart, log protocol.Lineage, withheld bool) {
	before := p.log
	p.log, p.checked = log, true
	p.heard++
	if !p.known || c.bug == trustOffsets {
		return
	}
	to, diverged := log.Diverged(p.committed, p.epoch)
	if !diverged {
		if p.stopped {
			p.stopped, p.diverged = false, nil // the right log is back
			c.touchOwner(now, p)
		}
		if e := log.EpochBefore(p.committed); p.epoch == 0 && e > 0 {
			p.epoch = e
			c.commits[at] = true
		}
		// What the owner has read beyond the cut is not there any more. A commit of that
		// must not count, and one without an epoch could not be told from others.
		if _, cut := log.Diverged(before.EndOffset, before.EpochBefore(before.EndOffset)); cut && !withheld {
			c.expel(now, at, p)
		}
		return
	}
	told := p.stopped && p.diverged.DivergedAt == to
	realign := c.realign
	if m := c.members[p.owner]; m != nil && m.join.WhenDiverged != "" {
		realign = m.join.WhenDiverged == protocol.DivergedRealign
	}
	if told && !realign {
		return
	}
	p.diverged = &protocol.GroupDiverged{
		Offset: p.committed, Epoch: p.epoch, DivergedAt: to, Time: now.UTC().Truncate(time.Millisecond), Stopped: !realign,
	}
	c.out.diverged = append(c.out.diverged, groupDiverged{at, *p.diverged})
	if !realign {
		p.stopped = true
		c.touchOwner(now, p)
		return
	}
	p.committed, p.epoch, p.stopped = to, log.EpochBefore(to), false
	c.commits[at] = true
	if !withheld {
		c.expel(now, at, p)
	}
}

func (c *groupCore) touchOwner(now time.Time, p *groupPart) {
	if m := c.members[p.owner]; m != nil {
		m.touch(now)
	}
}

// expel puts the owner of a partition out, since what it read there is not in the log.
// It joins again and begins at the group's place.
func (c *groupCore) expel(now time.Time, at protocol.TopicPartition, p *groupPart) {
	if m := c.members[p.owner]; m != nil {
		c.remove(m, protocol.ErrNoMember.With("the log of %s has lost its end, which puts out who worked on it: join again under a new name", at))
		c.rebalance(now)
	}
}

// label fills in the epochs that commits come without, as far as the logs are known. Where
// a log has grown since, the record is of the newest epoch that is known, or of a newer
// one: then the group may go back without need, and skips nothing.
func (c *groupCore) label(offsets []protocol.GroupPosition) {
	for i := range offsets {
		o := &offsets[i]
		if p := c.parts[o.At()]; p != nil && o.Epoch == 0 {
			if o.Epoch = p.log.EpochBefore(o.Offset); o.Epoch == 0 && o.Offset > 0 {
				o.Epoch = p.epoch
			}
		}
	}
}

// strays reports whether an offset is to be looked into before it is committed: it is
// beyond the end that is known, or of another branch than what is known of the log.
func (c *groupCore) strays(o *protocol.GroupPosition) bool {
	p := c.parts[o.At()]
	if p == nil {
		return true
	}
	_, diverged := p.log.Diverged(o.Offset, o.Epoch)
	return diverged || !p.checked
}

// refuseStopped is the refusal of a commit in a partition that the group has stopped at.
func (c *groupCore) refuseStopped(at protocol.TopicPartition, p *groupPart) error {
	return protocol.NewDivergedError(p.diverged.DivergedAt, p.log.LogStart, p.log.EndOffset,
		"group %s stands at offset %d of %s, and the log is another one from %d on: move the group with metaq group reset %s --topic %s --to %d",
		c.name, p.committed, at, p.diverged.DivergedAt, c.name, at.Topic, p.diverged.DivergedAt)
}

// stoppedOf returns the partitions of a member that are not worked on, because their logs
// are not the ones that were read.
func (c *groupCore) stoppedOf(id string) []protocol.GroupStopped {
	var out []protocol.GroupStopped
	for at, p := range c.parts {
		if p.stopped && p.owner == id && p.target == id {
			out = append(out, protocol.GroupStopped{Topic: at.Topic, Partition: at.Partition, GroupDiverged: *p.diverged})
		}
	}
	slices.SortFunc(out, func(a, b protocol.GroupStopped) int { return a.At().Compare(b.At()) })
	return out
}
