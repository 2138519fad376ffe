package link

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"metaq/protocol"
)

// Link is what the package needs from NATS. Its methods may be called from any
// goroutine.
type Link interface {
	// Request sends one request and returns its answer, which belongs to the
	// caller; a refusal is an answer. data is not used after the return. The
	// errors are those of RequestError; ctx must have an end.
	Request(ctx context.Context, subject string, data []byte) ([]byte, error)
	// Ask sends one request that may have several answers, and gives them to take, in
	// order, until it says that no more follow or returns an error. Each may be as
	// late as wait allows. Otherwise it is like Request.
	Ask(ctx context.Context, subject string, data []byte, wait time.Duration, take TakeAnswer) error
	// Post sends one request and does not wait for its answer. When it returns the
	// Request is on its way, behind those that were posted before. done is called
	// once, on any goroutine, with what Request would return; it must not wait.
	Post(ctx context.Context, subject string, data []byte, done func([]byte, error))
	// MaxPayload is the size of the largest request in bytes.
	MaxPayload() int
	// Servers names the servers for error texts.
	Servers() string
}

// TakeAnswer processes one answer and reports whether another one follows.
type TakeAnswer func(answer []byte) (more bool, err error)

// NATS is the link over a NATS connection.
type NATS struct {
	nc     *nats.Conn
	status chan nats.Status
	done   chan struct{} // closed when watch has ended

	mu   sync.Mutex
	lost context.Context // guarded by mu; ends when the connection breaks
	cut  context.CancelCauseFunc

	posts posts
}

// NewNATS returns a Link over nc, which stays the caller's to close.
func NewNATS(nc *nats.Conn) *NATS {
	l := &NATS{
		nc: nc, done: make(chan struct{}),
		status: nc.StatusChanged(nats.RECONNECTING, nats.DISCONNECTED, nats.CLOSED),
	}
	l.lost, l.cut = context.WithCancelCause(context.Background())
	go l.watch()
	return l
}

// watch ends the requests in flight when the connection breaks. NATS itself
// would let them wait for their deadline, though nobody can answer any more: a
// broker that was killed and is back after a second would be used after ten.
func (l *NATS) watch() {
	defer close(l.done)
	for range l.status {
		l.mu.Lock()
		cut := l.cut
		l.lost, l.cut = context.WithCancelCause(context.Background())
		l.mu.Unlock()
		cut(ErrConnLost)
	}
}

// Close ends watch, and all requests with ErrClosed. The connection stays open.
func (l *NATS) Close() {
	l.nc.RemoveStatusListener(l.status)
	<-l.done
	l.mu.Lock()
	cut := l.cut // the last one, since watch has ended
	l.mu.Unlock()
	cut(ErrClosed)
	l.posts.close()
}

// Request implements Link.
func (l *NATS) Request(ctx context.Context, subject string, data []byte) ([]byte, error) {
	ctx, cancel, err := l.connected(ctx, subject)
	if err != nil {
		return nil, err
	}
	defer cancel()
	msg, err := l.nc.RequestWithContext(ctx, subject, data)
	if err != nil {
		return nil, RequestError(ctx, err, subject, l.Servers())
	}
	return msg.Data, nil
}

// Ask implements Link.
func (l *NATS) Ask(ctx context.Context, subject string, data []byte, wait time.Duration, take TakeAnswer) error {
	ctx, cancel, err := l.connected(ctx, subject)
	if err != nil {
		return err
	}
	defer cancel()
	sub, err := l.nc.SubscribeSync(l.nc.NewInbox())
	if err == nil {
		defer sub.Unsubscribe() //nolint:errcheck // the connection has gone, and the subscription with it
		// What may come is bounded by what was asked for.
		err = sub.SetPendingLimits(-1, -1)
	}
	if err == nil {
		err = l.nc.PublishRequest(subject, sub.Subject, data)
	}
	for more := true; err == nil && more; {
		var msg *nats.Msg
		if msg, err = nextWithin(ctx, sub, wait); err != nil {
			break
		}
		if more, err = take(msg.Data); err != nil {
			return err
		}
	}
	if err != nil {
		return RequestError(ctx, err, subject, l.Servers())
	}
	return nil
}

func nextWithin(ctx context.Context, sub *nats.Subscription, wait time.Duration) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	return sub.NextMsgWithContext(ctx)
}

// connected returns a context that ends with the connection, or why there is none.
func (l *NATS) connected(ctx context.Context, subject string) (context.Context, func(), error) {
	// Take lost before looking at the connection. The other way round a break in
	// between would end the old lost, and nothing would end this request.
	l.mu.Lock()
	lost := l.lost
	l.mu.Unlock()
	if !l.nc.IsConnected() && !l.nc.IsClosed() {
		// NATS would keep the request and send it after a reconnect, when it may be
		// outdated.
		return nil, nil, fmt.Errorf("%w on %s: not connected to %s", ErrNoBroker, subject, l.Servers())
	}
	if errors.Is(context.Cause(lost), ErrClosed) {
		return nil, nil, RequestError(lost, ErrClosed, subject, l.Servers())
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(lost, func() { cancel(context.Cause(lost)) })
	return ctx, func() {
		stop()
		cancel(nil)
	}, nil
}

// Post implements Link.
func (l *NATS) Post(ctx context.Context, subject string, data []byte, done func([]byte, error)) {
	ctx, cancel, err := l.connected(ctx, subject)
	if err != nil {
		done(nil, err)
		return
	}
	l.posts.send(ctx, l.nc, subject, data, func(answer []byte, err error) {
		cancel()
		if err != nil {
			err = RequestError(ctx, err, subject, l.Servers())
		}
		done(answer, err)
	})
}

// MaxPayload implements Link.
func (l *NATS) MaxPayload() int { return int(l.nc.MaxPayload()) }

// Servers implements Link.
func (l *NATS) Servers() string {
	if url := l.nc.ConnectedUrl(); url != "" {
		return protocol.PublicURL(url)
	}
	return JoinServers(l.nc.Servers())
}
