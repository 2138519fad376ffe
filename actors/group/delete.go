package group

import (
	"context"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"metaq/actors"
	"metaq/protocol"
)

// How a group is deleted where there is a registry: there first, then in the log. The other
// way round, a broker that stops in between would leave offsets behind that come back with
// the next claim, though the deletion was answered. Until the registry has answered, what
// the group's actor wants logged waits, and with it all its answers.

// deleteTimeout bounds a deletion, from the request on; clients wait a little longer.
const deleteTimeout = 3500 * time.Millisecond

// groupDeletion is the deletion of a group that the registry does not know of yet.
type groupDeletion struct {
	writes []groupWrite // the deletion and what came after it; none when their sender was given up
	until  time.Time
}

// deletes says whether an entry has to wait for the deletion of its group, or is one.
func (g *groups) deletes(ctx actor.Context, w groupWrite) bool {
	name := w.entry.Group
	if d := g.deletions[name]; d != nil {
		d.writes = append(d.writes, w)
		return true
	}
	if !w.entry.Deleted || g.deps.Coordination == nil {
		return false
	}
	g.flush(ctx, true) // what comes before it is noted for the mirror now, not later
	if g.journal.store == nil {
		return true // and all groups were given up
	}
	delete(g.unmirrored, name)
	g.dropBegins(ctx, name)
	g.deletions[name] = &groupDeletion{writes: []groupWrite{w}, until: g.now().Add(deleteTimeout)}
	g.doomed = append(g.doomed, name)
	g.deleteNext(ctx)
	return true
}

// deleteNext lets a worker delete the next group, unless the registry is written to.
func (g *groups) deleteNext(ctx actor.Context) {
	for len(g.doomed) > 0 && len(g.deletions[g.doomed[0]].writes) == 0 {
		g.spare(ctx, g.doomed[0])
		g.doomed = g.doomed[1:]
	}
	if g.mirroring || len(g.doomed) == 0 {
		return
	}
	name := g.doomed[0]
	g.doomed, g.mirroring = g.doomed[1:], true
	heard := g.deletions[name].writes[0].heard
	self, registry, left := ctx.Self(), g.deps.Coordination, g.deletions[name].until.Sub(g.now())
	g.workers.Run(func() {
		ctx, cancel := context.WithTimeout(context.Background(), left)
		defer cancel()
		m := groupDeleted{group: name}
		if m.err = actors.Given(time.Time{}, time.Time{}, heard); m.err == nil {
			m.err = ctx.Err()
		}
		if m.err == nil {
			m.epoch, m.err = registry.DeleteGroup(ctx, name)
		}
		g.system.Root.Send(self, m)
	})
}

// groupDeleted takes the result. When it cannot simply go on, the group is claimed anew,
// which tells whether it was deleted.
func (g *groups) groupDeleted(ctx actor.Context, m groupDeleted) {
	g.mirroring = false
	writes := g.deletions[m.group].writes
	delete(g.deletions, m.group)
	child := g.children[m.group]
	switch {
	case m.err == nil && len(writes) > 0 && g.claims[m.group] > 0 && g.journal.store != nil:
		g.claims[m.group] = m.epoch
		due := g.line(ctx, writes[0])
		for _, w := range writes[1:] { // it may have been deleted again since
			due = g.stage(ctx, w) || due
		}
		if due {
			ctx.Send(ctx.Self(), groupsFlush{})
		}
	default:
		if m.err != nil {
			g.failed("delete", m.group, m.err)
			g.spare(ctx, m.group)
		}
		delete(g.claims, m.group)
		refusal := protocol.ErrUnavailable.With("group %s: the registry has not confirmed the deletion: %v: it may still be carried out: look with metaq group info %s", m.group, m.err, m.group)
		g.abandon(ctx, refusal, func(pid *actor.PID) bool { return child != nil && child.pid.Equal(pid) })
	}
	g.registryFree(ctx)
}

// spare ends a deletion that has not happened. What was not mirrored, because of it, and
// what may be gone in the registry is mirrored again.
func (g *groups) spare(ctx actor.Context, name string) {
	delete(g.deletions, name)
	if image := g.journal.images[name]; image != nil {
		g.noteImage(ctx, name, image)
	}
}
