package partition

import (
	"iter"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"metaq/actors"
	"metaq/protocol"
)

// Deps is what the partitions of a broker need from the assembly.
type Deps struct {
	Logs actors.LogStore
	// Acknowledge is Gateway.Acknowledge.
	Acknowledge func(all iter.Seq2[*actor.PID, *protocol.PubAck])
	Events      actors.Events
	Elapsed     func() int64          // see the system's Deps
	Metrics     prometheus.Registerer // optional
}

// Env is what the partitions of one broker share. It does not change after the
// start.
type Env struct {
	*actors.Env
	deps    Deps
	metrics *metrics
	ids     *idBudget     // of all partitions
	hands   *actors.Pool  // write, sync and acknowledge next to the actors
	jobs    chan struct{} // a place for each write and sync at a time: each holds a thread
}

// NewEnv returns what partitions share.
func NewEnv(e *actors.Env, deps Deps) *Env {
	p := &Env{
		Env: e, deps: deps, metrics: newMetrics(deps.Metrics),
		ids:   &idBudget{limit: int64(e.Options.MaxMessageIDs)},
		hands: actors.NewPool(), jobs: make(chan struct{}, e.Options.Syncs),
	}
	promauto.With(deps.Metrics).NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "metaq", Name: "message_ids",
		Help: "Message ids that the partitions remember. At maxBrokerMessageIds messages with new ids are refused.",
	}, func() float64 { return float64(p.ids.used.Load()) })
	return p
}

// Finish returns when everything has ended that runs next to the partitions, which have
// all stopped.
func (p *Env) Finish() { p.hands.Wait() }
