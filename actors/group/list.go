package group

import (
	"cmp"
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"metaq/actors"
	"metaq/protocol"
)

// Which groups there are, and how many there may be.

// full refuses a group that would be one too many. Groups that are in use are never
// refused, however many the log has.
func (g *groups) full(name string) error {
	if n := len(g.journal.images) + len(g.unlogged); n >= g.deps.MaxGroups {
		return protocol.ErrBusy.With(
			"group %s is new, and this broker has %d groups already: delete those that nobody needs with metaq group delete, or raise maxGroups", name, n)
	}
	return nil
}

// own are the groups of the log, or why they are not known.
func (g *groups) own() any {
	if g.refusal != nil {
		return error(g.refusal)
	}
	reply := protocol.GroupList{Groups: []protocol.GroupSummary{}}
	for name, image := range g.journal.images {
		topics := image.Topics()
		named := topics[:min(len(topics), protocol.MaxSummaryTopics)]
		reply.Groups = append(reply.Groups, protocol.GroupSummary{
			Group: name, Members: len(image.State.Members), Generation: image.State.Generation,
			Topics: named, MoreTopics: len(topics) - len(named),
		})
	}
	slices.SortFunc(reply.Groups, func(a, b protocol.GroupSummary) int { return cmp.Compare(a.Group, b.Group) })
	return reply
}

// listNow is to the groups actor itself: answer all who asked for the list.
type listNow struct{}

// list notes who asks for the groups of all brokers. The list is made once for all that ask
// before the next listNow: it is long, and members' requests wait while it is made.
func (g *groups) list(ctx actor.Context) {
	if g.asking = append(g.asking, ctx.Sender()); len(g.asking) == 1 {
		ctx.Send(ctx.Self(), listNow{})
	}
}

// answerLists makes the list for all that have asked.
func (g *groups) answerLists(ctx actor.Context) {
	askers := g.asking
	g.asking = nil
	answer := g.own()
	own, known := answer.(protocol.GroupList)
	if g.deps.Gather == nil || !known {
		for _, asker := range askers {
			actors.Respond(ctx, asker, answer)
		}
		return
	}
	g.workers.Run(func() {
		all := g.deps.Gather(own)
		for _, asker := range askers {
			g.system.Root.Send(asker, all)
		}
	})
}

// refuseLists answers those whose list will not be made.
func (g *groups) refuseLists(ctx actor.Context) {
	for _, asker := range g.asking {
		actors.Respond(ctx, asker, actors.ErrGone)
	}
	g.asking = nil
}
