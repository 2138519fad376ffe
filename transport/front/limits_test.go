package front_test

import (
	"bufio"
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"metaq/transport/front"
)

const plainConnect = "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true}\r\nPING\r\n"

// Clients that do not read are bounded together: the one for which most waits is cut off, and
// those that read are not.
func TestTheLargestDebtorIsCutOff(t *testing.T) {
	const bound = 4 << 20
	s := newStand(t, 64<<20, func(o *front.Options) { o.MaxOutbound = bound })
	came := make(chan string, 2)
	s.take(func(m *nats.Msg) { came <- m.Reply })
	var replies []string
	for range 2 {
		l := dial(t, s)
		l.say(plainConnect)
		l.expect("PONG")
		l.say("SUB i.* 1\r\nPUB q.put.t i.1 0\r\n\r\nPING\r\n")
		l.expect("PONG")
		replies = append(replies, <-came)
	}
	answer := bytes.Repeat([]byte("a"), 256<<10)
	for range 4 {
		s.front.Answer(replies[1], answer, nil)
	}
	for range 128 { // sockets take some of it, so how many it needs is not known
		s.front.Answer(replies[0], answer, nil)
		if n := s.front.Outbound(); n > bound+int64(len(answer)) {
			t.Fatalf("%d bytes wait", n)
		}
	}
	eventually(t, "one was cut off", func() bool { return s.front.Clients() == 1 && s.front.CutOff() == 1 })
	before := s.front.Outbound()
	s.front.Answer(replies[0], answer, nil) // it has gone
	if n := s.front.Outbound(); n > before {
		t.Error("the wrong one was cut off")
	}
}

