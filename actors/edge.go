package actors

import (
	"context"
	"iter"

	"github.com/asynkron/protoactor-go/actor"

	"metaq/protocol"
)

// Gateway is the edge to the network. Start, Drain and Close are called once, in
// this order, from workers. A gateway that cannot go on says so through
// System.Fail.
type Gateway interface {
	// Acknowledge sends acknowledgements, in their order. A nil PID means that nobody
	// waits for that one; the acknowledgement changes when the next is asked for. It is
	// called from any goroutine.
	Acknowledge(all iter.Seq2[*actor.PID, *protocol.PubAck])
	// Start begins to take requests. The routes are published by then.
	Start(ctx context.Context) error
	// Drain stops taking requests and returns when all that were taken have been
	// sent on to their actors; their answers may still be on the way.
	Drain(ctx context.Context) error
	// Close sends the answers that are left and ends the connection.
	Close() error
}
