package clientfake

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"metaq/client/internal/link"
	"metaq/protocol"
)

// Fault is what happens to one request on its way.
type Fault struct {
	Nobody bool          // no responders; the request does not arrive
	Lose   bool          // the request does not arrive, and is not answered
	Mute   bool          // the request is carried out, and the answer is lost
	Cut    bool          // like mute, and the connection breaks, so that the client knows at once
	Refuse error         // the broker refuses
	Late   time.Duration // mute, and a second copy is carried out after so long
	Delay  time.Duration // before the request is carried out
	Deaf   time.Duration // the answer comes after so long, whatever ctx says
}

// Link is a link straight to a Broker. It works in a synctest bubble.
type Link struct {
	b     *Broker
	Limit int
	Late  sync.WaitGroup

	mu   sync.Mutex
	Down bool                              // no connection
	Plan func(subject string, n int) Fault // of the n-th batch or get request, from 0; nil is no fault
	Seen map[string]int                    // requests by operation, see operation
	Tap  func(batch []byte)                // sees each batch that was carried out, with mu held
}

// NewLink returns a link to b without faults.
func NewLink(b *Broker) *Link {
	return &Link{b: b, Limit: 1 << 20, Seen: make(map[string]int)}
}

// MaxPayload implements link.Link.
func (l *Link) MaxPayload() int { return l.Limit }

// Servers implements link.Link.
func (l *Link) Servers() string { return "nats://fake:4222" }

// Set runs change with the link's lock held.
func (l *Link) Set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

// Ask implements link.Link.
func (l *Link) Ask(ctx context.Context, subject string, data []byte, wait time.Duration, take link.TakeAnswer) error {
	for more := true; more; {
		within, cancel := context.WithTimeout(ctx, wait)
		answer, err := l.Request(within, subject, data)
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

// Request implements link.Link.
func (l *Link) Request(ctx context.Context, subject string, data []byte) ([]byte, error) {
	return l.carry(ctx, subject, data, l.fault(subject))
}

// Post carries a request out before it returns unless a fault delays it, so that
// requests without faults keep their order.
func (l *Link) Post(ctx context.Context, subject string, data []byte, done func([]byte, error)) {
	f := l.fault(subject)
	if f == (Fault{}) {
		done(l.carry(ctx, subject, data, f))
		return
	}
	data = slices.Clone(data)
	l.Late.Go(func() { done(l.carry(ctx, subject, data, f)) })
}

// fault decides on the next request.
func (l *Link) fault(subject string) (f Fault) {
	op := operation(subject)
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.Seen[op]
	l.Seen[op]++
	if l.Plan != nil && op != "adm" {
		f = l.Plan(subject, n)
	}
	f.Nobody = f.Nobody || l.Down
	return f
}

// operation is the begin of the subject's second token, such as "bat".
func operation(subject string) string {
	return strings.TrimPrefix(subject, "metaq.")[:3]
}

func (l *Link) carry(ctx context.Context, subject string, data []byte, f Fault) ([]byte, error) {
	if _, ok := ctx.Deadline(); !ok {
		panic("a request without an end: " + subject)
	}
	if f.Nobody {
		return nil, fmt.Errorf("%w on %s at %s", link.ErrNoBroker, subject, l.Servers())
	}
	if f.Delay > 0 && link.Pause(ctx, f.Delay) != nil || f.Lose {
		return l.noAnswer(ctx, subject)
	}
	if f.Refuse != nil {
		return protocol.EncodeError(f.Refuse), nil
	}
	answer, err := l.b.Handle(ctx, subject, data)
	if operation(subject) == "bat" && err == nil {
		l.Set(func() {
			if l.Tap != nil {
				l.Tap(data)
			}
		})
	}
	switch {
	case errors.Is(err, errNobody):
		return nil, link.RequestError(ctx, nats.ErrNoResponders, subject, l.Servers())
	case err != nil:
		return l.noAnswer(ctx, subject)
	case f.Cut:
		return nil, fmt.Errorf("request %s: %w", subject, link.ErrConnLost)
	case f.Late > 0:
		copied := append([]byte(nil), data...)
		l.Late.Go(func() {
			_ = link.Pause(context.WithoutCancel(ctx), f.Late)
			_, _ = l.b.Handle(context.WithoutCancel(ctx), subject, copied)
		})
		return l.noAnswer(ctx, subject)
	case f.Mute:
		return l.noAnswer(ctx, subject)
	case f.Deaf > 0:
		_ = link.Pause(context.WithoutCancel(ctx), f.Deaf)
	}
	return answer, nil
}

func (l *Link) noAnswer(ctx context.Context, subject string) ([]byte, error) {
	<-ctx.Done()
	return nil, link.RequestError(ctx, ctx.Err(), subject, l.Servers())
}
