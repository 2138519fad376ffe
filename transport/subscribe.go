package transport

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"metaq/protocol"
)

// dataOps are the operations that the dispatcher serves.
var dataOps = []string{protocol.OpPut, protocol.OpBatch, protocol.OpGet, protocol.OpOffsets}

// flushTimeout bounds a round trip to the NATS server.
const flushTimeout = 5 * time.Second

// subscribe is the one place that decides which subjects this broker answers.
//
// A broker that runs alone takes all subjects of an operation with a wildcard,
// so that every request gets an answer, also one for a topic or a partition that
// does not exist. All subscriptions feed one channel: no goroutine for each, and
// one order for all.
func (g *Gateway) subscribe() error {
	for _, op := range dataOps {
		sub, err := g.nc.ChanSubscribe(g.prefix+op+".>", g.incoming)
		if err != nil {
			return fmt.Errorf("subscribe to %s%s.>: %w", g.prefix, op, err)
		}
		g.subs = append(g.subs, sub)
	}
	if err := g.subscribeGroups(); err != nil {
		return err
	}
	return g.nc.Flush() // the server knows them: from here on nobody is told "no responders"
}

// unsubscribe returns when NATS delivers nothing more and everything that it did
// deliver is in the channel.
func (g *Gateway) unsubscribe(ctx context.Context) error {
	var errs []error
	for _, sub := range g.subs {
		// Drain, not Unsubscribe: the latter drops what is on its way to us.
		if err := sub.Drain(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
			errs = append(errs, fmt.Errorf("drain %s: %w", sub.Subject, err))
		}
	}
	// The library wants a deadline.
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	if err := g.nc.FlushWithContext(ctx); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		errs = append(errs, fmt.Errorf("drain subscriptions: %w", err))
	}
	return errors.Join(errs...)
}

// dropped is how many messages the library dropped because the channel was full.
func (g *Gateway) dropped() int64 {
	var n int64
	if subs := g.metered.Load(); subs != nil {
		for _, sub := range *subs {
			if d, err := sub.Dropped(); err == nil {
				n += int64(d)
			}
		}
	}
	return n
}
