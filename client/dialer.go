package client

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

// natsDefaults are the options of a connection that the Client makes. timeout
// bounds one server's dial, and then its handshake.
func (o *options) natsDefaults(timeout time.Duration, d *dialer) []nats.Option {
	log := o.log
	return []nats.Option{
		nats.Name(o.name),
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
				log.Warn("disconnected", "server", joinServers(nc.Servers()), "err", err)
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

// dialer opens the connection's sockets. nats.Connect knows no context: until
// settle, the dialer ends it by closing its sockets when ctx ends.
type dialer struct {
	net.Dialer
	ctx context.Context // of Connect, which is still running while it is used

	mu      sync.Mutex
	settled bool
	stops   []func() bool
	err     error // of the last failed dial, which nats.Connect does not tell
}

func newDialer(ctx context.Context, timeout time.Duration) *dialer {
	return &dialer{Dialer: net.Dialer{Timeout: timeout}, ctx: ctx}
}

// Dial opens one connection; NATS calls it for every server and at every
// reconnect.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
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

// settle ends the rule of ctx over the connections and returns why the last dial
// failed, or nil.
func (d *dialer) settle() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, stop := range d.stops {
		stop()
	}
	d.settled, d.stops, d.ctx = true, nil, context.Background()
	return d.err
}

func joinURLs(urls []string) string { return strings.Join(urls, ",") }
