package transport

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"metaq/actors"
	"metaq/protocol"
)

// In a cluster every broker takes its own clients' requests, and sends on to the others
// what they lead. So what a client sends goes through one gateway, which keeps its order
// and refuses what is too much, and no client reaches another broker's gateway past the
// window of what may wait there.
//
// Where the brokers share an existing NATS deployment, all clients reach all of them. There
// only the leader of a partition subscribes to its subjects, so that NATS itself keeps the
// order, and what names no partition is for any broker: one of a queue group.

// anyBroker is the queue group of requests that every broker can serve.
const anyBroker = "metaq"

// LocalSubjects are the subjects that have to stay in the server to which a client is
// connected; see ClusterOptions.Local.
func LocalSubjects(s protocol.Subjects) []string {
	var local []string
	for _, op := range append(slices.Clone(dataOps), opGroup, opAdmin) {
		local = append(local, prefixOf(s)+op+".>")
	}
	return local
}

// shared says whether requests of clients reach all brokers of a cluster.
func (g *Gateway) shared() bool { return g.opts.Cluster != nil && g.opts.Cluster.Shared }

// subscribeShared is subscribe for a broker whose cluster shares a NATS deployment.
func (g *Gateway) subscribeShared() error {
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

// sentOn says whether another broker sent m on to this one. It is not sent on again: that
// is what keeps two brokers who disagree about a leader from playing ball.
func (g *Gateway) sentOn(m *nats.Msg) bool {
	return g.node != "" && strings.HasPrefix(m.Subject, g.node)
}

// leads says whether a partition that was named is led here.
func (g *Gateway) leads(t *target) bool {
	topic := g.topic(t.topic)
	if topic == nil {
		return false
	}
	i, found := topic.index(t.partition)
	return found && topic.route.Leaders[i] != nil && !remote(topic.route.Leaders[i])
}

// elsewhere sends a request that names its partition to the partition's home, which alone
// can lead it and judges everything else.
func (g *Gateway) elsewhere(t *target, m *nats.Msg) error {
	o := onward{until: time.Now().Add(relayPatience), nobody: nobody{}}
	switch t.op {
	case protocol.OpPut:
		if malformed(m) {
			return errMalformed // sent on, the headers would be missing
		}
	case protocol.OpGet:
		var request protocol.GetRequest
		if err := decodeControl(m.Data, &request); err != nil {
			return err
		}
		o.stream = true
		o.until = o.until.Add(readPatience + time.Duration(min(max(request.WaitMs, 0), maxRelayWait))*time.Millisecond)
	}
	if m.Reply == "" && (t.op == protocol.OpGet || t.op == protocol.OpOffsets) {
		g.metrics.noReply.Inc()
		return nil
	}
	return g.relay.send(m, t.op, t.topic+"."+t.partition.String(), t.partition.Home, o)
}

// putElsewhere sends a put for which this broker has chosen a partition of another one.
func (g *Gateway) putElsewhere(topic *topicState, i int, m *nats.Msg) error {
	id, name := topic.route.All[i], topic.route.Name
	return g.relay.send(m, protocol.OpPut, name+"."+id.String(), id.Home, onward{
		until:  time.Now().Add(relayPatience),
		nobody: protocol.ErrUnavailable.With("broker %d does not lead partition %s of topic %s now: try again", id.Home, id, name),
	})
}

// there says whether the leader of a partition can be reached now.
func (g *Gateway) there(topic *actors.TopicRoute, i int) bool {
	return topic.Leaders[i] != nil && (!remote(topic.Leaders[i]) || g.PeerThere(topic.All[i].Home))
}
