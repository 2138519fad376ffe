package link

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"metaq/protocol"
)

const (
	reconnectWait   = 200 * time.Millisecond
	reconnectJitter = 100 * time.Millisecond
	pingInterval    = 10 * time.Second // with two pings missing, a dead peer is noticed within 30 s
)

// NatsDefaults are the options of a connection that the Client makes. timeout
// bounds one server's dial, and then its handshake.
func NatsDefaults(name string, log *slog.Logger, timeout time.Duration, d *Dialer) []nats.Option {
	return []nats.Option{
		nats.Name(name),
		nats.Timeout(timeout),
		nats.SetCustomDialer(d),
		nats.SkipHostLookup(), // the dialer looks names up, within ctx
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(), // a server may be restarted with other credentials
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectJitter, reconnectJitter),
		// What could not be sent is not kept by NATS: the producer keeps it.
		nats.ReconnectBufSize(-1),
		nats.PingInterval(pingInterval),
		nats.DisconnectErrHandler(func(nc *nats.Conn, err error) {
			if !nc.IsClosed() {
				log.Warn("disconnected", "server", JoinServers(nc.Servers()), "err", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			log.Info("connected again", "server", protocol.PublicURL(nc.ConnectedUrl()))
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			log.LogAttrs(context.Background(), slog.LevelWarn, "connection problem", slog.Any("err", err))
		}),
	}
}

// Dialer opens the connection's sockets. nats.Connect knows no context: until
// settle, the dialer ends it by closing its sockets when ctx ends.
type Dialer struct {
	net.Dialer
	ctx context.Context // of Connect, which is still running while it is used

	mu      sync.Mutex
	settled bool
	stops   []func() bool
	err     error // of the last failed dial, which nats.Connect does not tell
}

// NewDialer returns a dialer whose connections end with ctx until Settle. timeout bounds
// each dial.
func NewDialer(ctx context.Context, timeout time.Duration) *Dialer {
	return &Dialer{Dialer: net.Dialer{Timeout: timeout}, ctx: ctx}
}

// Dial opens one connection; NATS calls it for every server and at every
// reconnect.
func (d *Dialer) Dial(network, address string) (net.Conn, error) {
	d.mu.Lock()
	ctx, settled := d.ctx, d.settled
	d.mu.Unlock()
	conn, err := d.DialContext(ctx, network, address)
	if settled {
		return conn, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err = err; err == nil {
		d.stops = append(d.stops, context.AfterFunc(ctx, func() { _ = conn.Close() }))
	}
	return conn, err
}

// Settle ends the rule of ctx over the connections and returns why the last dial
// failed, or nil.
func (d *Dialer) Settle() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, stop := range d.stops {
		stop()
	}
	d.settled, d.stops, d.ctx = true, nil, context.Background()
	return d.err
}

// JoinURLs returns urls in the form that nats.Connect takes.
func JoinURLs(urls []string) string { return strings.Join(urls, ",") }

// JoinServers names servers in an error, without user info.
func JoinServers(urls []string) string {
	names := make([]string, 0, len(urls))
	for _, s := range urls {
		names = append(names, protocol.PublicURL(s))
	}
	return strings.Join(names, ", ")
}
