package system

import (
	"cmp"
	"context"

	"github.com/asynkron/protoactor-go/actor"

	"metaq/actors"
	"metaq/protocol"
)

// cluster is the only user of the registry. It calls it on workers, because the
// calls may block, and sends the results as messages.
type cluster struct {
	env      *actors.Env
	registry actors.Registry
	ctx      context.Context // of the calls: ends with the actor
	cancel   context.CancelFunc
	ids      producerIDs
}

func newCluster(e *actors.Env, registry actors.Registry) *cluster {
	c := &cluster{env: e, registry: registry}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// Receive is the actor.
func (c *cluster) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case actors.RegistryCall:
		call, cancel := context.WithTimeout(c.ctx, cmp.Or(m.Within, c.env.Options.CallTimeout))
		call, done := actors.WhileHeard(call, m.Heard)
		c.env.Calls.RunUntil(call, func() {
			defer cancel()
			defer done()
			c.env.Tell(m.To, m.Do(call, c.registry))
		})
	case actors.GrantProducer:
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

// Crashed answers who waits for an id; the calls that run send their results.
func (c *cluster) Crashed(ctx actor.Context, err error) {
	c.refuseProducers(ctx, protocol.ErrUnavailable.With("%v: try again", err))
}
