package link

import (
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// natsServer is a NATS server with a connection for those who answer.
type natsServer struct {
	server *server.Server
	conn   *nats.Conn
}

func startNATS(t *testing.T) *natsServer {
	t.Helper()
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server did not start")
	}
	s := &natsServer{server: srv}
	t.Cleanup(s.Stop)
	if s.conn, err = nats.Connect(srv.ClientURL()); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *natsServer) Stop() {
	if s.conn != nil {
		s.conn.Close()
	}
	s.server.Shutdown()
	s.server.WaitForShutdown()
}

// numberedAnswers returns 0 to n-1.
func numberedAnswers(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = strconv.Itoa(i)
	}
	return out
}
