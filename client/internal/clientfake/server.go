package clientfake

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// randomPort has the server choose a port, and keep it when it starts again.
const randomPort = server.RANDOM_PORT

// Server is a NATS server with a Broker behind it.
type Server struct {
	B      *Broker
	Port   int
	server *server.Server
	conn   *nats.Conn
	work   sync.WaitGroup
	ctx    context.Context
	cancel context.CancelFunc

	mu   sync.Mutex
	mute func(subject string) bool // guarded by mu; swallow the answer? nil is never
}

// StartServer starts a server on a port of its own; start and stop may be called
// in turn.
func StartServer(t testing.TB, b *Broker) *Server {
	t.Helper()
	s := &Server{B: b, Port: randomPort}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// URL returns the address that clients connect to.
func (s *Server) URL() string { return s.server.ClientURL() }

// Start starts the server, again on the port that it had.
func (s *Server) Start() (err error) {
	s.server, err = server.NewServer(&server.Options{Host: "127.0.0.1", Port: s.Port, NoSigs: true, NoLog: true})
	if err != nil {
		return err
	}
	s.server.Start()
	if !s.server.ReadyForConnections(10 * time.Second) {
		return errors.New("the NATS server did not start")
	}
	if addr, ok := s.server.Addr().(*net.TCPAddr); ok {
		s.Port = addr.Port
	}
	if s.conn, err = nats.Connect(s.URL()); err != nil {
		return err
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if _, err = s.conn.Subscribe("metaq.>", func(m *nats.Msg) { s.work.Go(func() { s.serve(m) }) }); err != nil {
		return err
	}
	return s.conn.Flush()
}

func (s *Server) serve(m *nats.Msg) {
	answer, err := s.B.Handle(s.ctx, m.Subject, m.Data)
	s.mu.Lock()
	mute := s.mute
	s.mu.Unlock()
	if mute != nil && mute(m.Subject) {
		return
	}
	out := &nats.Msg{Subject: m.Reply, Data: answer}
	if errors.Is(err, errNobody) {
		out.Header = nats.Header{"Status": {"503"}}
	} else if err != nil {
		return
	}
	_ = s.conn.PublishMsg(out) // the server may be gone
}

// Stop ends the server and joins what it runs.
func (s *Server) Stop() {
	s.cancel()
	s.conn.Close()
	s.work.Wait()
	s.server.Shutdown()
	s.server.WaitForShutdown()
}

// Swallow sets mute.
func (s *Server) Swallow(mute func(subject string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mute = mute
}
