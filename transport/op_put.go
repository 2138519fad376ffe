package transport

import (
	"github.com/asynkron/protoactor-go/actor"
	"github.com/nats-io/nats.go"

	"metaq/actors"
	"metaq/protocol"
	"metaq/transport/front"
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
	record, err := g.recordOf(t, m)
	if err == nil {
		err = givenSubject(t, m)
	}
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
		return w.add(m, nil)
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
	if err := account.admit(1, size); err != nil {
		return err
	}
	o := newOutgoing(1)
	o.All[0] = actors.Put{Record: record, Check: check, Ticket: actors.Ticket{From: account, Bytes: size}, Memory: g.takeMemory()}
	o.answer(g, 0, m.Reply)
	g.post(&topic.runs[i], topic.route.Leaders[i], &o.Puts)
	return nil
}

// recordOf returns the record of a put, which may have been made before. A topic's own subject
// adds headers afterwards.
func (g *Gateway) recordOf(t *target, m *nats.Msg) (protocol.Record, error) {
	if p := g.prepared; p != nil && !t.heard {
		return p.record, p.err
	}
	return recordOf(m)
}

// putAlike serves what a client sent first, as far as it is puts of one subject: they go to
// their partition in one object. It returns how many are alike, at least 1; they are not
// served where each needs a look, and then put has it. It says what serve and put say:
// messages of one subject have one target, and here that is a partition which is led
// here, and without headers and other places for the answer than a client's own there is
// nothing else to judge.
func (g *Gateway) putAlike(all []front.Request) (n int, served bool) {
	t, subject := &g.last.target, all[0].Subject
	if subject != g.last.subject || t.op != protocol.OpPut || g.waiting[t.topic] != nil {
		return 1, false
	}
	topic := g.topic(t.topic)
	if topic == nil || !topic.route.AcceptPublish {
		return 1, false
	}
	i, ok := topic.only(t)
	if !ok || remote(topic.route.Leaders[i]) {
		return 1, false
	}
	bytes, limit := 0, g.opts.MaxMessage(t.topic)
	for n < len(all) && all[n].Subject == subject && all[n].Header == nil && len(all[n].Data) <= limit &&
		(all[n].Reply == "" || front.Mine(all[n].Reply)) {
		bytes += len(all[n].Data)
		n++
	}
	account := topic.accounts[i]
	if n < 2 || account.admit(n, bytes) != nil {
		return max(1, n), false
	}
	g.metrics.puts.add(n, bytes)
	o := newOutgoing(n)
	for k := range o.All {
		m, put := &all[k], &o.All[k]
		put.Record.Value, put.Memory = m.Data, m.Memory()
		put.Ticket = actors.Ticket{From: account, Bytes: len(m.Data)}
		o.answer(g, k, m.Reply)
	}
	g.post(&topic.runs[i], topic.route.Leaders[i], &o.Puts)
	return n, true
}

// run is puts of one partition that came one after the other. They are sent
// together, which wakes the partition up once.
type run struct {
	to          *actor.PID
	first, last *actors.Puts
}

// post adds puts to a run.
func (g *Gateway) post(r *run, to *actor.PID, p *actors.Puts) {
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
		if g.opts.Events.Route != nil {
			g.opts.Events.Route(actors.Event{})
		}
		g.system.Root.Send(r.to, r.first)
		*r = run{}
	}
	clear(g.runs)
	g.runs = g.runs[:0]
}

func tooLarge(what string, size, limit int) error {
	return protocol.ErrTooLarge.With("%s has %d bytes, the limit is %d: see maxMessageSize", what, size, limit)
}

func notAccepting(topic string) error {
	return protocol.ErrNotAccepted.With("topic %s does not accept messages: acceptPublish is false", topic)
}
