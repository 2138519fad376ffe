package group

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"metaq/actors"
	"metaq/actors/group/core"
	"metaq/protocol"
)

// How a group keeps committed offsets from passing the ends of partitions. What was
// committed above an end would be skipped once it is written.

// groupEnds are bounds that a group knows: a log has at least that end. They are asked
// for only when a commit is above them, so a consumer that lags behind, or has nothing
// to read, costs its leader no request.
type groupEnds map[protocol.TopicPartition]groupBound

type groupBound struct {
	end   protocol.Offset
	quiet time.Time // the leader did not answer: it is not asked again before
}

const (
	// endTimeout bounds how long a commit waits for the ends of partitions.
	endTimeout = 500 * time.Millisecond
	// endPause is how long a leader that did not answer is not asked again.
	endPause = 5 * time.Second
)

// above are the offsets that are to be looked into: those above an end, and those that
// stray from what is known of the log.
func (b groupEnds) above(now time.Time, offsets []protocol.GroupPosition, strays func(*protocol.GroupPosition) bool) []protocol.GroupPosition {
	var out []protocol.GroupPosition
	for _, o := range offsets {
		if known := b[o.At()]; (o.Offset > known.end || strays(&o)) && !now.Before(known.quiet) {
			out = append(out, o)
		}
	}
	return out
}

// learn takes a leader's answer, and refuses an offset above the end. While nobody
// leads the partition, or its leader does not answer, its owner is believed: it has
// read there, and its commits must not wait for somebody else's return.
func (b groupEnds) learn(now time.Time, o protocol.GroupPosition, e ends) error {
	if e.err != nil {
		b[o.At()] = groupBound{end: b[o.At()].end, quiet: now.Add(endPause)}
		return nil
	}
	b[o.At()] = groupBound{end: e.reply.EndOffset}
	if o.Offset > e.reply.EndOffset {
		return aboveEnd("nothing was committed", o.At(), o.Offset, e.reply.EndOffset, "commit at most the offset after the last record that was processed")
	}
	log := e.reply.Lineage()
	if to, diverged := log.Diverged(o.Offset, o.Epoch); diverged {
		return protocol.NewDivergedError(to, log.LogStart, log.EndOffset,
			"nothing was committed: offset %d of %s was read in epoch %d, and the log is another one from %d on: go back there", o.Offset, o.At(), o.Epoch, to)
	}
	return nil
}

func aboveEnd(what string, at protocol.TopicPartition, offset, end protocol.Offset, advice string) error {
	return protocol.ErrRange.With("%s: offset %d of %s is above its end, which is %d: %s", what, offset, at, end, advice)
}

// placed hands a leader's answer to the core, which compares the group's place with it.
func (g *group) placed(ctx actor.Context, asked core.Check, e *ends) {
	g.perform(ctx, g.core.Placed(g.all.now(), asked, e.reply.Lineage(), e.err))
}

// check asks the leaders for the lineages of their logs.
func (g *group) check(ctx actor.Context, asks []core.Check) {
	leaders := make([]*actor.PID, len(asks))
	for i := range asks {
		leaders[i] = g.leader(asks[i].At)
	}
	var got []ends
	g.work(ctx, func() { got = askOffsets(g.all.system, leaders, core.LineageRequest, askTimeout) }, func(ctx actor.Context) {
		for i := range got {
			g.placed(ctx, asks[i], &got[i])
		}
	})
}

// tell tells people that the group's place was not in a log any more.
func (g *group) tell(d *core.Diverged) {
	g.all.metrics.diverged.Inc()
	args := []any{
		"topic", d.At.Topic, "partition", d.At.Partition.String(),
		"offset", int64(d.Offset), "epoch", uint32(d.Epoch), "diverged_at", int64(d.DivergedAt),
	}
	if d.Stopped {
		g.log.Error("the log lost its end below the group's offset, the group stops there: reset it, or set updateConsumerOffsets=true", args...)
		return
	}
	g.log.Warn("the log lost its end below the group's offset, the group goes back to where the logs part", args...)
}

// recheck has the places compared in partitions whose leader has changed since old.
func (g *group) recheck(old *actors.Routes) {
	for at := range g.core.Parts {
		was, is := leaderIn(old, at), g.leader(at)
		if is != nil && !is.Equal(was) {
			g.core.Doubt(at)
		}
	}
}

// commit commits at once what is known to be in the logs. Else it asks the leaders
// first; the other requests go on meanwhile.
func (g *group) commit(ctx actor.Context, r protocol.GroupCommit, to *groupAsker) {
	now := g.all.now()
	above := g.ends.above(now, r.Offsets, g.core.Strays)
	if len(above) == 0 || g.core.RefuseCommit(now, &r) != nil {
		g.perform(ctx, g.core.Commit(now, r, to))
		return
	}
	leaders, asked := make([]*actor.PID, len(above)), make([]core.Check, len(above))
	for i := range above {
		leaders[i], asked[i] = g.leader(above[i].At()), g.core.Question(above[i].At())
	}
	var got []ends
	g.working[to] = true
	g.work(ctx, func() { got = askOffsets(g.all.system, leaders, core.LineageRequest, endTimeout) }, func(ctx actor.Context) {
		now := g.all.now()
		var refusal error
		for i := range above {
			// The group's own place comes first: a commit in a log that has lost it would
			// hide that.
			g.placed(ctx, asked[i], &got[i])
			if err := g.ends.learn(now, above[i], got[i]); refusal == nil {
				refusal = err
			}
		}
		if refusal != nil {
			g.answer(ctx, core.Answer{To: to, Value: refusal})
			return
		}
		g.perform(ctx, g.core.Commit(now, r, to))
	})
}
