package zookeeper

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"

	"metaq/cluster/registry"
)

// Defaults of ZooKeeperOptions.
const (
	DefaultSessionTimeout = 30 * time.Second

	minDialTimeout = 250 * time.Millisecond
	maxDialTimeout = 10 * time.Second

	// zkCalls bounds the calls that are under way, with those whose callers have gone.
	zkCalls = 256
	// firstTell is after what time the log says that no server was reached yet; it says so
	// again after pauses that double, up to lastTell.
	firstTell = time.Second
	lastTell  = 30 * time.Second
)

// Options says which ensemble to use, and how.
type Options struct {
	Connect string // zk.zkConnect; see ParseZooKeeperConnect

	// SessionTimeout is how long the ensemble keeps the session without hearing of us. Short
	// ones find a dead broker sooner, and lose more sessions to pauses. The servers bound
	// it, usually to 4-40 s. 0 means DefaultSessionTimeout.
	SessionTimeout time.Duration
	// DialTimeout bounds one attempt at one server, with the handshake. 0 means a third of
	// the session timeout, divided by the number of servers: when the server in use
	// freezes, there is time to try all others before the session is over.
	DialTimeout time.Duration
	// CallTimeout bounds calls whose context has no deadline. 0 means SessionTimeout.
	CallTimeout time.Duration

	// Auth is "user:password" for ZooKeeper's digest scheme. With it every node that is
	// made is for that user alone; with WorldRead all others may read. Without it nodes
	// are open to all, as MetaQ's are.
	Auth      string
	WorldRead bool
	// Root (optional) is the zk.zkRoot of one who writes. With Auth a session is not opened
	// while nodes there belong to others, or to everybody.
	Root string

	TLS *tls.Config // nil means plain TCP

	Events Events
	Log    *slog.Logger // nil discards
}

// Events are called from a goroutine of the session, in order, and must not
// block. Nil ones are skipped.
type Events struct {
	// Connected says which server is in use now, at the start and after each change.
	Connected func(server string)
	// Disconnected says that none is. The session may well live on.
	Disconnected func(server string)
}

// ZooKeeper opens sessions with an ensemble.
type ZooKeeper struct {
	o       Options
	servers []string
	chroot  string
	acl     []zk.ACL
}

