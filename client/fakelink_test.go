package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"metaq/protocol"
)

// fault is what happens to one request on its way.
type fault struct {
	nobody bool          // no responders; the request does not arrive
	lose   bool          // the request does not arrive, and is not answered
	mute   bool          // the request is carried out, and the answer is lost
	cut    bool          // like mute, and the connection breaks, so that the client knows at once
	refuse error         // the broker refuses
	late   time.Duration // mute, and a second copy is carried out after so long
	delay  time.Duration // before the request is carried out
	deaf   time.Duration // the answer comes after so long, whatever ctx says
}

// fakeLink is a link straight to a fakeBroker. It works in a synctest bubble.
type fakeLink struct {
	b     *fakeBroker
	limit int
	late  sync.WaitGroup

	mu   sync.Mutex
	down bool                              // no connection
	plan func(subject string, n int) fault // of the n-th batch or get request, from 0; nil is no fault
	seen map[string]int                    // requests by operation, see operation
	tap  func(batch []byte)                // sees each batch that was carried out, with mu held
}

func newFakeLink(b *fakeBroker) *fakeLink {
	return &fakeLink{b: b, limit: 1 << 20, seen: make(map[string]int)}
}

func (l *fakeLink) maxPayload() int { return l.limit }
func (l *fakeLink) servers() string { return "nats://fake:4222" }

func (l *fakeLink) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

func (l *fakeLink) ask(ctx context.Context, subject string, data []byte, wait time.Duration, take takeAnswer) error {
	for more := true; more; {
		within, cancel := context.WithTimeout(ctx, wait)
		answer, err := l.request(within, subject, data)
		cancel()
		if err != nil {
			return err
		}
		if more, err = take(answer); err != nil {
			return err
		}
	}
	return nil
}

func (l *fakeLink) request(ctx context.Context, subject string, data []byte) ([]byte, error) {
	return l.carry(ctx, subject, data, l.fault(subject))
}

// post carries a request out before it returns unless a fault delays it, so that
// requests without faults keep their order.
func (l *fakeLink) post(ctx context.Context, subject string, data []byte, done func([]byte, error)) {
	f := l.fault(subject)
	if f == (fault{}) {
		done(l.carry(ctx, subject, data, f))
		return
	}
	data = slices.Clone(data)
	l.late.Go(func() { done(l.carry(ctx, subject, data, f)) })
}

// fault decides on the next request.
func (l *fakeLink) fault(subject string) (f fault) {
	op := operation(subject)
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.seen[op]
	l.seen[op]++
	if l.plan != nil && op != "adm" {
		f = l.plan(subject, n)
	}
	f.nobody = f.nobody || l.down
	return f
}

// operation is the begin of the subject's second token, such as "bat".
func operation(subject string) string {
	return strings.TrimPrefix(subject, "metaq.")[:3]
}

func (l *fakeLink) carry(ctx context.Context, subject string, data []byte, f fault) ([]byte, error) {
	if _, ok := ctx.Deadline(); !ok {
		panic("a request without an end: " + subject)
	}
	if f.nobody {
		return nil, fmt.Errorf("%w on %s at %s", ErrNoBroker, subject, l.servers())
	}
	if f.delay > 0 && pause(ctx, f.delay) != nil || f.lose {
		return l.noAnswer(ctx, subject)
	}
	if f.refuse != nil {
		return protocol.EncodeError(f.refuse), nil
	}
	answer, err := l.b.handle(ctx, subject, data)
	if operation(subject) == "bat" && err == nil {
		l.set(func() {
			if l.tap != nil {
				l.tap(data)
			}
		})
	}
	switch {
	case errors.Is(err, errNobody):
		return nil, requestError(ctx, nats.ErrNoResponders, subject, l.servers())
	case err != nil:
		return l.noAnswer(ctx, subject)
	case f.cut:
		return nil, fmt.Errorf("request %s: %w", subject, errConnLost)
	case f.late > 0:
		copied := append([]byte(nil), data...)
		l.late.Go(func() {
			_ = pause(context.WithoutCancel(ctx), f.late)
			_, _ = l.b.handle(context.WithoutCancel(ctx), subject, copied)
		})
		return l.noAnswer(ctx, subject)
	case f.mute:
		return l.noAnswer(ctx, subject)
	case f.deaf > 0:
		_ = pause(context.WithoutCancel(ctx), f.deaf)
	}
	return answer, nil
}

func (l *fakeLink) noAnswer(ctx context.Context, subject string) ([]byte, error) {
	<-ctx.Done()
	return nil, requestError(ctx, ctx.Err(), subject, l.servers())
}

// fakeClient returns a client of b over l.
func fakeClient(t testing.TB, l link) *Client {
	t.Helper()
	o, err := newOptions(nil)
	if err != nil {
		t.Fatal(err)
	}
	return newClient(l, &o)
}

// fakeCluster is a broker with one topic, and a client of it.
func fakeCluster(t testing.TB, topic string, partitions int) (*fakeBroker, *fakeLink, *Client) {
	t.Helper()
	b := newFakeBroker()
	b.create(topic, partitions)
	l := newFakeLink(b)
	return b, l, fakeClient(t, l)
}

func mustProducer(t testing.TB, c *Client, opts ...ProducerOption) *Producer {
	t.Helper()
	p, err := c.NewProducer(opts...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func mustClose(t testing.TB, p *Producer) {
	t.Helper()
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
