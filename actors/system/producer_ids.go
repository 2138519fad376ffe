package system

import (
	"context"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"metaq/actors"
	"metaq/protocol"
)

// How a native producer comes by its id: the cluster actor takes a block of ids
// from the registry when the broker starts, and the next one when half of it is left. It
// grants them one by one, so that the start of a producer writes nothing, and waits for the
// registry only when that has been away for 500 grants or more.

const (
	// blockSize is how many ids one write takes. What is left at a stop is lost.
	blockSize = 1000
	// blockTimeout bounds the call: who asked asks again.
	blockTimeout = 3500 * time.Millisecond
)

// producerIDs is the rest of a block, and who waits for the next one.
type producerIDs struct {
	next, end int64
	asking    bool
	failed    int          // attempts in a row
	paused    bool         // the next attempt comes with takeBlock, or with a request when no id is left
	waiting   []*actor.PID // bounded by the gateway, which admits their requests
}

// takeBlock asks the cluster actor to see that there are ids: when the broker starts, and
// after an attempt that failed.
type takeBlock struct{ actors.IgnoreDeadLetter }

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
		actors.Respond(ctx, ids.waiting[0], protocol.ProducerGrant{Producer: ids.next})
		ids.next++
		ids.waiting = ids.waiting[1:]
	}
	if ids.asking || ids.end-ids.next > blockSize/2 || ids.paused && len(ids.waiting) == 0 {
		return
	}
	ids.asking = true
	ctx.Send(ctx.Self(), actors.RegistryCall{To: ctx.Self(), Within: blockTimeout, Do: func(ctx context.Context, r actors.Registry) any {
		first, err := r.TakeProducerIDs(ctx, c.env.Now(), blockSize)
		return producerBlock{first, err}
	}})
}

// blockTaken takes the result.
func (c *cluster) blockTaken(ctx actor.Context, m producerBlock) {
	c.ids.asking = false
	if m.err != nil {
		c.refuseProducers(ctx, protocol.ErrUnavailable.With("no producer id is left, and the registry gives no more: %v: try again", m.err))
		if c.ids.paused {
			return // the next attempt is due already
		}
		c.ids.failed++
		c.ids.paused = true
		wait := c.env.Options.Backoff(c.ids.failed)
		c.env.Log.Warn("no producer ids from the registry, trying again", "left", c.ids.end-c.ids.next, "error", m.err, "wait", wait)
		c.env.Later(wait, ctx.Self(), takeBlock{})
		return
	}
	c.ids.failed = 0
	// What is left of the block before is given up: ids are plenty.
	c.ids.next, c.ids.end = m.first, m.first+blockSize
	c.grantWaiting(ctx)
}

// refuseProducers answers all who wait.
func (c *cluster) refuseProducers(ctx actor.Context, err error) {
	for _, to := range c.ids.waiting {
		c.env.Refuse(ctx, to, err)
	}
	c.ids.waiting = nil
}
