package group

import (
	"github.com/asynkron/protoactor-go/actor"

	"metaq/actors"
	"metaq/protocol"
)

// Requests for groups that nobody has. They leave nothing behind: no record in the registry,
// no entry in the log, and no actor.

// makesGroup reports whether a request makes its group when that does not exist.
func makesGroup(request any) bool {
	switch request.(type) {
	case protocol.GroupJoin, protocol.GroupReset:
		return true
	default:
		return false
	}
}

// refuseNew refuses a request for a group that does not exist; nil when it may make it.
func (g *groups) refuseNew(m *actors.GroupRequest) error {
	if makesGroup(m.Request) {
		return g.full(m.Group)
	}
	switch m.Request.(type) {
	case protocol.GroupHeartbeat, protocol.GroupCommit, protocol.GroupLeave:
		return protocol.ErrNoMember.With("group %s has no members: join again under a new name", m.Group)
	default:
		return protocol.ErrNoGroup.With("no group %s: see metaq group ls", m.Group)
	}
}

// absent answers those who waited for a group that has no record. A join that came while
// the registry was looked at makes the group.
func (g *groups) absent(ctx actor.Context, name string) {
	waiting := g.claiming[name]
	delete(g.claiming, name)
	for _, w := range waiting {
		if err := g.refuseNew(w.request); err != nil {
			w.request.Ticket.Release()
			g.refused(err)
			actors.Respond(ctx, w.from, err)
			continue
		}
		g.request(ctx, w.request, w.from)
	}
}
