package groups

import (
	"context"
	"log/slog"
	"strings"
	"time"
)

// On a busy machine a process may not run for longer than a session lasts. Nobody outside
// knows that, so a member tells of its own, and the judge takes it for an incident.

// What a member says of itself.
const (
	didStall  = "stalled" // it did not run for a while
	didExpire = "expired" // no heartbeat was answered for a session, by its own clock
)

// shareOfSession is how much of a session a stall takes that may cost it: heartbeats come
// three in a session.
const shareOfSession = 5

// watchStalls calls stalled for each time that this process did not run for longer than most,
// until ctx ends.
func watchStalls(ctx context.Context, most time.Duration, stalled func(began, ended time.Time)) {
	tick := time.NewTicker(most / 10)
	defer tick.Stop()
	for last := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		if now.Sub(last) > most {
			stalled(last, now)
		}
		last = now
	}
}

// expiries tells when the client logs that its session has expired by its own clock.
type expiries struct {
	slog.Handler
	tell func()
}

func (h expiries) Handle(ctx context.Context, r slog.Record) error {
	expired := strings.HasPrefix(r.Message, "group session expired")
	r.Attrs(func(a slog.Attr) bool {
		expired = expired || a.Key == "expired" && a.Value.Kind() == slog.KindBool && a.Value.Bool()
		return true
	})
	if expired {
		h.tell()
	}
	return h.Handler.Handle(ctx, r)
}

func (h expiries) WithAttrs(attrs []slog.Attr) slog.Handler {
	return expiries{h.Handler.WithAttrs(attrs), h.tell}
}

func (h expiries) WithGroup(name string) slog.Handler {
	return expiries{h.Handler.WithGroup(name), h.tell}
}

// suffers notes what a member says that it went through.
func (j *judge) suffers(what, member string, began, ended time.Time) {
	j.happens(what, member, began)(ended)
}

// stalled reports whether the machine stood still for some time; then no time can be expected
// of anybody.
func (j *judge) stalled() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, n := range j.incidents {
		if n.what == machineStalled {
			return true
		}
	}
	return false
}

// machineStalled is a stall of the test's own process.
const machineStalled = "machine stalled"
