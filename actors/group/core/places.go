package core

import (
	"slices"
	"time"

	"metaq/protocol"
)

// The part of Group that finds out whether the group's places are still in the logs.
// A log that lost its end, to a power failure or a restored backup, and grew again has
// other records at the same offsets; a group that continued there would skip them. So a
// place carries the epoch of the record before it, and is compared with the log when the
// coordinator starts, when the partition is given to a member, when its leader changed,
// and whenever else a leader was asked for its ends.

// Check asks a leader for the lineage of its log, see Group.placed.
type Check struct {
	At     protocol.TopicPartition
	born   protocol.Epoch // of the topic
	doubts int            // of the partition when it was asked: what came later needs another answer
	Heard  int            // of the partition when it was asked: an answer may be older than what came since
}

// Diverged is told to people once: the group's place was not in the log.
type Diverged struct {
	At protocol.TopicPartition
	protocol.GroupDiverged
}

const (
	// checkPause is the time between two tries to compare a place with its log, and
	// idlePause that for a partition that nobody works on.
	checkPause = time.Second
	idlePause  = 5 * time.Second
)

// Doubt has the group's place compared with the log again.
func (c *Group) Doubt(at protocol.TopicPartition) {
	if p := c.Parts[at]; p != nil {
		p.checked, p.checking, p.checkAt = false, false, time.Time{}
		p.doubts++
		c.restless = true
	}
}

// Question is what to ask the leader of a partition now.
func (c *Group) Question(at protocol.TopicPartition) Check {
	q := Check{At: at, born: c.Born[at.Topic]}
	if p := c.Parts[at]; p != nil {
		q.doubts, q.Heard = p.doubts, p.heard
	}
	return q
}

// check asks for a comparison that is due.
func (c *Group) check(now time.Time, at protocol.TopicPartition, p *groupPart) {
	if !p.Known || p.checked {
		return
	}
	c.restless = true
	if !p.checking && !now.Before(p.checkAt) {
		p.checking = true
		c.out.Check = append(c.out.Check, c.Question(at))
	}
}

// Placed takes the lineage of a partition's log, or why it is not known. It may come
// unasked.
func (c *Group) Placed(now time.Time, asked Check, log protocol.Lineage, err error) Effects {
	p := c.Parts[asked.At]
	if p == nil {
		return c.Settle(now)
	}
	if asked.doubts != p.doubts {
		return c.Settle(now) // an older leader's answer
	}
	p.checking = false
	if asked.Heard != p.heard {
		// A leader that is slow holds up what the others answered at once. A log that was
		// longer in another answer, or in a commit that was believed, has not been cut since
		// because this one says less. If the comparison is still due, settle asks again.
		return c.Settle(now)
	}
	if err == nil && asked.born != c.Born[asked.At.Topic] {
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
		c.place(now, asked.At, p, log, withheld)
	}
	if m := c.Members[p.owner]; m != nil && withheld {
		m.touch(now)
	}
	return c.Settle(now)
}

