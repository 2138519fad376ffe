package group

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"metaq/actors"
	"metaq/protocol"
)

// A claim counts only while this broker has its lease, see Coordination.Holds. Between two
// looks at that a broker may have been frozen, or cut off from the registry, while another one
// took its groups over: so it is looked at for every request, and once more for every answer.

// unheldPause is how often a group looks whether the lease is held again.
const unheldPause = 250 * time.Millisecond

// generationBits leave room for the generations of one claim: 16 million.
const generationBits = 24

// firstGeneration is what the generations of a group that another broker coordinated before are
// above: that broker's last one need not be known here, and whoever had it claimed with a lower
// epoch. Within 2^53, so that a number of JSON holds it anywhere.
func firstGeneration(epoch protocol.Epoch) int64 {
	if epoch <= 1 {
		return 0
	}
	return int64(epoch) << generationBits
}

// usedUp reports whether a generation is the last one of its claim: a successor's would be
// lower than the next.
func usedUp(generation int64, epoch protocol.Epoch) bool {
	return epoch > 0 && generation >= int64(epoch+1)<<generationBits-1
}

func unheld(group string) *protocol.Error {
	return protocol.ErrUnavailable.With("group %s: ZooKeeper has not answered this broker for longer than its lease, another one may coordinate the group by now: try again", group)
}

// holds reports whether claims of a term count.
func (s *groupsShared) holds(term uint64) bool {
	return s.deps.Coordination == nil || s.deps.Coordination.Holds(term)
}

// refuseUnheld deals with a request for a group whose claim does not count. It returns false
// when the claim does, or has to be made again.
func (g *groups) refuseUnheld(ctx actor.Context, m *actors.GroupRequest, from *actor.PID) bool {
	term := g.terms[m.Group]
	if g.claims[m.Group] == 0 || g.holds(term) {
		return false
	}
	if g.deps.Coordination.Term() != term {
		g.lose(ctx, m.Group)
		return false
	}
	m.Ticket.Release()
	if other, sees := g.deps.Coordination.Sighted(); sees && m.Elsewhere != nil {
		m.Elsewhere(other) // it can find out, and take over
		return true
	}
	g.refused(unheld(m.Group))
	actors.Respond(ctx, from, unheld(m.Group))
	return true
}

// lose forgets the claim of a group: the next request makes another one.
func (g *groups) lose(ctx actor.Context, name string) {
	g.flush(ctx, true)
	delete(g.claims, name)
	child := g.children[name]
	g.abandon(ctx, protocol.ErrUnavailable.With("group %s: its coordinator is being found: try again", name), func(pid *actor.PID) bool {
		return child != nil && child.pid.Equal(pid)
	})
}

// loseUsedUp loses the claim of a group whose generations end with what was just logged.
func (g *groups) loseUsedUp(ctx actor.Context, name string) {
	image := g.journal.images[name]
	if image != nil && usedUp(image.State.Generation, g.claims[name]) {
		g.log.Info("generations of the claim are used up, the group is claimed again", "group", name, "generation", image.State.Generation)
		g.lose(ctx, name)
	}
}

// suspend answers who waits while the claim does not count, and looks again a little later.
// Nobody's session ends in that time: members are refused, however often they beat.
func (g *group) suspend(ctx actor.Context) {
	g.suspended = true
	for _, a := range g.core.DismissAll(unheld(g.name)) {
		g.answer(ctx, a)
	}
	if g.all.deps.Coordination.Term() != g.term {
		ctx.Send(ctx.Parent(), groupLost{g.name, ctx.Self()})
	}
	if g.timer != nil {
		g.timer.Stop()
	}
	g.generation++
	g.timer = g.all.later(unheldPause, ctx.Self(), groupTick{g.generation})
}

// proceeds reports whether the claim counts. After a time in which it did not, all members
// have a whole session to be heard again.
func (g *group) proceeds(ctx actor.Context) bool {
	if !g.all.holds(g.term) {
		g.suspend(ctx)
		return false
	}
	if g.suspended {
		g.suspended = false
		g.perform(ctx, g.core.Resume(g.all.now()))
	}
	return true
}
