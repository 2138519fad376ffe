package system

import (
	"context"

	"github.com/asynkron/protoactor-go/actor"

	"metaq/actors"
)

// gatewayStep asks the gateway actor for a step of start or stop. It is answered
// to the parent with stepDone.
type gatewayStep struct {
	step brokerStep
	ctx  context.Context // bounds the step
}

// gateway is the actor in front of the transport: it runs the steps of start and
// stop on workers. Requests do not pass through it: the transport sends them to
// their actors.
type gateway struct {
	env  *actors.Env
	edge actors.Gateway
}

// Receive is the actor.
func (g *gateway) Receive(ctx actor.Context) {
	m, ok := ctx.Message().(gatewayStep)
	if !ok {
		return
	}
	parent, edge := ctx.Parent(), g.edge
	g.env.Calls.Run(func() {
		var err error
		switch m.step {
		case stepGateway:
			err = edge.Start(m.ctx)
		case stepDrain:
			err = edge.Drain(m.ctx)
		case stepCloseGateway:
			err = edge.Close()
		default:
		}
		g.env.Tell(parent, stepDone{m.step, err})
	})
}

// Crashed has nobody to answer.
func (g *gateway) Crashed(actor.Context, error) {}
