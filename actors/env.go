package actors

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"metaq/protocol"
)

// env is what all actors of one broker share. It does not change after Start.
type env struct {
	system  *actor.ActorSystem
	home    int
	deps    Deps
	opts    Options
	log     *slog.Logger
	events  Events
	metrics *metrics
	now     func() time.Time
	elapsed func() int64
	ids     *idBudget // of all partitions
	workers *workers
	calls   *workers      // of the registry
	asks    *workers      // of other brokers: they do not wait for logs that open
	hands   *hands        // of the partitions
	jobs    chan struct{} // a place for each write and sync at a time: each holds a thread
}

// tell sends m to an actor from a worker or a timer.
func (e *env) tell(to *actor.PID, m any) { e.system.Root.Send(to, m) }

// later sends m to an actor after d.
func (e *env) later(d time.Duration, to *actor.PID, m any) *time.Timer {
	return time.AfterFunc(d, func() { e.tell(to, m) })
}

// backoff is the wait before attempt n (from 0) is made: none before the first.
func (o Options) backoff(n int) time.Duration {
	if n == 0 {
		return 0
	}
	return min(o.Retry<<min(n-1, 20), o.MaxRetry)
}

// workers runs slow work outside the actors, a bounded number at a time. What
// was given to it is finished before Wait returns.
type workers struct {
	places chan struct{}
	all    sync.WaitGroup
}

func newWorkers(n int) *workers { return &workers{places: make(chan struct{}, n)} }

// run starts work on a goroutine of its own once there is a place. The work
// sends its result as a message.
func (w *workers) run(work func()) {
	w.all.Go(func() {
		w.places <- struct{}{}
		defer func() { <-w.places }()
		work()
	})
}

// runUntil is run for work that ends with ctx: when that is over before there is a place
// the work runs without one, and returns at once.
func (w *workers) runUntil(ctx context.Context, work func()) {
	w.all.Go(func() {
		select {
		case w.places <- struct{}{}:
			defer func() { <-w.places }()
		case <-ctx.Done():
		}
		work()
	})
}

// wait returns when all work has ended; no more may be given meanwhile.
func (w *workers) wait() { w.all.Wait() }

// respond answers a request, unless nobody waits for an answer.
func respond(ctx actor.Context, to *actor.PID, answer any) {
	if to != nil {
		ctx.Send(to, answer)
	}
}

// refuse answers with err in the form of the wire.
func (e *env) refuse(ctx actor.Context, to *actor.PID, err error) {
	e.metrics.refused(err)
	respond(ctx, to, wireError(err))
}

// wireError keeps a *protocol.RangeError, which has the ends of the log in it,
// and turns every other error into a *protocol.Error.
func wireError(err error) error {
	if r, ok := err.(*protocol.RangeError); ok { //nolint:errorlint // only the bare value has the form of an answer
		return r
	}
	return protocol.AsError(err)
}
