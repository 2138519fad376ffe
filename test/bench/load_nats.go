package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// coreTarget is NATS without storage: one connection publishes, another one
// subscribes. What counts is delivered, since core NATS acknowledges nothing.
type coreTarget struct {
	spec       *loadSpec
	subscribed chan struct{} // closed when the receiver is; kindFlow waits for it, since nothing is kept

	mu    sync.Mutex
	conns []*nats.Conn // guarded by mu
}

func newCoreTarget(_ context.Context, s *loadSpec) (target, error) {
	return &coreTarget{spec: s, subscribed: make(chan struct{})}, nil
}

func (t *coreTarget) setup(context.Context) error { return nil }

func (t *coreTarget) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, nc := range t.conns {
		nc.Close()
	}
}

func (t *coreTarget) connect() (*nats.Conn, error) {
	nc, err := connect(t.spec.URL)
	if err == nil {
		t.mu.Lock()
		t.conns = append(t.conns, nc)
		t.mu.Unlock()
	}
	return nc, err
}

// coreSender publishes at most a window ahead of the subscriber, because core
// NATS drops what a slow subscriber does not take.
type coreSender struct {
	nc        *nats.Conn
	subject   string
	window    int64
	sent      int64
	delivered *atomic.Int64
	room      chan struct{}
}

func (t *coreTarget) sender(ctx context.Context, i int, acked func(int)) (sender, error) {
	pub, err := t.connect()
	if err != nil {
		return nil, err
	}
	s := &coreSender{
		nc: pub, subject: fmt.Sprintf("core.%d", i), room: make(chan struct{}, 1), delivered: new(atomic.Int64),
		window: max(256, 16<<20/int64(t.spec.Size)),
	}
	if t.spec.Kind == kindFlow {
		s.window = 0 // the row's own receiver counts
		select {
		case <-t.subscribed:
		case <-ctx.Done():
		}
		return s, ctx.Err()
	}
	sub, err := t.connect()
	if err != nil {
		return nil, err
	}
	return s, subscribe(sub, s.subject, func(*nats.Msg) {
		acked(1)
		s.delivered.Add(1)
		select {
		case s.room <- struct{}{}:
		default:
		}
	})
}

func subscribe(nc *nats.Conn, subject string, take nats.MsgHandler) error {
	sub, err := nc.Subscribe(subject, take)
	if err != nil {
		return err
	}
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return err
	}
	return nc.Flush()
}

func (s *coreSender) send(payload []byte) error {
	if s.window > 0 {
		if err := s.wait(s.window); err != nil {
			return err
		}
	}
	s.sent++
	return s.nc.Publish(s.subject, payload)
}

// wait returns when fewer than most messages are on their way.
func (s *coreSender) wait(most int64) error {
	for s.sent-s.delivered.Load() >= most {
		select {
		case <-s.room:
		case <-time.After(ackPatience):
			return fmt.Errorf("%d of %d messages were delivered", s.delivered.Load(), s.sent)
		}
	}
	return nil
}

func (s *coreSender) close() error {
	if err := s.nc.Flush(); err != nil || s.window == 0 {
		return err
	}
	return s.wait(1)
}

// sync is a request to a responder on another connection: the transport's share
// of a synchronous publish, twice over.
func (t *coreTarget) sync(context.Context) (func([]byte) error, error) {
	server, err := t.connect()
	if err != nil {
		return nil, err
	}
	if err := subscribe(server, "core.echo", func(m *nats.Msg) { _ = m.Respond([]byte("+OK")) }); err != nil {
		return nil, err
	}
	nc, err := t.connect()
	if err != nil {
		return nil, err
	}
	return requestOne(nc, "core.echo"), nil
}

func (t *coreTarget) receivers() []receiver {
	return []receiver{{"subscription", func(ctx context.Context, take func([]byte) bool) error {
		nc, err := t.connect()
		if err != nil {
			return err
		}
		done := make(chan struct{})
		var over bool // of the subscription's goroutine
		err = subscribe(nc, "core.0", func(m *nats.Msg) {
			if !over && !take(m.Data) {
				over = true
				close(done)
			}
		})
		if err != nil {
			return err
		}
		close(t.subscribed)
		select {
		case <-done:
		case <-ctx.Done():
		}
		return nil
	}}}
}

func (t *coreTarget) stored(context.Context) (int64, error) { return -1, nil }

func (t *coreTarget) stall(context.Context) (int, error) { return 0, errNone }

// hostPort is a URL without its scheme.
func hostPort(url string) string {
	_, rest, _ := strings.Cut(url, "://")
	return rest
}
