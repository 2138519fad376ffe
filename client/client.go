package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"metaq/client/internal/link"
)

// Client is a connection to a MetaQ cluster. Its methods may be called from any
// goroutine.
type Client struct {
	calls    *link.Caller
	log      *slog.Logger
	messages MessageDir // nil when there is none
	close    func()
	once     sync.Once
}

// Connect connects to the first server that answers. When none does it returns,
// after the dial timeout at most, an error that wraps ErrNoBroker and names the
// addresses that were tried. A connection that breaks later is made again for
// ever; what the Client's users see of that is said at each method.
//
// Connect needs a NATS server only; Admin.Ping asks whether a broker is behind it.
func Connect(ctx context.Context, opts ...Option) (*Client, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	nc, owned := o.conn, false
	if nc == nil {
		owned = true
		if nc, err = dial(ctx, &o); err != nil {
			return nil, err
		}
	}
	l := link.NewNATS(nc)
	c := newClient(l, &o)
	c.close = func() {
		l.Close()
		if owned {
			nc.Close()
		}
	}
	return c, nil
}

func newClient(l link.Link, o *options) *Client {
	return &Client{calls: link.NewCaller(l, o.prefix), log: o.log, messages: o.messages, close: func() {}}
}

// Close ends the connection, unless it was given with WithNATS. Close producers
// and readers first: what they have in flight is not waited for. It may be called
// twice.
func (c *Client) Close() { c.once.Do(c.close) }

// Servers names the server that the client is connected to, or those that it
// tries.
func (c *Client) Servers() string { return c.calls.Link.Servers() }

// Admin returns the client's administration calls.
func (c *Client) Admin() *Admin { return &Admin{c: c} }

// dial makes the NATS connection.
func dial(ctx context.Context, o *options) (*nats.Conn, error) {
	for attempt := 0; ; attempt++ {
		nc, err := dialOnce(ctx, o)
		if err == nil || !o.wait || !errors.Is(err, ErrNoBroker) {
			return nc, err
		}
		if link.Pause(ctx, link.Backoff(attempt)) != nil {
			return nil, err
		}
	}
}

func dialOnce(ctx context.Context, o *options) (*nats.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, o.dialTimeout)
	defer cancel()
	servers, err := o.findServers(ctx)
	if err != nil {
		return nil, err
	}
	each := o.dialTimeout / time.Duration(len(servers))
	d := link.NewDialer(ctx, each)
	nc, err := nats.Connect(link.JoinURLs(servers), append(link.NatsDefaults(o.name, o.log, each, d), o.natsOptions...)...)
	if why := d.Settle(); err != nil {
		if why != nil {
			err = why
		}
		advice := "start one with 'metaq broker', or name another server"
		if errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) {
			advice = "check the user and the password"
		}
		return nil, fmt.Errorf("%w at %s: %w; %s", ErrNoBroker, link.JoinServers(servers), err, advice)
	}
	return nc, nil
}
