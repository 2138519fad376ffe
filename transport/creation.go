package transport

import (
	"bytes"
	"fmt"

	"github.com/nats-io/nats.go"

	"metaq/actors"
	"metaq/protocol"
	"metaq/transport/front"
)

// A put that names a topic which is not there waits while the topics actor
// creates it, and so do the puts behind it, so that their order is kept.

// waitingTopic is a topic in creation with its puts.
type waitingTopic struct {
	account *account // what waits is in flight too
	puts    []keptPut
}

// keptPut is a put or a batch that waits, with what is known of a batch.
type keptPut struct {
	*nats.Msg
	prepared *prepared
}

// creation is the topics actor's answer.
type creation struct {
	topic string
	err   error
}

// create lets m wait for its topic, or refuses it.
func (g *Gateway) create(t *target, m *nats.Msg) error {
	topic := t.topic
	if !g.opts.AutoCreate {
		return g.noTopic(topic)
	}
	if t.one && (t.partition.Home != g.opts.BrokerID || t.partition.N >= g.opts.Partitions) {
		return protocol.ErrNoPartition.With("topic %s would be created without a partition %s: publish to <prefix>.put.%s, or create it with metaq topic create %s --partitions",
			topic, t.partition, topic, topic)
	}
	if len(g.waiting) == g.opts.Waiting {
		return protocol.ErrBusy.With("%d topics are being created: back off and try again", len(g.waiting))
	}
	w := &waitingTopic{account: newAccount(g.puts, g.opts.Partition)}
	if err := w.add(m, g.prepared); err != nil {
		return err
	}
	g.waiting[topic] = w
	g.system.Root.RequestWithCustomSender(g.system.NewLocalPID(actors.TopicsActor),
		actors.AutoCreate{Topic: topic, From: g.addressOf(m.Reply)}, g.creations.PID(topic))
	return nil
}

// addressOf returns the address of the client whose request it is, "" where that is not known.
func (g *Gateway) addressOf(reply string) string {
	if g.opts.Front == nil || !front.Mine(reply) {
		return ""
	}
	return g.opts.Front.Address(reply)
}

func (w *waitingTopic) add(m *nats.Msg, p *prepared) error {
	if err := w.account.admit(1, m.Size()); err != nil {
		return err
	}
	kept := *m
	kept.Data = bytes.Clone(m.Data)
	w.puts = append(w.puts, keptPut{&kept, p})
	return nil
}

// answerCreate is what a PID of a topic in creation leads to. There is one
// answer for each topic that waits, so the channel has room.
func (g *Gateway) answerCreate(topic string, message any) {
	c := creation{topic: topic}
	switch a := message.(type) {
	case protocol.TopicInfo:
	case error:
		c.err = a
	default:
		c.err = protocol.ErrUnavailable.With("topic %s could not be created (%s): try again", topic, fmt.Sprintf("%T", a))
	}
	g.created <- c
}

// topicCreated sends the puts of a topic on, or refuses them.
func (g *Gateway) topicCreated(c creation) {
	w := g.waiting[c.topic]
	if w == nil {
		return
	}
	delete(g.waiting, c.topic)
	if c.err == nil && g.topic(c.topic) == nil {
		// Without this the puts would ask for the topic again, and again.
		c.err = protocol.ErrUnavailable.With("topic %s has gone again: try again", c.topic)
	}
	for _, m := range w.puts {
		w.account.Release(1, m.Size())
		if c.err != nil {
			g.refuse(m.Msg, c.err)
			continue
		}
		g.prepared = m.prepared
		t, err := g.targetOf(m.Msg)
		if err == nil {
			err = g.serve(&t, m.Msg)
		}
		if err != nil {
			g.refuse(m.Msg, err)
		}
		g.prepared = nil
	}
}
