package group

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"metaq/actors"
	"metaq/actors/group/core"
	"metaq/protocol"
)

// How the groups actor uses the registry: it claims groups, and mirrors their
// offsets. Without a Coordination both are nothing.

// claimTimeout bounds one claim, registryTimeout one mirror, and lastTimeout the last mirror of a broker
// that stops: it does not wait for a registry that is away.
const (
	claimTimeout    = 3500 * time.Millisecond // somebody waits, and gives up after 5 s
	registryTimeout = 30 * time.Second
	lastTimeout     = 2 * time.Second
)

// claim reports whether the group is this broker's. When that is not known yet it is
// claimed, and claimed is called with the result. A claim writes a record that stays, so
// without makes, or where there is no room for another group, only one that has a record is
// claimed: anybody may ask for names that nobody has.
func (g *groups) claim(ctx actor.Context, name string, makes bool) bool {
	if g.deps.Coordination == nil || g.claims[name] > 0 {
		return true
	}
	if _, waits := g.claiming[name]; waits {
		return false
	}
	g.claiming[name] = nil
	known := protocol.Epoch(0)
	if image := g.journal.images[name]; image != nil {
		known = image.Epoch
		makes = true
	}
	look := !makes || known == 0 && g.full(name) != nil
	self, registry := ctx.Self(), g.deps.Coordination
	call, cancel := context.WithTimeout(g.calls, claimTimeout)
	g.workers.RunUntil(call, func() {
		defer cancel()
		m := groupClaimed{group: name, term: registry.Term()}
		if look {
			var recorded bool
			recorded, m.err = registry.GroupRecorded(call, name)
			m.absent = m.err == nil && !recorded
		}
		if m.err == nil && !m.absent {
			m.epoch, m.err = registry.ClaimGroup(call, name)
		}
		// The log is the truth when nobody claimed the group since it was ours. Else
		// the mirror is: it may lag behind what another coordinator had committed,
		// but it never skips a message.
		if m.foreign = m.epoch != known+1; m.err == nil && m.foreign && !m.absent {
			m.mirror, m.err = registry.GroupOffsets(call, name)
		}
		g.system.Root.Send(self, m)
	})
	return false
}

// claimed takes the result of a claim.
func (g *groups) claimed(ctx actor.Context, m groupClaimed) {
	var other *CoordinatedElsewhere
	if errors.As(m.err, &other) && !g.stopping {
		g.elsewhere[m.group] = foreignGroup{other.Broker, g.now().Add(foreignTTL)}
		waiting := g.claiming[m.group]
		delete(g.claiming, m.group)
		for _, w := range waiting {
			if !g.sendOn(ctx, w.request) {
				w.request.Ticket.Release()
				actors.Respond(ctx, w.from, protocol.ErrUnavailable.With("group %s: %v: try again", m.group, other))
			}
		}
		return
	}
	if f, known := g.elsewhere[m.group]; known && m.err != nil {
		// The registry does not answer. Who had the group last is still the best guess.
		f.until = g.now().Add(foreignTTL)
		g.elsewhere[m.group] = f
	} else {
		delete(g.elsewhere, m.group)
	}
	if m.err != nil || g.stopping || g.refusal != nil {
		refusal := actors.ErrGone
		if m.err != nil {
			g.failed("claim", m.group, m.err)
			refusal = protocol.ErrUnavailable.With("group %s has no coordinator, and none can be found: %v: nothing was done, and this request will not be carried out: try again", m.group, m.err)
		}
		g.refuseClaimants(ctx, m.group, refusal)
		return
	}
	if m.absent {
		g.absent(ctx, m.group)
		return
	}
	g.claims[m.group], g.terms[m.group] = m.epoch, m.term
	if entry := g.claimEntry(m); entry != nil {
		g.put(ctx, groupWrite{entry: *entry, from: ctx.Self()})
		g.flush(ctx, true)
	}
	waiting := g.claiming[m.group]
	delete(g.claiming, m.group)
	if image := g.journal.images[m.group]; image != nil {
		g.noteImage(ctx, m.group, image)
		g.child(ctx, m.group)
	}
	for _, w := range waiting {
		g.request(ctx, w.request, w.from)
	}
	if g.children[m.group] == nil && g.journal.images[m.group] == nil && len(g.claims) > 2*g.deps.MaxGroups {
		delete(g.claims, m.group) // names that nobody has are not remembered without bound
		delete(g.terms, m.group)
	}
}

