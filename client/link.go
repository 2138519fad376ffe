package client

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go"
)

// link is what the package needs from NATS. Its methods may be called from any
// goroutine.
type link interface {
	// request sends one request and returns its answer, which belongs to the
	// caller; a refusal is an answer. data is not used after the return. The
	// errors are those of requestError; ctx must have an end.
	request(ctx context.Context, subject string, data []byte) ([]byte, error)
	// maxPayload is the size of the largest request in bytes.
	maxPayload() int
	// servers names the servers for error texts.
	servers() string
}

// natsLink is the link over a NATS connection.
type natsLink struct {
	nc     *nats.Conn
	status chan nats.Status
	done   chan struct{} // closed when watch has ended

	mu   sync.Mutex
	lost context.Context // guarded by mu; ends when the connection breaks
	cut  context.CancelCauseFunc
}

func newNATSLink(nc *nats.Conn) *natsLink {
	l := &natsLink{
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
func (l *natsLink) watch() {
	defer close(l.done)
	for range l.status {
		l.mu.Lock()
		cut := l.cut
		l.lost, l.cut = context.WithCancelCause(context.Background())
		l.mu.Unlock()
		cut(errConnLost)
	}
}

// close ends watch, and all requests with ErrClosed. The connection stays open.
func (l *natsLink) close() {
	l.nc.RemoveStatusListener(l.status)
	<-l.done
	l.mu.Lock()
	cut := l.cut // the last one, since watch has ended
	l.mu.Unlock()
	cut(ErrClosed)
}

func (l *natsLink) request(ctx context.Context, subject string, data []byte) ([]byte, error) {
	// Take lost before looking at the connection. The other way round a break in
	// between would end the old lost, and nothing would end this request.
	l.mu.Lock()
	lost := l.lost
	l.mu.Unlock()
	if !l.nc.IsConnected() && !l.nc.IsClosed() {
		// NATS would keep the request and send it after a reconnect, when it may be
		// outdated.
		return nil, fmt.Errorf("%w on %s: not connected to %s", ErrNoBroker, subject, l.servers())
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(lost, func() { cancel(context.Cause(lost)) })
	defer stop()
	if errors.Is(context.Cause(lost), ErrClosed) {
		return nil, requestError(lost, ErrClosed, subject, l.servers())
	}
	msg, err := l.nc.RequestWithContext(ctx, subject, data)
	if err != nil {
		return nil, requestError(ctx, err, subject, l.servers())
	}
	return msg.Data, nil
}

func (l *natsLink) maxPayload() int { return int(l.nc.MaxPayload()) }

func (l *natsLink) servers() string {
	if url := l.nc.ConnectedUrlRedacted(); url != "" {
		return url
	}
	return joinServers(l.nc.Servers())
}