// place compares the group's place with the log. The owner may be at work there, unless
// the partition was withheld from it.
func (c *Group) place(now time.Time, at protocol.TopicPartition, p *groupPart, log protocol.Lineage, withheld bool) {
	before := p.Log
	p.Log, p.checked = log, true
	p.heard++
	if !p.Known || c.Bug == trustOffsets {
		return
	}
	to, diverged := log.Diverged(p.Committed, p.epoch)
	if !diverged {
		if p.stopped {
			p.stopped, p.diverged = false, nil // the right log is back
			c.touchOwner(now, p)
		}
		if e := log.EpochBefore(p.Committed); p.epoch == 0 && e > 0 {
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
	realign := c.Realign
	if m := c.Members[p.owner]; m != nil && m.join.WhenDiverged != "" {
		realign = m.join.WhenDiverged == protocol.DivergedRealign
	}
	if told && !realign {
		return
	}
	p.diverged = &protocol.GroupDiverged{
		Offset: p.Committed, Epoch: p.epoch, DivergedAt: to, Time: now.UTC().Truncate(time.Millisecond), Stopped: !realign,
	}
	c.out.Diverged = append(c.out.Diverged, Diverged{at, *p.diverged})
	if !realign {
		p.stopped = true
		c.touchOwner(now, p)
		return
	}
	p.Committed, p.epoch, p.stopped = to, log.EpochBefore(to), false
	c.commits[at] = true
	if !withheld {
		c.expel(now, at, p)
	}
}

func (c *Group) touchOwner(now time.Time, p *groupPart) {
	if m := c.Members[p.owner]; m != nil {
		m.touch(now)
	}
}

// expel puts the owner of a partition out, since what it read there is not in the log.
// It joins again and begins at the group's place.
func (c *Group) expel(now time.Time, at protocol.TopicPartition, p *groupPart) {
	if m := c.Members[p.owner]; m != nil {
		c.remove(m, protocol.ErrNoMember.With("the log of %s has lost its end, which puts out who worked on it: join again under a new name", at))
		c.rebalance(now)
	}
}

// label fills in the epochs that commits come without, as far as the logs are known. Where
// a log has grown since, the record is of the newest epoch that is known, or of a newer
// one: then the group may go back without need, and skips nothing.
func (c *Group) label(offsets []protocol.GroupPosition) {
	for i := range offsets {
		o := &offsets[i]
		if p := c.Parts[o.At()]; p != nil && o.Epoch == 0 {
			if o.Epoch = p.Log.EpochBefore(o.Offset); o.Epoch == 0 && o.Offset > 0 {
				o.Epoch = p.epoch
			}
		}
	}
}

// Strays reports whether an offset is to be looked into before it is committed: it is
// beyond the end that is known, or of another branch than what is known of the log.
func (c *Group) Strays(o *protocol.GroupPosition) bool {
	p := c.Parts[o.At()]
	if p == nil {
		return true
	}
	_, diverged := p.Log.Diverged(o.Offset, o.Epoch)
	return diverged || !p.checked
}

// refuseStopped is the refusal of a commit in a partition that the group has stopped at.
func (c *Group) refuseStopped(at protocol.TopicPartition, p *groupPart) error {
	return protocol.NewDivergedError(p.diverged.DivergedAt, p.Log.LogStart, p.Log.EndOffset,
		"group %s stands at offset %d of %s, and the log is another one from %d on: move the group with metaq group reset %s --topic %s --to %d",
		c.name, p.Committed, at, p.diverged.DivergedAt, c.name, at.Topic, p.diverged.DivergedAt)
}

// stoppedOf returns the partitions of a member that are not worked on, because their logs
// are not the ones that were read.
func (c *Group) stoppedOf(id string) []protocol.GroupStopped {
	var out []protocol.GroupStopped
	for at, p := range c.Parts {
		if p.stopped && p.owner == id && p.target == id {
			out = append(out, protocol.GroupStopped{Topic: at.Topic, Partition: at.Partition, GroupDiverged: *p.diverged})
		}
	}
	slices.SortFunc(out, func(a, b protocol.GroupStopped) int { return a.At().Compare(b.At()) })
	return out
}

// PlaceOf finds the offset of a place in a log. What is to be the end of the log is, when
// since is not zero, the first message from then on.
func PlaceOf(p protocol.GroupPlace, since time.Time, r protocol.OffsetsReply) protocol.Offset {
	end := r.EndOffset
	if !since.IsZero() {
		end = r.Offset
	}
	switch p.At {
	case protocol.StartLatest:
		return end
	case protocol.StartOffset:
		// What is above the end of then means that end, though the log may have reached it by now.
		return max(min(p.Offset, end), r.LogStart)
	case protocol.StartTime:
		return r.Offset
	default:
		return r.LogStart
	}
}

// ErrNoEnds is why the ends of a partition are not known.
var ErrNoEnds error = protocol.ErrUnavailable.With("the partition's leader did not answer in time")

// LabelledPlaceOf is PlaceOf with the epoch of the record before it. A place without one that
// waits for the next look at the log is, should the log be cut before, taken for one in what
// the log gets afterwards.
func LabelledPlaceOf(p protocol.GroupPlace, since time.Time, r protocol.OffsetsReply) Place {
	offset, log := PlaceOf(p, since, r), r.Lineage()
	return Place{offset, log.EpochBefore(offset)}
}

// LineageRequest asks for the ends and the epochs of a log.
var LineageRequest = protocol.OffsetsRequest{Epochs: true}

// RequestFor is what to ask a leader to find a place, and its epoch.
func RequestFor(p protocol.GroupPlace, since time.Time) protocol.OffsetsRequest {
	switch {
	case p.At == protocol.StartTime:
		return protocol.OffsetsRequest{Time: p.Time, Epochs: true}
	case !since.IsZero():
		return protocol.OffsetsRequest{Time: &since, Epochs: true}
	default:
		return LineageRequest
	}
}
