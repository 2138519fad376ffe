package transport

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"metaq/protocol"
	"metaq/transport/front"
)

// ServerOptions are those of the embedded NATS server.
type ServerOptions struct {
	Name string
	// Host and Port are where it listens for clients; port 0 picks a free one.
	Host string
	Port int
	// Subjects (optional) builds the broker's subjects.
	Subjects protocol.Subjects
	// MaxPayload is the largest NATS message in bytes. Default 8 MiB.
	MaxPayload int64
	// MaxConnections bounds the clients, and MaxPerAddress those from one address. Default
	// 65,536, and no limit.
	MaxConnections, MaxPerAddress int
	// MaxSubscriptions bounds those of a client. Default 10,000.
	MaxSubscriptions int
	// MaxOutbound is how many bytes of answers and messages may wait for all clients. Default
	// 256 MiB.
	MaxOutbound int64
	// Cluster (optional) makes the server one of a cluster.
	Cluster *ClusterOptions
	Logger  *slog.Logger
}

// readyTimeout bounds the server's start, which takes some milliseconds.
const readyTimeout = 10 * time.Second

// The most bytes that wait for one client; a client for which more waits is cut
// off. Between brokers more may wait: windows bound it, see relay.
const (
	maxPending        = 64 << 20
	maxPendingCluster = 256 << 20
)

// noDeadline is how long a client may take for what the server writes to it at once,
// which is up to 64 MiB. Its clients are in this process: the front's, which cuts off
// who takes nothing, and the gateway, for which a slow machine is no reason to lose
// what waits. What waits for one is bounded in any case.
const noDeadline = 24 * time.Hour

// What a connection may cost before it has said CONNECT: how long it may take for that, and
// how many there may be.
const (
	connectTimeout = 5 * time.Second
	maxSilent      = 1024
)

// ownConnections is more than the broker opens to its own server, reconnects included.
const ownConnections = 16

// maxSubTokens is how many tokens the subject of a subscription may have.
const maxSubTokens = 32

// forbidden encodes the answer to a client that publishes where only brokers do.
func forbidden(subject string) []byte {
	return protocol.EncodeError(protocol.ErrForbidden.With("clients may not publish to %.100q, which is the brokers' own: publish to a topic with <prefix>.put.<topic>", subject))
}

// dialTimeout bounds a connection to one server.
const dialTimeout = 5 * time.Second

// Server is the embedded NATS server, with the front before it. JetStream is off and its subjects are
// free; there is no monitoring port, no signal handler and no file.
type Server struct {
	nats   *server.Server
	front  *front.Front
	made   *connections
	routes *routes // nil when it runs alone
	once   sync.Once
}

