package client

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

// fakeServer is a NATS server with a fakeBroker behind it.
type fakeServer struct {
	b      *fakeBroker
	port   int
	server *server.Server
	conn   *nats.Conn
	work   sync.WaitGroup
	ctx    context.Context
	cancel context.CancelFunc

	mu   sync.Mutex
	mute func(subject string) bool // guarded by mu; swallow the answer? nil is never
}

// startServer starts a server on a port of its own; start and stop may be called
// in turn.
func startServer(t testing.TB, b *fakeBroker) *fakeServer {
	t.Helper()
	s := &fakeServer{b: b, port: randomPort}
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	return s
}

func (s *fakeServer) url() string { return s.server.ClientURL() }

func (s *fakeServer) start() (err error) {
	s.server, err = server.NewServer(&server.Options{Host: "127.0.0.1", Port: s.port, NoSigs: true, NoLog: true})
	if err != nil {
		return err
	}
	s.server.Start()
	if !s.server.ReadyForConnections(10 * time.Second) {
		return errors.New("the NATS server did not start")
	}
	if addr, ok := s.server.Addr().(*net.TCPAddr); ok {
		s.port = addr.Port
	}
	if s.conn, err = nats.Connect(s.url()); err != nil {
		return err
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if _, err = s.conn.Subscribe("metaq.>", func(m *nats.Msg) { s.work.Go(func() { s.serve(m) }) }); err != nil {
		return err
	}
	return s.conn.Flush()
}

func (s *fakeServer) serve(m *nats.Msg) {
	answer, err := s.b.handle(s.ctx, m.Subject, m.Data)
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
	_ = s.conn.PublishMsg(out) // the server may be gone meanwhile
}

func (s *fakeServer) stop() {
	s.cancel()
	s.conn.Close()
	s.work.Wait()
	s.server.Shutdown()
	s.server.WaitForShutdown()
}

// swallow sets mute.
func (s *fakeServer) swallow(mute func(subject string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mute = mute
}