// No get is read while an answer waits for the client; what is not a get is.
func TestGetsWaitUntilAnswersAreTaken(t *testing.T) {
	s := newStand(t, 64<<20, func(o *front.Options) { o.Reads = "puts" })
	answer := bytes.Repeat([]byte("a"), 3<<20)
	var mu sync.Mutex
	var seen []string
	s.take(func(m *nats.Msg) {
		mu.Lock()
		seen = append(seen, m.Subject)
		mu.Unlock()
		if m.Subject == "q.puts.t" {
			for range 4 { // more than a socket takes
				s.front.Answer(m.Reply, answer, nil)
			}
		}
	})
	count := func() int { mu.Lock(); defer mu.Unlock(); return len(seen) }
	l := dial(t, s)
	l.say(plainConnect)
	l.expect("PONG")
	l.say("SUB i.* 1\r\nPUB q.puts.t i.1 0\r\n\r\n")
	eventually(t, "the first is read", func() bool { return count() == 1 })
	l.say("PUB q.puts.t i.2 0\r\n\r\n")
	other := s.client(t)
	if err := other.Publish("q.put.t", nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another client is not held up", func() bool { return count() == 2 })
	l.expect("MSG i.1 1 ")
}

func TestSubscriptionsAreBounded(t *testing.T) {
	s := newStand(t, 64<<20, func(o *front.Options) { o.MaxSubs = 3 })
	l := dial(t, s)
	l.say(plainConnect)
	l.expect("PONG")
	l.say("SUB a 1\r\nSUB b 2\r\nSUB i.* 3\r\nSUB d 4\r\nSUB a 1\r\n" +
		"SUB " + strings.Repeat("a.", 32) + "b 5\r\nUNSUB 2\r\nSUB e 6\r\n")
	eventually(t, "two were refused", func() bool { return s.front.RefusedSubs() == 2 })
}

// Brokers talk to each other on their own subjects; a client that publishes there is told so,
// and nothing of it arrives.
func TestClientsMayNotPublishToTheBrokersOwn(t *testing.T) {
	s := newStand(t, 64<<20)
	heard := listen(t, s.own, "q.heard.>")
	l := dial(t, s)
	l.say(plainConnect)
	l.expect("PONG")
	l.say("SUB i.* 1\r\n")
	for _, subject := range []string{"q.heard.orders.eu", "q.heard.>", "q.node.0.put.t.0-0", "q.heard"} {
		said := "forbidden " + subject
		l.say("PUB " + subject + " i.1 6\r\nforged\r\n")
		l.expect(fmt.Sprintf("MSG i.1 1 %d", len(said)), said)
		l.say("PUB " + subject + " 6\r\nforged\r\n")
		l.expect("-ERR 'Permissions Violation")
	}
	l.say("PUB q.heardsay 2\r\nok\r\nPUB q.put.t i.1 5\r\nafter\r\n")
	l.expect("MSG i.1 1 5", "after")
	if err := s.own.Flush(); err != nil {
		t.Fatal(err)
	}
	if n, _, err := heard.Pending(); n != 0 || err != nil {
		t.Errorf("%d messages arrived: %v", n, err)
	}
}

// The server forgets a connection's subscriptions at a second CONNECT; so there is none.
func TestASecondConnectEndsTheConnection(t *testing.T) {
	s := newStand(t, 64<<20)
	l := dial(t, s)
	l.say(plainConnect)
	l.expect("PONG")
	l.say("SUB i.* 1\r\nPUB q.put.t i.1 5\r\nfirst\r\n" + plainConnect)
	l.expect("MSG i.1 1 5", "first", "-ERR 'CONNECT")
	eventually(t, "it has gone", func() bool { return s.front.Clients() == 0 })
}

// Who connects and says nothing goes after a while, and earlier when there are many.
func TestSilentConnectionsGo(t *testing.T) {
	s := newStand(t, 64<<20, func(o *front.Options) {
		o.Limits = front.Limits{Silent: 3, ConnectTimeout: time.Hour}
	})
	var silent []net.Conn
	for range 3 {
		c, err := net.Dial("tcp", s.front.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.HasPrefix(line, "INFO") {
			t.Fatal(line, err)
		}
		silent = append(silent, c)
	}
	nc := s.client(t)
	if err := nc.Flush(); err != nil {
		t.Errorf("an honest client: %v", err)
	}
	line, err := bufio.NewReader(silent[0]).ReadString('\n')
	if !strings.HasPrefix(line, "-ERR") {
		t.Errorf("the oldest got %q, %v", line, err)
	}
	eventually(t, "the others stay", func() bool { return s.front.Clients() == 3 })
}

func TestASilentConnectionHasADeadline(t *testing.T) {
	s := newStand(t, 64<<20, func(o *front.Options) { o.Limits.ConnectTimeout = time.Millisecond })
	l := dial(t, s)
	l.expect("-ERR 'Authentication Timeout'")
	nc := newStand(t, 64<<20, func(o *front.Options) { o.Limits.ConnectTimeout = patience }).client(t)
	if err := nc.Flush(); err != nil {
		t.Error(err)
	}
}

// Clients beyond the limits get INFO, which libraries wait for, and why they are refused.
func TestConnectionsAreBounded(t *testing.T) {
	for name, limits := range map[string]front.Limits{
		"in all":           {Connections: 2},
		"from one address": {PerAddress: 2},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t, 64<<20, func(o *front.Options) { o.Limits = limits })
			first := s.client(t)
			s.client(t)
			nc, err := nats.Connect(s.url())
			if err == nil {
				nc.Close()
			}
			if err == nil || !strings.Contains(err.Error(), "maximum connections") {
				t.Errorf("the third: %v", err)
			}
			if n := s.front.RefusedConnections(); n != 1 {
				t.Errorf("%d were counted", n)
			}
			if limits.PerAddress == 0 { // else new ones come at their rate
				first.Close()
				eventually(t, "there is room again", func() bool {
					nc, err := nats.Connect(s.url())
					if err == nil {
						nc.Close()
					}
					return err == nil
				})
			}
		})
	}
}

// What clients do wrong is logged with the address, once in a while and with a count.
func TestFaultsOfClientsAreLoggedOnceWithTheirAddress(t *testing.T) {
	var mu sync.Mutex
	var log bytes.Buffer
	s := newStand(t, 64<<20, func(o *front.Options) {
		o.Logger = slog.New(slog.NewTextHandler(writerFunc(func(b []byte) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			return log.Write(b)
		}), nil))
	})
	for range 50 {
		l := dial(t, s)
		l.say("GET / HTTP/1.0\r\n\r\n")
		l.expect("-ERR")
	}
	s.front.Close()
	mu.Lock()
	defer mu.Unlock()
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) > 6 {
		t.Errorf("%d lines", len(lines))
	}
	for _, line := range lines {
		if !strings.Contains(line, "client=127.0.0.1:") {
			t.Errorf("no address: %s", line)
		}
	}
	if !strings.Contains(log.String(), "count=49") {
		t.Errorf("the others are not counted:\n%s", log.String())
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
