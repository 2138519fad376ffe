package actors

import (
	"context"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"metaq/protocol"
)

// How a native producer comes by its id: the cluster actor takes a block of ids
// from the registry and grants them one by one, so that the start of a producer
// writes nothing, and waits for the registry only when the block is used up.

const (
	// blockSize is how many ids one write takes. What is left at a stop is lost.
	blockSize = 1000
	// blockTimeout bounds the call: who asked asks again.
	blockTimeout = 4 * time.Second
)

// producerIDs is the rest of a block, and who waits for the next one.
type producerIDs struct {
	next, end int64
	asking    bool
	waiting   []*actor.PID // bounded by the gateway, which admits their requests
}

// producerBlock is the result of taking a block.
type producerBlock struct {
	first int64
	err   error
}

// grant answers one who asks for an id.
func (c *cluster) grant(ctx actor.Context) {
	c.ids.waiting = append(c.ids.waiting, ctx.Sender())
	c.grantWaiting(ctx)
}

// grantWaiting hands ids out while there are any, and asks for more before they end.
func (c *cluster) grantWaiting(ctx actor.Context) {
	ids := &c.ids
	for len(ids.waiting) > 0 && ids.next < ids.end {
		respond(ctx, ids.waiting[0], protocol.ProducerGrant{Producer: ids.next})
		ids.next++
		ids.waiting = ids.waiting[1:]
	}
	if ids.asking || ids.end-ids.next > blockSize/2 {
		return
	}
	ids.asking = true
	ctx.Send(ctx.Self(), registryCall{to: ctx.Self(), do: func(ctx context.Context, r Registry) any {
		ctx, cancel := context.WithTimeout(ctx, blockTimeout)
		defer cancel()
		first, err := r.TakeProducerIDs(ctx, c.env.now(), blockSize)
		return producerBlock{first, err}
	}})
}

// blockTaken takes the result.
func (c *cluster) blockTaken(ctx actor.Context, m producerBlock) {
	c.ids.asking = false
	if m.err != nil {
		c.env.log.Warn("no producer ids from the registry", "left", c.ids.end-c.ids.next, "error", m.err)
		c.refuseProducers(ctx, wireError(m.err))
		return
	}
	// What is left of the block before is given up: ids are plenty.
	c.ids.next, c.ids.end = m.first, m.first+blockSize
	c.grantWaiting(ctx)
}

// refuseProducers answers all who wait.
func (c *cluster) refuseProducers(ctx actor.Context, err error) {
	for _, to := range c.ids.waiting {
		c.env.refuse(ctx, to, err)
	}
	c.ids.waiting = nil
}
