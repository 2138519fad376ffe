package actors

import (
	"log/slog"
	"strconv"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"metaq/protocol"
)

// Env is what the actors of all rooms share. It does not change after the start.
type Env struct {
	System  *actor.ActorSystem
	Home    int     // id of this broker
	Options Options // with defaults
	Log     *slog.Logger
	Now     func() time.Time
	Workers *Workers
	Calls   *Workers // of the registry
	Asks    *Workers // of other brokers: they do not wait for logs that open

	refusals *prometheus.CounterVec
}

// registryWorkers bounds the calls of the registry that run at a time, and askWorkers the
// questions to other brokers.
const (
	registryWorkers = 16
	askWorkers      = 256
)

// NewEnv returns what actors share; metrics may be nil.
func NewEnv(system *actor.ActorSystem, home int, opts Options, log *slog.Logger, now func() time.Time, metrics prometheus.Registerer) *Env {
	opts = opts.WithDefaults()
	return &Env{
		System: system, Home: home, Options: opts, Log: log, Now: now,
		Workers: NewWorkers(opts.Workers), Calls: NewWorkers(registryWorkers), Asks: NewWorkers(askWorkers),
		refusals: promauto.With(metrics).NewCounterVec(prometheus.CounterOpts{
			Namespace: "metaq", Name: "refusals_total",
			Help: "Requests refused by the actors, by code. 503 rising means partitions that do not serve, 409 clients that contradict themselves.",
		}, []string{"code"}),
	}
}

// Wait returns when all workers have ended; no work may be given to them any more.
func (e *Env) Wait() {
	e.Workers.Wait()
	e.Calls.Wait()
	e.Asks.Wait()
}

// Refused counts a refusal.
func (e *Env) Refused(err error) {
	e.refusals.WithLabelValues(strconv.Itoa(protocol.AsError(err).Code)).Inc()
}

// Tell sends m to an actor from a worker or a timer.
func (e *Env) Tell(to *actor.PID, m any) { e.System.Root.Send(to, m) }

// Later sends m to an actor after d.
func (e *Env) Later(d time.Duration, to *actor.PID, m any) *time.Timer {
	return time.AfterFunc(d, func() { e.Tell(to, m) })
}

// Backoff is the wait before attempt n (from 0) is made: none before the first.
func (o Options) Backoff(n int) time.Duration {
	if n == 0 {
		return 0
	}
	return min(o.Retry<<min(n-1, 20), o.MaxRetry)
}

// Respond answers a request, unless nobody waits for an answer.
func Respond(ctx actor.Context, to *actor.PID, answer any) {
	if to != nil {
		ctx.Send(to, answer)
	}
}

// Refuse answers with err in the form of the wire.
func (e *Env) Refuse(ctx actor.Context, to *actor.PID, err error) {
	e.Refused(err)
	Respond(ctx, to, WireError(err))
}
