package transport

import (
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
)

func startMember(t *testing.T) *Server {
	t.Helper()
	s, err := StartServer(ServerOptions{
		Host: "127.0.0.1", Logger: slog.New(slog.DiscardHandler),
		Cluster: &ClusterOptions{Name: "c", Advertise: "127.0.0.1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

func asItIs(c net.Conn) net.Conn { return c }

// The account of the brokers has no password that somebody could guess: what counts is who
// opened the connection.
func TestNoNameAndNoPasswordLeadToTheBrokersAccount(t *testing.T) {
	s := startMember(t)
	peers, err := s.ConnectPeers(asItIs)
	if err != nil {
		t.Fatal(err)
	}
	defer peers.Close()
	if err := peers.Publish("metaq.node.0.state", nil); err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{"broker", "client", peersAccount, "somebody"} {
		for _, password := range []string{"", "x"} {
			nc, err := nats.Connect("nats://"+s.Addr().String(), nats.UserInfo(user, password))
			if err == nil {
				nc.Close()
				t.Errorf("%s %q was let in", user, password)
			}
		}
	}
	nc, err := nats.Connect("nats://" + s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	heard := make(chan string, 10)
	if _, err := nc.Subscribe(">", func(m *nats.Msg) { heard <- m.Subject }); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*nats.Conn{peers, nc} {
		subject := "client.says"
		if c == peers {
			subject = "metaq.node.0.state"
		}
		if err := c.Publish(subject, nil); err != nil {
			t.Fatal(err)
		}
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if subject := <-heard; subject != "client.says" {
		t.Errorf("a client heard %s", subject)
	}
}

// In a cluster the server listens on the loopback, too. Who connects there goes past the
// front, so nobody may.
func TestNobodyGoesPastTheFront(t *testing.T) {
	s := startMember(t)
	past := s.nats.Addr().String()
	if past == s.Addr().String() {
		t.Fatal("the server has no port of its own")
	}
	nc, err := nats.Connect("nats://" + past)
	if err == nil {
		nc.Close()
		t.Fatal("a client was let in past the front")
	}
	if !strings.Contains(strings.ToLower(err.Error()), "authorization") {
		t.Errorf("refused with %v", err)
	}
}

// Each reload of the server asks about every connection again: all that the process made
// stay, in the accounts that they had.
func TestConnectionsSurviveReloads(t *testing.T) {
	s := startMember(t)
	peers, err := s.ConnectPeers(asItIs)
	if err != nil {
		t.Fatal(err)
	}
	defer peers.Close()
	client, err := nats.Connect("nats://"+s.Addr().String(), nats.NoReconnect())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := peers.Subscribe("metaq.node.0.state", func(*nats.Msg) {}); err != nil {
		t.Fatal(err)
	}
	for _, port := range []string{"1", "2"} {
		if err := s.SetRoutes(map[int]string{1: "nats-route://127.0.0.1:" + port}); err != nil {
			t.Fatal(err)
		}
	}
	for _, nc := range []*nats.Conn{peers, client} {
		if err := nc.Flush(); err != nil || nc.Reconnects != 0 {
			t.Errorf("%v after %d reconnects", err, nc.Reconnects)
		}
	}
	if !s.PeerListens("metaq.node.0.state") {
		t.Error("the brokers' account does not know who listens in it any more")
	}
}

// What is known of a connection goes with it.
func TestConnectionsThatHaveGoneAreForgotten(t *testing.T) {
	s := startServer(t)
	count := func() int {
		s.made.mu.RLock()
		defer s.made.mu.RUnlock()
		return len(s.made.byID)
	}
	before := count()
	for range 3 {
		nc, err := nats.Connect("nats://" + s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		nc.Close()
	}
	eventually(t, "all are forgotten", func() bool { return count() == before })
}
