package group

import "time"

// failuresPause is the time between two lines about calls of the registry that fail. Clients
// cause them, one with each request for another group, while the registry is away.
const failuresPause = 10 * time.Second

// failures of one kind.
type failures struct {
	told  time.Time // the last line
	count int       // since then
}

// failed logs the first failure of a kind, and then how many there were, once in a while.
func (g *groups) failed(what, group string, err error) {
	f := g.failures[what]
	if f == nil {
		f = &failures{}
		g.failures[what] = f
	}
	f.count++
	now := g.now()
	if !f.told.IsZero() && now.Sub(f.told) < failuresPause && !now.Before(f.told) {
		return
	}
	g.log.Warn("group's registry call failed", "call", what, "group", group, "error", err, "count", f.count)
	*f = failures{told: now}
}