// New checks the options. It does not connect.
func New(o Options) (*ZooKeeper, error) {
	servers, chroot, err := ParseConnect(o.Connect)
	if err != nil {
		return nil, err
	}
	if o.SessionTimeout == 0 {
		o.SessionTimeout = DefaultSessionTimeout
	}
	if o.SessionTimeout < time.Second {
		return nil, fmt.Errorf("%w: a session timeout of %v; use 1s or more", registry.ErrInvalid, o.SessionTimeout)
	}
	if o.DialTimeout == 0 {
		share := o.SessionTimeout / time.Duration(3*len(servers))
		o.DialTimeout = min(max(share, minDialTimeout), maxDialTimeout)
	}
	if o.CallTimeout == 0 {
		o.CallTimeout = o.SessionTimeout
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	acl, err := o.accessList()
	if err != nil {
		return nil, err
	}
	return &ZooKeeper{o: o, servers: servers, chroot: chroot, acl: acl}, nil
}

// Open opens a session with any server, tried in random order until one answers or ctx
// ends; the error then names every server and what was wrong with it. It is an Opener.
func (z *ZooKeeper) Open(ctx context.Context) (registry.Registry, error) {
	s, err := z.connect()
	if err != nil {
		return nil, err
	}
	if err := s.greet(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	z.o.Log.Info("registry session opened", "server", s.Status().Server, "session", s.Session(), "timeout", s.timeout())
	return s, nil
}

// connect starts a session without waiting for it.
func (z *ZooKeeper) connect() (*zkSession, error) {
	life, cut := context.WithCancel(context.Background())
	s := &zkSession{
		ZooKeeper: z, hosts: newZKHosts(z.servers), life: life, cut: cut,
		news: make(chan struct{}, 1), ready: make(chan struct{}), done: make(chan struct{}), gone: make(chan struct{}),
		slots: make(chan struct{}, zkCalls), dialed: make(map[string]time.Time), linked: make(chan struct{}),
		watches: make(registry.WatchSet), armed: make(map[registry.Change]bool),
	}
	conn, events, err := zk.Connect(z.servers, z.o.SessionTimeout,
		zk.WithHostProvider(s.hosts), zk.WithDialer(s.dial), zk.WithEventCallback(s.onEvent),
		zk.WithLogger(zkLogger{z.o.Log}), zk.WithLogInfo(false), zk.WithMaxBufferSize(maxFrame))
	if err != nil {
		cut()
		return nil, fmt.Errorf("start ZooKeeper client: %w", err)
	}
	s.conn = conn
	go s.run(events)
	return s, nil
}

// greet waits for the session, gives the credentials, and looks at what is there.
func (s *zkSession) greet(ctx context.Context) error {
	pause := firstTell
	tell := time.NewTimer(pause)
	defer tell.Stop()
	for waiting := true; waiting; {
		select {
		case <-s.ready:
			waiting = false
		case <-tell.C:
			s.o.Log.Warn("no ZooKeeper server reached yet, trying on", "servers", s.servers, "errors", s.hosts.failures())
			pause = min(2*pause, lastTell)
			tell.Reset(pause)
		case <-s.done:
			return fmt.Errorf("open ZooKeeper session: %w", s.Err())
		case <-ctx.Done():
			return fmt.Errorf("%w: no ZooKeeper server reached (%w): %w", registry.ErrUnavailable, context.Cause(ctx), s.hosts.failures())
		}
	}
	if s.o.Auth != "" {
		_, err := zkCall(ctx, s, true, func() (struct{}, error) { return struct{}{}, s.conn.AddAuth("digest", []byte(s.o.Auth)) })
		if err != nil {
			return fmt.Errorf("authenticate with ZooKeeper: %w", err)
		}
	}
	if err := s.findChroot(ctx); err != nil {
		return err
	}
	if s.o.Auth == "" || s.o.Root == "" {
		return nil
	}
	return s.audit(ctx, s.full(s.o.Root), auditDepth)
}

// findChroot looks whether the chroot is there: nothing below it could be made.
func (s *zkSession) findChroot(ctx context.Context) error {
	if s.chroot == "" {
		return nil
	}
	there, err := zkCall(ctx, s, false, func() (bool, error) {
		there, _, err := s.conn.Exists(s.chroot)
		return there, err
	})
	if err == nil && !there {
		err = fmt.Errorf("%w: create it in ZooKeeper, or correct the path after the servers' list (zk.zkConnect)", registry.ErrNotFound)
	}
	if err != nil {
		return fmt.Errorf("chroot %s: %w", s.chroot, err)
	}
	return nil
}

// zkSession is one incarnation: exactly one ZooKeeper session, over one zk.Conn that is
// never used for another. One goroutine watches over it and takes it down at the end.
type zkSession struct {
	*ZooKeeper
	conn  *zk.Conn
	hosts *zkHosts

	life  context.Context // ends when the session must not connect any more
	cut   context.CancelFunc
	news  chan struct{} // capacity 1: the connection's state has changed
	ready chan struct{} // closed at the first greeting
	done  chan struct{} // closed when the session has ended
	gone  chan struct{} // closed when its goroutines have ended
	slots chan struct{} // one token a call

	// The library's callbacks take this lock, so nothing is waited for under it.
	mu        sync.Mutex // guards what follows
	id        registry.SessionID
	granted   time.Duration
	connected bool
	lost      time.Time            // when the connection was lost; zero while connected
	linked    chan struct{}        // closed while connected
	server    string               // in use, or used last
	dialed    map[string]time.Time // last attempt, by server
	socket    *guardedConn         // the latest
	ended     error                // not nil once done is closed
	watches   registry.WatchSet
	armed     map[registry.Change]bool // a watch is set at the server
	fired     uint64                   // counts events, for Watch
}

var _ registry.Registry = (*zkSession)(nil)

// onEvent is called by the library's goroutines: it must not block nor call zk.
func (s *zkSession) onEvent(e zk.Event) {
	switch e.Type {
	case zk.EventSession:
		s.onState(e)
	case zk.EventNotWatching:
		// The library gave its watches up: the session is over, which hints all of ours.
	default:
		s.onNode(e)
	}
}

func (s *zkSession) onState(e zk.Event) {
	s.mu.Lock()
	was := s.connected
	s.connected = e.State == zk.StateHasSession
	changed := s.connected != was
	switch {
	case s.connected && changed:
		s.server, s.lost = e.Server, time.Time{}
		close(s.linked)
		if !closedAlready(s.ready) {
			close(s.ready)
		}
	case changed:
		s.lost, s.linked = time.Now(), make(chan struct{})
	}
	if changed {
		// Who watches reads again, and learns whether the registry can be read. The library
		// sets its watches again, too, but they tell of newer states only, and a server may
		// know less.
		s.watches.HintAll()
	}
	s.mu.Unlock()
	if changed {
		registry.Offer(s.news)
	}
	if e.State == zk.StateExpired {
		s.end(fmt.Errorf("%w: it expired", registry.ErrSessionLost))
	}
}

func closedAlready(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// end ends the session, for the first reason that is given.
func (s *zkSession) end(why error) {
	s.mu.Lock()
	first := s.ended == nil
	if first {
		s.ended = why
		s.connected = false
		close(s.done)
		s.watches.EndSession(s)
	}
	s.mu.Unlock()
	if first && !errors.Is(why, registry.ErrClosed) {
		s.hosts.end()
		s.cut()
	}
}

// run tells about the connection and takes everything down at the end.
func (s *zkSession) run(events <-chan zk.Event) {
	defer close(s.gone)
	told := ""
	for {
		s.mu.Lock()
		connected, server := s.connected, s.server
		s.mu.Unlock()
		switch {
		case connected && told != server:
			told = server
			s.o.Log.Info("connected to ZooKeeper", "server", server, "session", s.Session())
			if f := s.o.Events.Connected; f != nil {
				f(server)
			}
		case !connected && told != "" && s.Err() == nil:
			s.o.Log.Warn("disconnected from ZooKeeper, session kept", "server", told)
			if f := s.o.Events.Disconnected; f != nil {
				f(told)
			}
			told = ""
		}
		select {
		case <-s.news:
		case <-events: // also seen by onEvent; the channel is only read to be empty
		case <-s.done:
			s.takeDown(events)
			return
		}
	}
}

// takeDown says goodbye if somebody listens, and waits for all goroutines.
func (s *zkSession) takeDown(events <-chan zk.Event) {
	if s.conn.State() != zk.StateHasSession {
		s.hosts.end()
		s.cut()
	}
	s.conn.Close() // sends the goodbye and waits up to three seconds for its answer
	s.hosts.end()
	s.cut()
	s.mu.Lock()
	socket := s.socket
	s.mu.Unlock()
	if socket != nil {
		if err := socket.Close(); err != nil {
			s.o.Log.Debug("close of ZooKeeper connection", "error", err)
		}
	}
	for range events { // closed when the library's goroutines have ended
	}
	for range cap(s.slots) { // all calls have returned
		s.slots <- struct{}{}
	}
}

// Session is the id that ZooKeeper gave.
func (s *zkSession) Session() registry.SessionID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.id
}

func (s *zkSession) timeout() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.granted
}

// Status names the server in use.
func (s *zkSession) Status() registry.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return registry.Status{Connected: s.connected, Server: s.server, Lost: s.lost}
}

// Done is closed when the session has ended.
func (s *zkSession) Done() <-chan struct{} { return s.done }

// Err says why.
func (s *zkSession) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// Close ends the session.
func (s *zkSession) Close() error {
	s.end(registry.ErrClosed)
	<-s.gone
	return nil
}

// zkLogger takes the library's chatter.
type zkLogger struct{ log *slog.Logger }

// Printf logs at Debug.
func (l zkLogger) Printf(format string, args ...any) {
	l.log.Debug("zookeeper client", "text", fmt.Sprintf(format, args...))
}
