package group

import (
	"maps"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"metaq/actors/group/core"
)

// How the registry learns when groups begin. Offsets may be mirrored late: who takes over
// continues from older ones. A begin may not: a broker that takes a group over and does not
// know that it has begun lets it begin again, and skips what came in between. So a begin
// is mirrored at once, and whoever waits for the step that logged it also waits for that,
// but no longer than beginWait: while the registry is away nobody can take the group over.

// beginWait bounds how long the answer to a join waits for the registry.
const beginWait = 2 * time.Second

// beginsAtOnce is how many groups' begins one call to the registry writes: each is a read and
// mostly a write.
const beginsAtOnce = 500

// unmirroredBegins are what the registry does not know yet.
type unmirroredBegins struct {
	due     map[string]map[string]core.Begin // by group and topic
	waiting map[string]map[*actor.PID]uint64 // by group: who waits for what to be written
	late    map[string]bool                  // groups that do not wait any longer
	wait    map[string]uint64                // by group: the timer that ends its wait; earlier ones do not
	waits   uint64
	paused  bool // after an error; beginsRetry ends it
}

func newUnmirroredBegins() unmirroredBegins {
	return unmirroredBegins{
		due: map[string]map[string]core.Begin{}, waiting: map[string]map[*actor.PID]uint64{}, late: map[string]bool{},
		wait: map[string]uint64{},
	}
}

// beginsLate ends the wait for a group's begins, beginsRetry the pause after an error.
type (
	beginsLate struct {
		group string
		wait  uint64
	}
	beginsRetry struct{}
)

// noteBegins remembers what an entry says of begins, and has it mirrored.
func (g *groups) noteBegins(ctx actor.Context, e *core.Entry) {
	if len(e.Begins) == 0 {
		return
	}
	if g.begins.due[e.Group] == nil {
		g.begins.due[e.Group] = map[string]core.Begin{}
		g.waitForBegins(ctx, e.Group)
	}
	for _, b := range e.Begins {
		g.begins.due[e.Group][b.Topic] = b
	}
}

// waitForBegins gives the registry beginWait from now on. A timer that runs still is of begins
// that the registry has taken.
func (g *groups) waitForBegins(ctx actor.Context, group string) {
	g.begins.waits++
	g.begins.wait[group] = g.begins.waits
	g.later(beginWait, ctx.Self(), beginsLate{group, g.begins.waits})
}

// holds reports whether a group has to wait before it answers for the entries up to seq.
func (u *unmirroredBegins) holds(group string, to *actor.PID, seq uint64) bool {
	if u.due[group] == nil || u.late[group] {
		return false
	}
	if u.waiting[group] == nil {
		u.waiting[group] = map[*actor.PID]uint64{}
	}
	u.waiting[group][to] = seq
	return true
}

// beginsMirrored lets a group answer: the registry knows its begins, or has not answered.
func (g *groups) beginsMirrored(ctx actor.Context, group string) {
	for to, seq := range g.begins.waiting[group] {
		ctx.Send(to, groupWritten{seq})
	}
	delete(g.begins.waiting, group)
}

// beginsLate lets a group answer whose begins the registry has not taken in time.
func (g *groups) beginsLate(ctx actor.Context, m beginsLate) {
	group := m.group
	if g.begins.due[group] == nil || g.begins.late[group] || g.begins.wait[group] != m.wait {
		return
	}
	g.log.Warn("registry has not taken when a group began: until it does, another coordinator would let the group begin again", "group", group)
	g.begins.late[group] = true
	g.beginsMirrored(ctx, group)
}

// dropBegins forgets those of a group that is being deleted.
func (g *groups) dropBegins(ctx actor.Context, group string) {
	delete(g.begins.due, group)
	delete(g.begins.late, group)
	delete(g.begins.wait, group)
	g.beginsMirrored(ctx, group)
}

// mirroredBegins takes the result of a mirror: what failed comes again.
func (g *groups) mirroredBegins(ctx actor.Context, group string, mirror Mirror, err error) {
	due := g.begins.due[group]
	for _, b := range mirror.Begins {
		if now, found := due[b.Topic]; err == nil && found && now.Same(b) {
			delete(due, b.Topic)
		}
	}
	if len(due) == 0 {
		g.dropBegins(ctx, group)
	} else if err == nil && !g.begins.late[group] {
		g.waitForBegins(ctx, group) // for those that were noted during the write
	}
}

// beginsFailed deals with an error of the registry. While it is away nobody waits for it; any
// other error is over soon, and members wait for the next try as they do for the first.
func (g *groups) beginsFailed(ctx actor.Context, offsets map[string]Mirror) {
	away := g.deps.Coordination.Away() != nil
	for name, mirror := range offsets {
		if len(mirror.Begins) > 0 && g.begins.due[name] != nil && away {
			g.begins.late[name] = true // the next try comes with the offsets
			g.beginsMirrored(ctx, name)
		}
	}
	if len(g.begins.due) > len(g.begins.late) && !g.begins.paused {
		g.begins.paused = true
		g.later(g.deps.Retry, ctx.Self(), beginsRetry{})
	}
}

// beginsOf are those of a group that are to be mirrored, sorted by topic.
func (u *unmirroredBegins) beginsOf(group string) []core.Begin {
	var out []core.Begin
	for _, t := range slices.Sorted(maps.Keys(u.due[group])) {
		out = append(out, u.due[group][t])
	}
	return out
}

// foreignBegins are those that a claim found in the registry and that the log does not
// have, or has as later ones: a group begins once.
func foreignBegins(image *core.Image, mirror []core.Begin) []core.Begin {
	return slices.DeleteFunc(slices.Clone(mirror), func(b core.Begin) bool {
		if image == nil {
			return false
		}
		own, found := image.Begins[b.Topic]
		return found && !b.At.Before(own.At)
	})
}
