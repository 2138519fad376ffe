package actorstest

import (
	"context"
	"iter"

	"github.com/asynkron/protoactor-go/actor"

	"metaq/protocol"
)

// Gateway notes its steps in the registry's story, so that their order can
// be seen.
type Gateway struct {
	R        *Registry
	StartErr error
	System   *actor.ActorSystem // for acknowledgements
}

// Note adds a step to the story.
func (g *Gateway) Note(s string) {
	g.R.Mu.Lock()
	defer g.R.Mu.Unlock()
	g.R.calls = append(g.R.calls, s)
}

// Acknowledge implements actors.Gateway.
func (g *Gateway) Acknowledge(all iter.Seq2[*actor.PID, *protocol.PubAck]) {
	for to, ack := range all {
		if to != nil {
			g.System.Root.Send(to, *ack)
		}
	}
}

// Start implements actors.Gateway.
func (g *Gateway) Start(context.Context) error { g.Note("gateway start"); return g.StartErr }

// Drain implements actors.Gateway.
func (g *Gateway) Drain(context.Context) error { g.Note("gateway drain"); return nil }

// Close implements actors.Gateway.
func (g *Gateway) Close() error { g.Note("gateway close"); return nil }
