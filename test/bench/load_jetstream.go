package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// asyncWindow is what nats.go's asynchronous publisher has in flight by default.
// All connections share it: with 16 times as much the server gets slower.
const asyncWindow = 4000

// jsTarget is JetStream: one stream on file for each partition of the row.
type jsTarget struct {
	spec *loadSpec
	nc   *nats.Conn
	js   jetstream.JetStream
}

func newJetStreamTarget(_ context.Context, s *loadSpec) (target, error) {
	nc, err := connect(s.URL)
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return nil, err
	}
	return &jsTarget{spec: s, nc: nc, js: js}, nil
}

func streamName(i int) string    { return fmt.Sprintf("bench-%d", i) }
func streamSubject(i int) string { return fmt.Sprintf("bench.%d", i) }

func (t *jsTarget) setup(ctx context.Context) error {
	for i := range t.spec.Partitions {
		c := jetstream.StreamConfig{
			Name: streamName(i), Subjects: []string{streamSubject(i)}, Storage: jetstream.FileStorage,
			AllowBatchPublish: t.fast(),
		}
		if t.spec.Compression != "" {
			c.Compression = jetstream.S2Compression
		}
		if _, err := t.js.CreateStream(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// fast says whether the row wants JetStream's fast batch publishing.
func (t *jsTarget) fast() bool { return t.spec.Client == clientFast }

func (t *jsTarget) close() { t.nc.Close() }

func (t *jsTarget) sender(_ context.Context, _ int, acked func(int)) (sender, error) {
	if t.fast() {
		return newFastSender(t.spec.URL, streamSubject(0), acked)
	}
	window := t.spec.Window
	if window == 0 {
		window = asyncWindow
	}
	subjects := make([]string, t.spec.Partitions)
	for i := range subjects {
		subjects[i] = streamSubject(i)
	}
	pick := func(n uint64) string { return subjects[n%uint64(len(subjects))] }
	return newPutSender(t.spec.URL, share(window, t.spec.Connections), pick, acked)
}

func (t *jsTarget) sync(ctx context.Context) (func([]byte) error, error) {
	if t.spec.Client == clientNATS {
		return requestOne(t.nc, streamSubject(0)), nil
	}
	return func(payload []byte) error {
		_, err := t.js.Publish(ctx, streamSubject(0), payload)
		return err
	}, nil
}

func (t *jsTarget) stored(ctx context.Context) (int64, error) {
	var n int64
	for i := range t.spec.Partitions {
		s, err := t.js.Stream(ctx, streamName(i))
		if err != nil {
			return 0, err
		}
		n += int64(s.CachedInfo().State.Msgs)
	}
	return n, nil
}

// receivers are the ways to read a stream at speed: none acknowledges single
// messages, as our reader does not.
func (t *jsTarget) receivers() []receiver {
	return []receiver{
		{"push, no acks, flow control", t.push},
		{"ordered consumer", t.ordered},
		{"pull, no acks, 10,000 ahead", t.pull},
		{"fetch, no acks, batches of 10,000", t.fetch},
	}
}

// untilDone runs what start has started until take has had enough or ctx ends.
func untilDone(ctx context.Context, take func([]byte) bool, start func(take func([]byte)) (stop func(), err error)) error {
	done := make(chan struct{})
	var over bool // used by the consumer's goroutine only
	stop, err := start(func(payload []byte) {
		if !over && !take(payload) {
			over = true
			close(done)
		}
	})
	if err != nil {
		return err
	}
	defer stop()
	select {
	case <-done:
	case <-ctx.Done():
	}
	return nil
}

func (t *jsTarget) push(ctx context.Context, take func([]byte) bool) error {
	js, err := t.nc.JetStream()
	if err != nil {
		return err
	}
	return untilDone(ctx, take, func(take func([]byte)) (func(), error) {
		sub, err := js.Subscribe(streamSubject(0), func(m *nats.Msg) { take(m.Data) },
			nats.BindStream(streamName(0)), nats.DeliverAll(), nats.AckNone(), nats.EnableFlowControl(), nats.IdleHeartbeat(5*time.Second))
		if err != nil {
			return nil, err
		}
		return func() { _ = sub.Unsubscribe() }, sub.SetPendingLimits(-1, -1)
	})
}

func (t *jsTarget) ordered(ctx context.Context, take func([]byte) bool) error {
	c, err := t.js.OrderedConsumer(ctx, streamName(0), jetstream.OrderedConsumerConfig{})
	if err != nil {
		return err
	}
	return consumeWith(ctx, c, take)
}

func (t *jsTarget) pull(ctx context.Context, take func([]byte) bool) error {
	return t.withPull(ctx, func(c jetstream.Consumer) error {
		return consumeWith(ctx, c, take, jetstream.PullMaxMessages(10_000))
	})
}

func (t *jsTarget) withPull(ctx context.Context, use func(jetstream.Consumer) error) error {
	c, err := t.js.CreateConsumer(ctx, streamName(0), jetstream.ConsumerConfig{AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true})
	if err != nil {
		return err
	}
	err = use(c)
	return errors.Join(err, t.js.DeleteConsumer(context.WithoutCancel(ctx), streamName(0), c.CachedInfo().Name))
}

func consumeWith(ctx context.Context, c jetstream.Consumer, take func([]byte) bool, opts ...jetstream.PullConsumeOpt) error {
	return untilDone(ctx, take, func(take func([]byte)) (func(), error) {
		cc, err := c.Consume(func(m jetstream.Msg) { take(m.Data()) }, opts...)
		if err != nil {
			return nil, err
		}
		return func() {
			cc.Stop()
			<-cc.Closed()
		}, nil
	})
}

func (t *jsTarget) fetch(ctx context.Context, take func([]byte) bool) error {
	return t.withPull(ctx, func(c jetstream.Consumer) error {
		for ctx.Err() == nil {
			batch, err := c.Fetch(10_000, jetstream.FetchMaxWait(time.Second))
			if err != nil {
				return err
			}
			more := true
			for m := range batch.Messages() {
				more = more && take(m.Data())
			}
			if err := batch.Error(); err != nil {
				return err
			}
			if !more {
				return nil
			}
		}
		return nil
	})
}

// stall makes a push consumer whose subscriber does not read.
func (t *jsTarget) stall(ctx context.Context) (int, error) {
	_, err := t.js.CreatePushConsumer(ctx, streamName(0), jetstream.ConsumerConfig{
		DeliverSubject: "stalled", AckPolicy: jetstream.AckNonePolicy, DeliverPolicy: jetstream.DeliverAllPolicy,
	})
	if err != nil {
		return 0, err
	}
	return stallOn(ctx, t.spec.URL, "SUB stalled 1\r\n", "", 5*time.Millisecond)
}
