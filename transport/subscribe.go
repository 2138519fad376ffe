package transport

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
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
// With a front that is none: it hands over what its clients ask for, and the server never
// carries a request, so no client can stand among those who answer. With an existing NATS
// deployment the gateway subscribes, to all subjects of an operation with a wildcard, so that
// every request gets an answer, also one for a topic or a partition that does not exist. All
// subscriptions feed one channel: no goroutine for each, and one order for all. Where several
// brokers share the deployment, it is subscribeShared.
func (g *Gateway) subscribe() error {
	if g.opts.Cluster != nil {
		if err := g.relay.start(); err != nil {
			return err
		}
		for _, op := range dataOps {
			if err := g.takeAll(g.peers, g.node+op+".>", g.peersIn); err != nil {
				return err
			}
		}
	}
	if g.shared() {
		if err := g.subscribeShared(); err != nil {
			return err
		}
	} else if g.opts.Front == nil {
		for _, op := range dataOps {
			if err := g.takeAll(g.nc, g.prefix+op+".>", g.incoming); err != nil {
				return err
			}
		}
	}
	g.subsMu.Lock()
	err := g.listenLocked(g.routes.Load())
	g.subsMu.Unlock()
	if err != nil {
		return err
	}
	if err := g.subscribeGroups(); err != nil {
		return err
	}
	if g.opts.Front != nil {
		g.opts.Front.Take(g.handOver())
	}
	// The server knows them then: from here on nobody is told "no responders".
	return g.each((*nats.Conn).Flush)
}

// takeAll subscribes the dispatcher.
func (g *Gateway) takeAll(nc *nats.Conn, subject string, in chan *nats.Msg) error {
	sub, err := nc.ChanSubscribe(subject, in)
	if err != nil {
		return fmt.Errorf("subscribe to %s: %w", subject, err)
	}
	g.subscribed(sub)
	return nil
}

// each calls do with the connections on which requests come.
func (g *Gateway) each(do func(*nats.Conn) error) error {
	err := do(g.nc)
	if g.peers != nil && g.peers != g.nc {
		err = errors.Join(err, do(g.peers))
	}
	return err
}

func (g *Gateway) subscribed(sub *nats.Subscription) {
	g.subsMu.Lock()
	defer g.subsMu.Unlock()
	g.subs = append(g.subs, sub)
}

// takeSubs ends the following of routes and returns all subscriptions.
func (g *Gateway) takeSubs() []*nats.Subscription {
	g.subsMu.Lock()
	defer g.subsMu.Unlock()
	g.serving, g.listeners.on = false, false
	all := slices.AppendSeq(slices.Clone(g.subs), maps.Values(g.led))
	for _, h := range g.listeners.byFilter {
		if h.sub != nil {
			all = append(all, h.sub)
		}
	}
	return all
}

// unsubscribe returns when NATS delivers nothing more and everything that it did
// deliver is in the channel.
func (g *Gateway) unsubscribe(ctx context.Context) error {
	var errs []error
	for _, sub := range g.takeSubs() {
		// Drain, not Unsubscribe: the latter drops what is on its way to us.
		if err := sub.Drain(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
			errs = append(errs, fmt.Errorf("drain %s: %w", sub.Subject, err))
		}
	}
	// The library wants a deadline.
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	err := g.each(func(nc *nats.Conn) error { return nc.FlushWithContext(ctx) })
	if err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		errs = append(errs, fmt.Errorf("drain subscriptions: %w", err))
	}
	return errors.Join(errs...)
}

// dropped is how many messages the library dropped because the channel was full.
func (g *Gateway) dropped() int64 {
	g.subsMu.Lock()
	defer g.subsMu.Unlock()
	var n int64
	count := func(sub *nats.Subscription) {
		if d, err := sub.Dropped(); err == nil {
			n += int64(d)
		}
	}
	for _, sub := range g.subs {
		count(sub)
	}
	for _, sub := range g.led {
		count(sub)
	}
	for _, h := range g.listeners.byFilter {
		if h.sub != nil {
			count(h.sub)
		}
	}
	return n
}
