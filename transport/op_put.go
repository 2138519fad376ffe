package transport

import (
	"github.com/asynkron/protoactor-go/actor"
	"github.com/nats-io/nats.go"

	"metaq/actors"
	"metaq/protocol"
)

// Put: <prefix>.put.<topic> or <prefix>.put.<topic>.<partition>, one message.
//
//	limits    payload, key and headers together at most the topic's
//	          maxMessageSize; Options.Partition and Options.Total in flight
//	400       name or partition not allowed; header block malformed; a second
//	          Metaq-Key; a JetStream header whose meaning is not implemented
//	400       what a Nats-Expected-* header expects does not hold, or needs one
//	          partition where the topic has more
//	403       the topic does not accept messages
//	404       no such topic (and it may not be created), no such partition
//	413       too large
//	429       too many in flight: back off
//	503       no leader now; later refusals come from the partition
//	no answer without a reply subject: stored, or refused silently and counted

// put serves one put.
func (g *Gateway) put(t *target, m *nats.Msg) error {
	if limit := g.opts.MaxMessage(t.topic); len(m.Data) > limit {
		return tooLarge("message", len(m.Data), limit)
	}
	record, err := recordOf(m)
	if err != nil {
		return err
	}
	check, err := checkOf(m.Header)
	if err != nil {
		return err
	}
	size := recordSize(&record)
	if limit := g.opts.MaxMessage(t.topic); size > limit {
		return tooLarge("message", size, limit)
	}
	if w := g.waiting[t.topic]; w != nil {
		return w.add(m)
	}
	topic := g.topic(t.topic)
	if topic == nil && t.heard {
		return g.noTopic(t.topic)
	}
	if topic == nil {
		return g.create(t, m)
	}
	if !topic.route.AcceptPublish {
		return notAccepting(t.topic)
	}
	var i int
	if t.one {
		i, err = topic.find(t.partition)
	} else if err = topic.onePartition(check); err == nil {
		i, err = topic.pick(routingKey(record.Key, check), g.there)
	}
	if err != nil {
		return err
	}
	if remote(topic.route.Leaders[i]) {
		return g.putElsewhere(topic, i, m)
	}
	account := topic.accounts[i]
	size = max(size, heldBy(m))
	if err := account.admit(size); err != nil {
		return err
	}
	o := g.outgoing(size)
	o.put = actors.Put{Record: record, Check: check, Ticket: actors.Ticket{From: account, Bytes: size}, Memory: g.takeMemory()}
	if m.Reply != "" {
		g.replies.Fill(&o.from, m.Reply)
		o.put.From = &o.from
	}
	g.post(&topic.runs[i], topic.route.Leaders[i], &o.put)
	return nil
}

// outgoing is a put on its way to its actor, in one object.
type outgoing struct {
	put  actors.Put
	from actor.PID
}

// run is puts of one partition that came one after the other. They are sent
// together, which wakes the partition up once.
type run struct {
	to          *actor.PID
	first, last *actors.Put
}

// post adds a put to a run.
func (g *Gateway) post(r *run, to *actor.PID, p *actors.Put) {
	if r.first == nil {
		r.to, r.first = to, p
		g.runs = append(g.runs, r)
	} else {
		r.last.Next = p
	}
	r.last = p
}

// sendRuns sends what was posted. It comes before everything else that the
// dispatcher sends to a partition, and before it waits.
func (g *Gateway) sendRuns() {
	for _, r := range g.runs {
		g.system.Root.Send(r.to, r.first)
		*r = run{}
	}
	clear(g.runs)
	g.runs = g.runs[:0]
}

const (
	outgoingSlab = 64      // objects that are allocated together
	smallPut     = 1 << 10 // bytes of a put that may keep its neighbours in memory
)

// outgoing returns an empty one for a put of size bytes.
func (d *dispatcher) outgoing(size int) *outgoing {
	if size > smallPut {
		return new(outgoing)
	}
	if len(d.slab) == 0 {
		d.slab = make([]outgoing, outgoingSlab)
	}
	o := &d.slab[0]
	d.slab = d.slab[1:]
	return o
}

func tooLarge(what string, size, limit int) error {
	return protocol.ErrTooLarge.With("%s has %d bytes, the limit is %d: see maxMessageSize", what, size, limit)
}

func notAccepting(topic string) error {
	return protocol.ErrNotAccepted.With("topic %s does not accept messages: acceptPublish is false", topic)
}
