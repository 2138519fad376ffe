package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"metaq/protocol"
)

// DefaultServer is where a client connects when no server is named.
const DefaultServer = "nats://127.0.0.1:4222"

// Resolver finds the URLs of the brokers' NATS servers, for example in a
// registry. It returns an error or at least one URL, and keeps to ctx.
type Resolver func(ctx context.Context) ([]string, error)

// Option changes how Connect connects.
type Option func(*options)

type options struct {
	servers     []string
	resolver    Resolver
	conn        *nats.Conn
	natsOptions []nats.Option
	name        string
	prefix      string
	log         *slog.Logger
	dialTimeout time.Duration
	wait        bool
	messages    MessageDir
}

// WithServers names the NATS servers to try, such as "nats://127.0.0.1:4222" or
// "host:4222". Default: DefaultServer. Further servers of the cluster are
// discovered automatically.
func WithServers(urls ...string) Option {
	return func(o *options) { o.servers = append(o.servers, urls...) }
}

// WithResolver asks r for the servers when connecting. It takes the place of
// WithServers.
func WithResolver(r Resolver) Option { return func(o *options) { o.resolver = r } }

// WithNATS uses an existing connection, which the Client will not close. The
// options about servers, name and dialling are then without effect. The
// connection should reconnect for ever (nats.MaxReconnects(-1)).
func WithNATS(nc *nats.Conn) Option { return func(o *options) { o.conn = nc } }

// WithNATSOptions adds options of the NATS client, such as credentials or TLS.
// They are applied after the Client's own.
func WithNATSOptions(opts ...nats.Option) Option {
	return func(o *options) { o.natsOptions = append(o.natsOptions, opts...) }
}

// WithName names the connection in the server's lists. Default: "metaq".
func WithName(name string) Option { return func(o *options) { o.name = name } }

// WithPrefix sets the first token of all subjects. Default: "metaq".
func WithPrefix(prefix string) Option { return func(o *options) { o.prefix = prefix } }

// WithLogger takes the log of state changes: disconnected, connected again, and
// problems that no call returns. Default: none.
func WithLogger(log *slog.Logger) Option { return func(o *options) { o.log = log } }

// WithDialTimeout bounds how long Connect tries all servers together before it
// gives up. Default: 4 s. Later reconnects are tried for ever.
func WithDialTimeout(d time.Duration) Option { return func(o *options) { o.dialTimeout = d } }

// WithWait lets Connect try again until its ctx ends when no server answers.
// Default: one round over all servers.
func WithWait() Option { return func(o *options) { o.wait = true } }

// WithMessageDir is where the Client's consumers keep what must survive the restart
// of this process: see Keep and Broadcast. Default: nowhere. Package messagedir
// makes one from the messagedir of metaq.ini.
func WithMessageDir(d MessageDir) Option { return func(o *options) { o.messages = d } }

func newOptions(opts []Option) (options, error) {
	o := options{name: "metaq", log: slog.New(slog.DiscardHandler), dialTimeout: 4 * time.Second}
	for _, opt := range opts {
		opt(&o)
	}
	var errs []error
	if o.dialTimeout <= 0 {
		errs = append(errs, fmt.Errorf("dial timeout %v must be above 0", o.dialTimeout))
	}
	if strings.ContainsAny(o.prefix, " \t\r\n*>") || strings.HasPrefix(o.prefix, ".") || strings.HasSuffix(o.prefix, ".") {
		errs = append(errs, fmt.Errorf("prefix %q is not a NATS subject", o.prefix))
	}
	if o.log == nil {
		o.log = slog.New(slog.DiscardHandler)
	}
	return o, errors.Join(errs...)
}

// findServers returns the URLs to try, with a scheme and at least one.
func (o *options) findServers(ctx context.Context) ([]string, error) {
	urls := o.servers
	if o.resolver != nil {
		var err error
		if urls, err = o.resolver(ctx); err != nil {
			return nil, fmt.Errorf("find the brokers: %w", err)
		}
	}
	if len(urls) == 0 {
		urls = []string{DefaultServer}
	}
	out := make([]string, 0, len(urls))
	for _, s := range urls {
		s = strings.TrimSpace(s)
		if !strings.Contains(s, "://") {
			s = "nats://" + s
		}
		u, err := url.Parse(s)
		if err != nil || u.Hostname() == "" {
			return nil, fmt.Errorf("server %q is not a URL such as %s", protocol.PublicURL(s), DefaultServer)
		}
		out = append(out, s)
	}
	return out, nil
}