// StartServer starts the server and returns once it accepts clients.
func StartServer(o ServerOptions) (*Server, error) {
	if o.MaxPayload == 0 {
		o.MaxPayload = 8 << 20
	}
	if o.MaxConnections == 0 {
		o.MaxConnections = server.DEFAULT_MAX_CONNECTIONS
	}
	if o.MaxSubscriptions == 0 {
		o.MaxSubscriptions = 10_000
	}
	if o.MaxOutbound == 0 {
		o.MaxOutbound = 256 << 20
	}
	listener, err := listen(o)
	if err != nil {
		return nil, err
	}
	s, err := startBehind(listener, o)
	if err != nil {
		_ = listener.Close()
		return nil, err
	}
	if err := s.front.Serve(); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

// startBehind starts the server without a listener of its own.
func startBehind(listener net.Listener, o ServerOptions) (*Server, error) {
	pending := int64(maxPending)
	if o.Cluster != nil {
		pending = maxPendingCluster
	}
	made := newConnections()
	log := &natsLog{log: o.Logger.With("lib", "nats-server"), fatal: make(chan string, 1), own: made.isOwn}
	options := &server.Options{
		ServerName: o.Name, Host: o.Host, Port: listener.Addr().(*net.TCPAddr).Port, DontListen: true,
		MaxPayload: int32(min(o.MaxPayload, 64<<20)),
		// The front counts clients; the broker's own connections always have a place.
		MaxConn: o.MaxConnections + ownConnections, MaxSubs: o.MaxSubscriptions, MaxSubTokens: maxSubTokens,
		MaxPending: pending, WriteDeadline: noDeadline,
		NoSigs: true, NoLog: true, DisableJetStreamBanner: true,
	}
	s := &Server{made: made}
	if o.Cluster != nil {
		s.routes = o.Cluster.join(options, made)
		// Only a server that listens tells the others' clients of itself. They come to the
		// front, whose address it advertises; who comes to the port itself is refused.
		options.ClientAdvertise = net.JoinHostPort(o.Cluster.Advertise, strconv.Itoa(options.Port))
		options.DontListen, options.Host, options.Port = false, "127.0.0.1", server.RANDOM_PORT
	}
	ns, err := server.NewServer(options)
	if err != nil {
		return nil, fmt.Errorf("configure the NATS server: %w", err)
	}
	s.nats, made.server = ns, ns
	s.setLogger(log)
	s.front = front.Listen(listener, front.Options{
		Server:     func() (net.Conn, error) { return made.open(forClient) },
		MaxPayload: int(options.MaxPayload), MaxPending: int(min(pending, max(o.MaxOutbound/4, 2*o.MaxPayload))),
		Prefix: strings.TrimSuffix(prefixOf(o.Subjects), "."), Ops: dataOps, Control: []string{opGroup, opAdmin}, Logger: o.Logger,
		// In a cluster whoever gives credentials means to be let in where they are checked.
		Host: o.Host, Anonymous: o.Cluster != nil, Park: o.Cluster == nil,
		Reads: protocol.OpGet, Closed: []string{opHeard, "node"}, Forbidden: forbidden,
		MaxOutbound: o.MaxOutbound, MaxUnfinished: o.MaxOutbound / 4, MaxSubs: o.MaxSubscriptions,
		Limits: front.Limits{
			Connections: o.MaxConnections, PerAddress: o.MaxPerAddress, Silent: maxSilent, ConnectTimeout: connectTimeout,
		},
		Heard: opHeard, Wanted: func(subject string) bool { return ns.GlobalAccount().Interest(subject) > 0 },
	})
	ns.Start() // listens for other servers before it returns, or says fatal
	select {
	case text := <-log.fatal:
		s.Stop()
		return nil, fmt.Errorf("start the NATS server: %s", text)
	default:
	}
	if !ns.ReadyForConnections(readyTimeout) {
		s.Stop()
		return nil, fmt.Errorf("the NATS server on %s was not ready within %s", net.JoinHostPort(o.Host, strconv.Itoa(o.Port)), readyTimeout)
	}
	if o.Cluster != nil {
		if err := s.enterCluster(o.Cluster); err != nil {
			s.Stop()
			return nil, err
		}
	}
	return s, nil
}

// listen takes the clients' port, or says what to do.
func listen(o ServerOptions) (net.Listener, error) {
	address := net.JoinHostPort(o.Host, strconv.Itoa(o.Port))
	l, err := net.Listen("tcp", address)
	switch {
	case err == nil:
		return l, nil
	case isAddrInUse(err):
		return nil, fmt.Errorf("port %d on %s is in use: stop who uses it, or choose another one with --nats-port or [nats] port=", o.Port, o.Host)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("no permission to listen on %s: choose a port above 1023 with --nats-port or [nats] port=", address)
	default:
		return nil, fmt.Errorf("cannot listen on %s: %w: choose another address with [nats] host= and port=", address, err)
	}
}

func isAddrInUse(err error) bool {
	const windowsInUse = syscall.Errno(10048) // WSAEADDRINUSE
	return errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, windowsInUse)
}

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.front.Addr() }

// Front is where clients' sockets end.
func (s *Server) Front() *front.Front { return s.front }

// Connect is the gateway's Dial of this server, in process.
func (s *Server) Connect(wrap func(net.Conn) net.Conn, opts ...nats.Option) (*nats.Conn, error) {
	return s.connect(forGateway, wrap, opts...)
}

func (s *Server) connect(who made, wrap func(net.Conn) net.Conn, opts ...nats.Option) (*nats.Conn, error) {
	if s.routes != nil {
		// A server that takes new options takes a connection that has just said who it is
		// for one that has changed accounts, and closes it.
		s.routes.mu.Lock()
		defer s.routes.mu.Unlock()
	}
	return nats.Connect("", append(opts, nats.InProcessServer(gatedServer{s, who, wrap}))...)
}

// Stop ends the server and all its connections. It may be called twice.
func (s *Server) Stop() {
	s.once.Do(func() {
		s.front.Close()
		s.nats.Shutdown()
		s.nats.WaitForShutdown()
	})
}

// ConnectURL returns the Dial of a NATS deployment that is not ours.
func ConnectURL(urls ...string) Dial {
	return func(wrap func(net.Conn) net.Conn, opts ...nats.Option) (*nats.Conn, error) {
		dialer := &gatedDialer{Dialer: net.Dialer{Timeout: dialTimeout}, wrap: wrap}
		nc, err := nats.Connect(strings.Join(urls, ","), append(opts, nats.SetCustomDialer(dialer))...)
		if err != nil {
			return nil, fmt.Errorf("connect to NATS at %s: %w: check [nats] url=", protocol.PublicURLs(urls), withoutURLs(err))
		}
		return nc, nil
	}
}

// withoutURLs returns err, or the fault alone of a URL that cannot be parsed: that error
// quotes the whole URL, with its password.
func withoutURLs(err error) error {
	var bad *url.Error
	if errors.As(err, &bad) {
		return bad.Err
	}
	return err
}
