package transport

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// ClusterOptions make the embedded server one of a NATS cluster.
type ClusterOptions struct {
	// Name of the NATS cluster. Servers of another name are refused, so that two
	// clusters that reach each other's ports do not mix.
	Name string
	// Advertise is the host under which clients and the other servers reach this one.
	Advertise string
	// Port is where the other servers connect to; 0 picks a free one.
	Port int
	// Silence is how long another server may say nothing, or take nothing, before the route
	// to it is cut: until then it gets its share of what any broker may answer, and may
	// hold those up who write to it. Short: a frozen broker does less harm. Long: a busy
	// machine loses fewer routes. 0 means 3 s.
	Silence time.Duration
	// Local are subjects that stay here: no other server hears of those who subscribe to
	// them, so that what a client publishes reaches only who is connected to its own server.
	Local []string
}

// peersAccount is the account of what brokers say to each other: no subject of it exists
// for a client, whatever it subscribes or publishes to, and the clients' messages pay
// nothing for that. Only connections that this process opened for it are in it; it has no
// user and no password.
const peersAccount = "METAQ"

// noUser is the user of a connection that names none. Without one the server would tell
// clients that they have to authenticate; nobody is let in by it.
const noUser = "client"

// routePings go unanswered before a route is cut.
const routePings = 2

// routes is the cluster side of a Server.
type routes struct {
	mu   sync.Mutex // guards what follows, and is held while the server reloads, or we connect
	opts *server.Options
	urls map[int]string // by broker id

	peers *server.Account
}

// join puts the cluster's part into the server's options.
func (c *ClusterOptions) join(o *server.Options, by server.Authentication) *routes {
	r := &routes{opts: o, urls: make(map[int]string)}
	port := c.Port
	if port == 0 {
		port = server.RANDOM_PORT
	}
	silence := c.Silence
	if silence == 0 {
		silence = 3 * time.Second
	}
	o.Cluster = server.ClusterOpts{
		Name: c.Name, Host: o.Host, Port: port,
		PingInterval: silence / (routePings + 1), MaxPingsOut: routePings,
		WriteDeadline: silence,
		Permissions:   &server.RoutePermissions{Import: &server.SubjectPermission{Deny: c.Local}},
	}
	o.Accounts = []*server.Account{server.NewAccount(peersAccount)}
	o.Users, o.NoAuthUser = []*server.User{{Username: noUser}}, noUser
	o.CustomClientAuthentication = by
	return r
}

// setLogger gives the server our log.
func (s *Server) setLogger(log *natsLog) {
	if s.routes != nil {
		s.nats.SetLoggerV2(clusterLog{log}, false, false, false)
		return
	}
	s.nats.SetLoggerV2(log, false, false, false)
}

// enterCluster completes what is only known once the server listens.
func (s *Server) enterCluster(c *ClusterOptions) error {
	peers, err := s.nats.LookupAccount(peersAccount)
	if err != nil {
		return fmt.Errorf("account %s of the NATS server: %w", peersAccount, err)
	}
	s.routes.peers = peers
	return s.advertise(c.Advertise)
}

// advertise tells the other servers the port once it is known.
func (s *Server) advertise(host string) error {
	return s.reload(func(o *server.Options) {
		o.Cluster.Advertise = net.JoinHostPort(host, strconv.Itoa(o.Cluster.Port))
	})
}

// reload changes the options of the running server.
func (s *Server) reload(change func(*server.Options)) error {
	s.routes.mu.Lock()
	defer s.routes.mu.Unlock()
	next := s.routes.opts.Clone()
	change(next)
	if err := s.nats.ReloadOptions(next); err != nil {
		return fmt.Errorf("change the NATS server's options: %w", err)
	}
	s.routes.opts = next
	return nil
}

// ClusterPort is where other servers connect to; 0 when the server runs alone.
func (s *Server) ClusterPort() int {
	if s.routes == nil {
		return 0
	}
	s.routes.mu.Lock()
	defer s.routes.mu.Unlock()
	return s.routes.opts.Cluster.Port
}

// SetRoutes names the servers of the other brokers, by broker id. A broker that is
// not named keeps the address that it had: it may be gone from the registry and
// still be there. It may be called from any goroutine.
func (s *Server) SetRoutes(urls map[int]string) error {
	s.routes.mu.Lock()
	all := maps.Clone(s.routes.urls)
	s.routes.mu.Unlock()
	maps.Copy(all, urls)
	var list []*url.URL
	for _, id := range slices.Sorted(maps.Keys(all)) {
		u, err := url.Parse(all[id])
		if err != nil || u.Host == "" {
			return fmt.Errorf("route %q of broker %d is not a URL such as nats-route://host:6222", all[id], id)
		}
		list = append(list, u)
	}
	s.routes.mu.Lock()
	same := maps.Equal(all, s.routes.urls)
	s.routes.mu.Unlock()
	if same {
		return nil
	}
	if err := s.reload(func(o *server.Options) { o.Routes = list }); err != nil {
		return err
	}
	s.routes.mu.Lock()
	s.routes.urls = all
	s.routes.mu.Unlock()
	return nil
}

// ConnectPeers is the Dial of the account in which brokers talk to each other.
func (s *Server) ConnectPeers(wrap func(net.Conn) net.Conn, opts ...nats.Option) (*nats.Conn, error) {
	return s.connect(forPeers, wrap, opts...)
}

// PeerListens says whether a broker anywhere in the cluster subscribes to a subject
// of the brokers' account. It asks the server's own table, so it costs no message;
// it is called from any goroutine.
func (s *Server) PeerListens(subject string) bool {
	return s.routes.peers != nil && s.routes.peers.SubscriptionInterest(subject)
}

// Listens reports whether anybody, at any broker of the cluster, listens on a subject of the
// clients' account. It costs as little as PeerListens.
func (s *Server) Listens(subject string) bool {
	return s.nats.GlobalAccount().Interest(subject) > 0
}

// clusterLog is natsLog without what does not concern an operator.
type clusterLog struct{ *natsLog }

// Errorf implements server.Logger. A broker that is away is not an error of this
// one: the registry says who is away.
func (l clusterLog) Errorf(format string, v ...any) {
	if l.ofClient(format) {
		return
	}
	level := slog.LevelError
	if strings.HasPrefix(format, "Error trying to connect to route") {
		level = slog.LevelDebug
	}
	l.log.Log(context.Background(), level, "nats server", "text", fmt.Sprintf(format, v...))
}
