package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"metaq/client"
	"metaq/protocol"
)

const topic = "bench"

// metaqTarget is our broker: by an ordinary NATS client, or by our Go client.
type metaqTarget struct {
	spec    *loadSpec
	c       *client.Client
	clients []*client.Client
}

func newMetaqTarget(ctx context.Context, s *loadSpec) (target, error) {
	c, err := client.Connect(ctx, client.WithServers(s.URL))
	if err != nil {
		return nil, err
	}
	return &metaqTarget{spec: s, c: c, clients: []*client.Client{c}}, nil
}

func (t *metaqTarget) setup(ctx context.Context) error {
	_, err := t.c.Admin().CreateTopic(ctx, protocol.TopicCreate{
		Topic: topic, Partitions: t.spec.Partitions, Config: protocol.TopicConfig{UnflushThreshold: &t.spec.Unflush},
	})
	return err
}

func (t *metaqTarget) close() {
	for _, c := range t.clients {
		c.Close()
	}
}

func (t *metaqTarget) sender(ctx context.Context, _ int, acked func(int)) (sender, error) {
	if t.spec.Client == clientNATS {
		subject := protocol.Subjects{}.Put(topic)
		return newPutSender(t.spec.URL, share(t.spec.Window, t.spec.Connections), func(uint64) string { return subject }, acked)
	}
	p, err := t.producer(ctx)
	if err != nil {
		return nil, err
	}
	s := &metaqSender{ctx: ctx, p: p}
	s.done = func(_ client.Result, err error) {
		if err != nil {
			s.once.Do(func() { s.err = err })
			return
		}
		acked(1)
	}
	return s, nil
}

func (t *metaqTarget) producer(ctx context.Context) (*client.Producer, error) {
	packing, err := protocol.ParseCompression(orNone(t.spec.Compression))
	if err != nil {
		return nil, err
	}
	c, err := client.Connect(ctx, client.WithServers(t.spec.URL))
	if err != nil {
		return nil, err
	}
	t.clients = append(t.clients, c)
	return c.NewProducer(client.WithCompression(packing))
}

func orNone(compression string) string {
	if compression == "" {
		return "none"
	}
	return compression
}

// metaqSender is our producer with its own limits.
type metaqSender struct {
	ctx  context.Context // of the measurement
	p    *client.Producer
	done func(client.Result, error)
	once sync.Once
	err  error // the first message that failed; to be read after Close
}

func (s *metaqSender) send(payload []byte) error {
	return s.p.SendAsync(s.ctx, client.Record{Topic: topic, Value: payload}, s.done)
}

func (s *metaqSender) close() error {
	if err := s.p.Close(s.ctx); err != nil {
		return err
	}
	return s.err
}

func (t *metaqTarget) sync(ctx context.Context) (func([]byte) error, error) {
	if t.spec.Client == clientNATS {
		nc, err := connect(t.spec.URL)
		if err != nil {
			return nil, err
		}
		return requestOne(nc, protocol.Subjects{}.Put(topic)), nil
	}
	p, err := t.producer(ctx)
	if err != nil {
		return nil, err
	}
	return func(payload []byte) error {
		_, err := p.Send(ctx, client.Record{Topic: topic, Value: payload})
		return err
	}, nil
}

func (t *metaqTarget) receivers() []receiver {
	return []receiver{{"reader", func(ctx context.Context, take func([]byte) bool) error {
		r, err := t.c.NewReader(ctx, topic)
		if err != nil {
			return err
		}
		defer r.Close()
		var recs []client.Record
		for {
			recs, err = r.AppendBatch(ctx, recs[:0])
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				return err
			}
			for i := range recs {
				if !take(recs[i].Value) {
					return nil
				}
			}
		}
	}}}
}

func (t *metaqTarget) stored(ctx context.Context) (int64, error) {
	info, err := t.c.Admin().TopicInfo(ctx, topic)
	var n int64
	for _, p := range info.Partitions {
		n += int64(p.EndOffset - p.LogStart)
	}
	return n, err
}

// stall sends gets for a mebibyte each and never reads an answer; a reader of our
// client that is never asked for a record stands beside it.
func (t *metaqTarget) stall(ctx context.Context) (int, error) {
	r, err := t.c.NewReader(ctx, topic)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	get, err := json.Marshal(map[string]any{"offset": 0, "max_bytes": 1 << 20, "max_messages": 1 << 20, "format": "batch"})
	if err != nil {
		return 0, err
	}
	id := protocol.PartitionID{}
	ask := fmt.Sprintf("PUB %s stalled %d\r\n%s\r\n", protocol.Subjects{}.Partition(protocol.OpGet, topic, id), len(get), get)
	return stallOn(ctx, t.spec.URL, "SUB stalled 1\r\n", ask, 5*time.Millisecond)
}
