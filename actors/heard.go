package actors

import (
	"context"
	"time"

	"metaq/protocol"
)

// Heard reports whether anybody listens where the answer to a request goes: not when the
// connection that sent it has closed. It does not block, and may be called from any
// goroutine. Nil means that nobody knows.
type Heard func() bool

// ErrUnheard is what a request that nobody waits for is refused with; a count of refusals
// shows it.
var ErrUnheard = protocol.ErrUnavailable.With("nobody waits for the answer any more: nothing was changed, and this request will not be carried out")

// Given refuses a request whose client has gone, or has given up by now: it may have asked
// for something else since, of another broker.
func Given(until, now time.Time, heard Heard) error {
	if heard != nil && !heard() {
		return ErrUnheard
	}
	return Overdue(until, now)
}

// hearPause is the time between two looks whether a change that waits is still asked for.
const hearPause = 100 * time.Millisecond

// WhileHeard returns ctx, which ends as well when nobody waits for the answer any more.
func WhileHeard(ctx context.Context, heard Heard) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := func() { cancel(nil) }
	if heard == nil {
		return ctx, stop
	}
	var look func()
	look = func() {
		switch {
		case ctx.Err() != nil:
		case !heard():
			cancel(ErrUnheard)
		default:
			time.AfterFunc(hearPause, look)
		}
	}
	look()
	return ctx, stop
}
