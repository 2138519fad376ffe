package actors

import (
	"cmp"
	"context"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"metaq/protocol"
)

// registryCall asks the cluster actor for a call of the registry. do runs on a
// worker; what it returns is sent to to.
type registryCall struct {
	to     *actor.PID
	within time.Duration // from now, the wait for a worker too; 0: Options.CallTimeout
	do     func(context.Context, Registry) any
	heard  Heard // the call ends as well when nobody waits for it any more
}

// cluster is the only user of the registry. It calls it on workers, because the
// calls may block, and sends the results as messages.
type cluster struct {
	env    *env
	ctx    context.Context // of the calls: ends with the actor
	cancel context.CancelFunc
	ids    producerIDs
}

// registryWorkers is how many calls of the registry run at a time, and askWorkers how many
// questions to other brokers.
const (
	registryWorkers = 16
	askWorkers      = 256
)

func newCluster(e *env) *cluster {
	c := &cluster{env: e}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// Receive is the actor.
func (c *cluster) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case registryCall:
		call, cancel := context.WithTimeout(c.ctx, cmp.Or(m.within, c.env.opts.CallTimeout))
		call, done := whileHeard(call, m.heard)
		c.env.calls.runUntil(call, func() {
			defer cancel()
			defer done()
			c.env.tell(m.to, m.do(call, c.env.deps.Registry))
		})
	case GrantProducer:
		c.grant(ctx)
	case takeBlock:
		c.ids.paused = false
		c.grantWaiting(ctx)
	case producerBlock:
		c.blockTaken(ctx, m)
	case *actor.Stopping, *actor.Restarting:
		c.cancel()
		c.refuseProducers(ctx, protocol.ErrUnavailable.With("the broker is stopping: try again"))
	}
}

// crashed answers who waits for an id; the calls that run send their results.
func (c *cluster) crashed(ctx actor.Context, err error) {
	c.refuseProducers(ctx, protocol.ErrUnavailable.With("%v: try again", err))
}
