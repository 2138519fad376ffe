package transport

import (
	"fmt"

	"github.com/nats-io/nats.go"

	"metaq/actors"
	"metaq/protocol"
)

// In a cluster only the leader of a partition subscribes to its subjects, so NATS
// itself finds the leader, and "nobody leads it now" is an immediate "no
// responders". What names no partition is for any broker: one of a queue group.

// anyBroker is the queue group of requests that every broker can serve.
const anyBroker = "metaq"

// subscribeCluster is subscribe for a broker in a cluster.
func (g *Gateway) subscribeCluster() error {
	if err := g.relay.start(); err != nil {
		return err
	}
	subject := g.prefix + protocol.OpPut + ".*"
	sub, err := g.nc.ChanQueueSubscribe(subject, anyBroker, g.incoming)
	if err != nil {
		return fmt.Errorf("subscribe to %s: %w", subject, err)
	}
	g.subsMu.Lock()
	g.subs = append(g.subs, sub)
	g.serving = true
	err = g.followLocked(g.routes.Load())
	g.subsMu.Unlock()
	return err
}

// follow subscribes to the partitions that are led here, and leaves those that are
// not any more.
func (g *Gateway) follow(r *actors.Routes) {
	g.subsMu.Lock()
	defer g.subsMu.Unlock()
	if !g.serving {
		return // Start takes the newest routes, and after Drain nobody is served
	}
	if err := g.followLocked(r); err != nil {
		g.opts.Fail(err) // the connection was closed for good
	}
}

func (g *Gateway) followLocked(r *actors.Routes) error {
	led := make(map[string]bool, len(g.led))
	for name, topic := range r.Topics {
		for i, id := range topic.All {
			if topic.Leaders[i] == nil || remote(topic.Leaders[i]) {
				continue
			}
			subject := g.opts.Subjects.Partition("*", name, id)
			led[subject] = true
			if g.led[subject] != nil {
				continue
			}
			sub, err := g.nc.ChanSubscribe(subject, g.incoming)
			if err != nil {
				return fmt.Errorf("subscribe to %s: %w", subject, err)
			}
			g.led[subject] = sub
		}
	}
	for subject, sub := range g.led {
		if led[subject] {
			continue
		}
		delete(g.led, subject)
		// Drain, not Unsubscribe: the latter drops what is on its way to us.
		if err := sub.Drain(); err != nil {
			g.log.Warn("partition not left", "subject", subject, "err", err)
		}
	}
	return nil
}

// elsewhere sends a put to the broker that leads its partition. A put that named the
// partition never comes here (see ledHere): this is what keeps two brokers who disagree
// from playing ball.
func (g *Gateway) elsewhere(t *target, topic *topicState, i int, m *nats.Msg) error {
	id := topic.route.All[i]
	return g.relay.send(m, g.opts.Subjects.Partition(protocol.OpPut, t.topic, id), id.Home, 0)
}

// there says whether the leader of a partition can be reached now.
func (g *Gateway) there(topic *actors.TopicRoute, i int) bool {
	return topic.Leaders[i] != nil && (!remote(topic.Leaders[i]) || g.PeerThere(topic.All[i].Home))
}