// claimEntry is what the log has to know of a claim; nil where there is no such group.
func (g *groups) claimEntry(m groupClaimed) *core.Entry {
	image := g.journal.images[m.group]
	// The epoch goes to the log at once, so that the next claim can tell that
	// nobody else came in between.
	e := &core.Entry{Group: m.group, Epoch: m.epoch}
	switch {
	case !m.foreign && image == nil:
		return nil // its first step logs the epoch
	case !m.foreign:
		return e
	}
	gone := image == nil || m.mirror.Deleted >= image.Epoch
	if gone && len(m.mirror.Offsets) == 0 && len(m.mirror.Begins) == 0 {
		if e.Deleted = true; image == nil {
			return nil
		}
		return e
	}
	// Offsets that the mirror does not have stay, unless the group was deleted in between:
	// the log's are the only ones.
	e.State, e.Offsets, e.Born, e.Snapshot = &core.State{Generation: firstGeneration(m.epoch)}, m.mirror.Offsets, m.mirror.Born, gone
	if e.Begins = m.mirror.Begins; !gone {
		e.Begins = foreignBegins(image, m.mirror.Begins)
	}
	if image != nil {
		e.State.Generation = max(e.State.Generation, image.State.Generation+1)
	}
	return e
}

// foreignGroup is a group that another broker coordinates.
type foreignGroup struct {
	broker int
	until  time.Time
}

// foreignTTL is how long that is believed without asking the registry again.
const foreignTTL = time.Second

// sendOn gives a request to the broker that coordinates its group, if that is known
// to be another one. The registry is asked again now and then, and nobody waits for it:
// running groups go on while it is away.
func (g *groups) sendOn(ctx actor.Context, m *actors.GroupRequest) bool {
	f, found := g.elsewhere[m.Group]
	if !found || m.Elsewhere == nil || g.claims[m.Group] > 0 {
		return false
	}
	if !g.now().Before(f.until) {
		g.claim(ctx, m.Group, makesGroup(m.Request))
	}
	m.Elsewhere(f.broker) // before the ticket is given back: it may keep what the ticket holds
	m.Ticket.Release()
	return true
}

// disown forgets all claims. The groups' members ask again, which claims them anew.
func (g *groups) disown(ctx actor.Context) {
	if g.deps.Coordination == nil || g.stopping {
		return
	}
	g.flush(ctx, true)
	clear(g.claims)
	clear(g.elsewhere)
	clear(g.idle.held)
	g.abandon(ctx, protocol.ErrUnavailable.With("the group's coordinator is being found: try again"), func(*actor.PID) bool { return true })
}

func (g *groups) refuseClaimants(ctx actor.Context, name string, refusal error) {
	for _, w := range g.claiming[name] {
		w.request.Ticket.Release()
		g.refused(refusal)
		actors.Respond(ctx, w.from, refusal)
	}
	delete(g.claiming, name)
}

// noteMirror remembers what an entry changed, for the next mirror.
func (g *groups) noteMirror(ctx actor.Context, e *core.Entry) {
	if g.deps.Coordination == nil || len(e.Offsets) == 0 && len(e.Begins) == 0 {
		return
	}
	g.noteBegins(ctx, e)
	if len(e.Offsets) > 0 && g.unmirrored[e.Group] == nil {
		g.unmirrored[e.Group] = map[protocol.TopicPartition]core.Place{}
	}
	for i := range e.Offsets {
		g.unmirrored[e.Group][e.Offsets[i].At()] = core.PlaceIn(&e.Offsets[i])
	}
	g.armMirror(ctx)
}

// noteImage has all offsets of a group mirrored. Which of them an earlier run had mirrored
// before it was killed, nobody remembers: it would be those that a coordinator elsewhere
// begins at.
func (g *groups) noteImage(ctx actor.Context, name string, image *core.Image) {
	e := image.Snapshot(name)
	g.noteMirror(ctx, &e)
}

// findHeld looks for the groups of the log that are still this broker's, to have them
// mirrored: those without members are not claimed until somebody asks for them.
func (g *groups) findHeld(ctx actor.Context, attempt int) {
	if g.deps.Coordination == nil || g.stopping || g.journal.store == nil || len(g.journal.images) == 0 {
		return
	}
	epochs := make(map[string]protocol.Epoch, len(g.journal.images))
	for name, image := range g.journal.images {
		epochs[name] = image.Epoch
	}
	self, registry, calls := ctx.Self(), g.deps.Coordination, g.calls
	g.workers.Run(func() {
		ctx, cancel := context.WithTimeout(calls, registryTimeout)
		defer cancel()
		m := groupsHeld{attempt: attempt}
		m.groups, m.err = registry.HeldGroups(ctx, epochs)
		g.system.Root.Send(self, m)
	})
}

