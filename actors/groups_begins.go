package actors

import (
	"maps"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// How the registry learns when groups begin. Offsets may be mirrored late: who takes over
// continues from older ones. A begin may not: a broker that takes a group over and does not
// know that it has begun lets it begin again, and skips what came in between. So a begin
// is mirrored at once, and whoever waits for the step that logged it also waits for that,
// but no longer than beginWait: while the registry is away nobody can take the group over.

// beginWait bounds how long the answer to a join waits for the registry.
const beginWait = 2 * time.Second

// unmirroredBegins are what the registry does not know yet.
type unmirroredBegins struct {
	due     map[string]map[string]GroupBegin // by group and topic
	waiting map[string]map[*actor.PID]uint64 // by group: who waits for what to be written
	late    map[string]bool                  // groups that do not wait any longer
}

func newUnmirroredBegins() unmirroredBegins {
	return unmirroredBegins{map[string]map[string]GroupBegin{}, map[string]map[*actor.PID]uint64{}, map[string]bool{}}
}

// beginsLate ends the wait for a group's begins.
type beginsLate struct{ group string }

// noteBegins remembers what an entry says of begins, and has it mirrored.
func (g *groups) noteBegins(ctx actor.Context, e *groupEntry) {
	if len(e.Begins) == 0 {
		return
	}
	if g.begins.due[e.Group] == nil {
		g.begins.due[e.Group] = map[string]GroupBegin{}
	}
	for _, b := range e.Begins {
		g.begins.due[e.Group][b.Topic] = b
	}
	if !g.begins.late[e.Group] {
		g.later(beginWait, ctx.Self(), beginsLate{e.Group})
	}
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
func (g *groups) beginsLate(ctx actor.Context, group string) {
	if g.begins.due[group] == nil {
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
	g.beginsMirrored(ctx, group)
}

// mirroredBegins takes the result of a mirror: what failed comes again.
func (g *groups) mirroredBegins(ctx actor.Context, group string, mirror GroupMirror, err error) {
	due := g.begins.due[group]
	for _, b := range mirror.Begins {
		if now, found := due[b.Topic]; err == nil && found && now.same(b) {
			delete(due, b.Topic)
		}
	}
	if len(due) == 0 {
		g.dropBegins(ctx, group)
	}
}

func (b GroupBegin) same(c GroupBegin) bool {
	return b.At.Equal(c.At) && b.Born == c.Born && b.Gone == c.Gone && maps.Equal(b.Homes, c.Homes)
}

// beginsOf are those of a group that are to be mirrored, sorted by topic.
func (u *unmirroredBegins) beginsOf(group string) []GroupBegin {
	var out []GroupBegin
	for _, t := range slices.Sorted(maps.Keys(u.due[group])) {
		out = append(out, u.due[group][t])
	}
	return out
}

// foreignBegins are those that a claim found in the registry and that the log does not
// have, or has as later ones: a group begins once.
func foreignBegins(image *groupImage, mirror []GroupBegin) []GroupBegin {
	return slices.DeleteFunc(slices.Clone(mirror), func(b GroupBegin) bool {
		if image == nil {
			return false
		}
		own, found := image.begins[b.Topic]
		return found && !b.At.Before(own.At)
	})
}
