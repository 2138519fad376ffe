package actors

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"

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

// above are the offsets that are to be looked into.
func (b groupEnds) above(now time.Time, offsets []protocol.GroupPosition) []protocol.GroupPosition {
	var out []protocol.GroupPosition
	for _, o := range offsets {
		if known := b[o.At()]; o.Offset > known.end && !now.Before(known.quiet) {
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
	return nil
}

func aboveEnd(what string, at protocol.TopicPartition, offset, end protocol.Offset, advice string) error {
	return protocol.ErrRange.With("%s: offset %d of %s is above its end, which is %d: %s", what, offset, at, end, advice)
}

// commit commits at once what is known to be in the logs. Else it asks the leaders
// first; the other requests go on meanwhile.
func (g *group) commit(ctx actor.Context, r protocol.GroupCommit, to *groupAsker) {
	now := g.all.now()
	above := g.ends.above(now, r.Offsets)
	if len(above) == 0 || g.core.refuseCommit(now, &r) != nil {
		g.perform(ctx, g.core.commit(now, r, to))
		return
	}
	leaders := make([]*actor.PID, len(above))
	for i := range above {
		leaders[i] = g.leader(above[i].At())
	}
	var got []ends
	g.working[to] = true
	g.work(ctx, func() { got = askOffsets(g.all.system, leaders, protocol.OffsetsRequest{}, endTimeout) }, func(ctx actor.Context) {
		now := g.all.now()
		var refusal error
		for i := range above {
			if err := g.ends.learn(now, above[i], got[i]); refusal == nil {
				refusal = err
			}
		}
		if refusal != nil {
			g.answer(ctx, groupAnswer{to, refusal})
			return
		}
		g.perform(ctx, g.core.commit(now, r, to))
	})
}