// held takes the result, or has the look taken again: the registry may come later.
func (g *groups) held(ctx actor.Context, m groupsHeld) {
	if g.stopping {
		return
	}
	if m.err != nil {
		g.log.Warn("cannot look which groups are still coordinated here, trying again", "error", m.err)
		g.later(min(g.deps.Retry<<min(m.attempt, 20), g.deps.MaxRetry), ctx.Self(), lookHeld{m.attempt + 1})
		return
	}
	for _, name := range m.groups {
		g.idle.held[name] = true
		// One that has been claimed since has its offsets noted by that.
		if image := g.journal.images[name]; image != nil && g.deletions[name] == nil && g.claims[name] == 0 {
			g.noteImage(ctx, name, image)
		}
	}
}

func (g *groups) armMirror(ctx actor.Context) {
	if len(g.begins.due) > len(g.begins.late) && !g.mirroring && !g.begins.paused {
		g.mirror(ctx, true) // members wait for it
		return
	}
	if g.timer == nil && !g.mirroring && len(g.unmirrored)+len(g.begins.due) > 0 {
		g.timer = g.later(g.deps.SyncTime, ctx.Self(), mirrorDue{})
	}
}

// takeUnmirrored hands out what is to be mirrored, or only when groups began. The topics
// are those of now: had one been made again since an offset was noted, that offset would
// have been noted again, as 0.
// It hands out the begins of so few groups that a slow registry takes them in one call:
// after a start all groups have some.
func (g *groups) takeUnmirrored(begins bool, most int) map[string]Mirror {
	out := make(map[string]Mirror, len(g.unmirrored))
	for name := range g.begins.due {
		if len(out) == most {
			break
		}
		out[name] = Mirror{Begins: g.begins.beginsOf(name)}
	}
	if begins {
		return out
	}
	for name, offsets := range g.unmirrored {
		m := out[name]
		m.Offsets = core.Positions(offsets)
		if image := g.journal.images[name]; image != nil {
			m.Born = maps.Clone(image.Born)
		}
		out[name] = m
	}
	clear(g.unmirrored)
	return out
}

// mirror writes what changed, or only when groups began, all in one call.
func (g *groups) mirror(ctx actor.Context, begins bool) {
	if g.mirroring || len(g.begins.due) == 0 && (begins || len(g.unmirrored) == 0) {
		return
	}
	g.mirroring = true
	offsets := g.takeUnmirrored(begins, beginsAtOnce)
	self, registry := ctx.Self(), g.deps.Coordination
	g.workers.Run(func() {
		ctx, cancel := context.WithTimeout(context.Background(), registryTimeout)
		defer cancel()
		g.system.Root.Send(self, mirrorDone{offsets, registry.MirrorOffsets(ctx, offsets)})
	})
}

// mirrored takes the result; what failed comes again, unless it is older than
// what is to be mirrored by now.
func (g *groups) mirrored(ctx actor.Context, m mirrorDone) {
	g.mirroring = false
	g.metrics.mirrors.Inc()
	if m.err != nil {
		g.log.Warn("cannot mirror offsets, trying again", "error", m.err)
		for name, mirror := range m.offsets {
			if g.deletions[name] != nil {
				continue
			}
			if len(mirror.Offsets) > 0 && g.unmirrored[name] == nil {
				g.unmirrored[name] = map[protocol.TopicPartition]core.Place{}
			}
			for i := range mirror.Offsets {
				p := &mirror.Offsets[i]
				if _, newer := g.unmirrored[name][p.At()]; !newer {
					g.unmirrored[name][p.At()] = core.PlaceIn(p)
				}
			}
		}
	}
	for name, mirror := range m.offsets {
		if len(mirror.Begins) > 0 {
			g.mirroredBegins(ctx, name, mirror, m.err)
		}
	}
	if m.err != nil {
		g.beginsFailed(ctx, m.offsets)
	}
	g.registryFree(ctx)
}

// registryFree goes on with what waited while the registry was written to.
func (g *groups) registryFree(ctx actor.Context) {
	if g.stopping {
		if len(g.children) == 0 {
			ctx.Send(ctx.Self(), groupsEnd{}) // it waits for this
		}
		return
	}
	g.deleteNext(ctx)
	g.armMirror(ctx)
}

// lastMirror writes what is left when the groups stop, and says when that is done.
func (g *groups) lastMirror() {
	if g.deps.Coordination == nil || len(g.unmirrored)+len(g.begins.due) == 0 {
		g.rested()
		return
	}
	offsets := g.takeUnmirrored(false, len(g.begins.due))
	g.workers.Run(func() {
		defer g.rested()
		ctx, cancel := context.WithTimeout(context.Background(), lastTimeout)
		defer cancel()
		if err := g.deps.Coordination.MirrorOffsets(ctx, offsets); err != nil {
			g.log.Warn("cannot mirror the last offsets", "error", err)
		}
	})
}
