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

// fakeServer is a NATS server with a fakeBroker behind it.
type fakeServer struct {
	b      *fakeBroker
	port   int
	server *server.Server
	conn   *nats.Conn
	work   sync.WaitGroup
	ctx    context.Context
	cancel context.CancelFunc
	mute   func(subject string) bool // swallow the answer; nil is never
}

// startServer starts a server on a port of its own; start and stop may be called
// in turn.
func startServer(t testing.TB, b *fakeBroker) *fakeServer {
	t.Helper()
	s := &fakeServer{b: b, port: server.RANDOM_PORT}
	s.start(t)
	t.Cleanup(func() { s.stop() })
	return s
}

func (s *fakeServer) url() string { return s.server.ClientURL() }

func (s *fakeServer) start(t testing.TB) {
	t.Helper()
	var err error
	s.server, err = server.NewServer(&server.Options{Host: "127.0.0.1", Port: s.port, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.server.Start()
	if !s.server.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server did not start")
	}
	if s.port == server.RANDOM_PORT {
		addr, ok := s.server.Addr().(*net.TCPAddr)
		if !ok {
			t.Fatalf("the NATS server listens on %v", s.server.Addr())
		}
		s.port = addr.Port
	}
	if s.conn, err = nats.Connect(s.url()); err != nil {
		t.Fatal(err)
	}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(t.Context())) // until stop
	if _, err = s.conn.Subscribe("metaq.>", func(m *nats.Msg) { s.work.Go(func() { s.serve(m) }) }); err != nil {
		t.Fatal(err)
	}
	if err = s.conn.Flush(); err != nil {
		t.Fatal(err)
	}
}

func (s *fakeServer) serve(m *nats.Msg) {
	answer, err := s.b.handle(s.ctx, m.Subject, m.Data)
	if s.mute != nil && s.mute(m.Subject) {
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
