package front_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"

	"metaq/transport/front"
)

// A connection costs one goroutine, and the server nothing, until CONNECT has come.
func TestAConnectionCostsLittleBeforeConnect(t *testing.T) {
	var opened atomic.Int64
	s := newStand(t, 64<<20, func(o *front.Options) {
		open := o.Server
		o.Server = func() (net.Conn, error) { opened.Add(1); return open() }
	})
	own, before := opened.Load(), runtime.NumGoroutine()
	const many = 50
	var all []*line
	for range many {
		all = append(all, dial(t, s)) // has INFO
	}
	if n := runtime.NumGoroutine() - before; n > many {
		t.Errorf("%d goroutines for %d connections", n, many)
	}
	if n := opened.Load() - own; n != 0 {
		t.Errorf("%d connections to the server", n)
	}
	all[0].say(plainConnect + "SUB a 1\r\nPING\r\n")
	all[0].expect("PONG", "PONG")
	if n := opened.Load() - own; n != 1 {
		t.Errorf("%d connections to the server for one client", n)
	}
}

// What comes first is CONNECT, whole, or the connection ends.
func TestConnectComesFirst(t *testing.T) {
	s := newStand(t, 64<<20)
	for _, tc := range []struct{ says, hears string }{
		{"PING\r\n", "-ERR 'CONNECT must be the first line'"},
		{"SUB > 1\r\n", "-ERR 'CONNECT must be the first line'"},
		{"PUB q.put.t 1\r\na\r\n", "-ERR 'CONNECT must be the first line'"},
		{"\x16\x03\x01", "-ERR 'Unknown Protocol Operation'"},
		{"\r\n", "-ERR 'Unknown Protocol Operation'"},
		{"CONNECT {\"user\":1}\r\n", "-ERR 'CONNECT has a field of the wrong type'"},
		{"CONNECT {" + strings.Repeat(" ", 16<<10), "-ERR 'maximum control line exceeded'"},
	} {
		l := dial(t, s)
		l.say(tc.says)
		l.expect(tc.hears)
	}
	eventually(t, "all have gone", func() bool { return s.front.Clients() == 0 })
	if straight, around := s.seen(); straight+around != 0 {
		t.Errorf("%d requests were made", straight+around)
	}
}

// INFO is the front's: where the client is, and where the front listens.
func TestInfoIsTheFrontsOwn(t *testing.T) {
	s := newStand(t, 64<<20)
	c, err := net.Dial("tcp", s.front.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	text, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var info struct {
		ClientID   uint64 `json:"client_id"`
		ClientIP   string `json:"client_ip"`
		Host       string
		Port       int
		MaxPayload int `json:"max_payload"`
		Headers    bool
	}
	if err := json.Unmarshal([]byte(strings.TrimPrefix(text, "INFO ")), &info); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if at := fmt.Sprintf("%s:%d", info.Host, info.Port); at != s.front.Addr().String() ||
		info.ClientIP != "127.0.0.1" || info.ClientID == 0 || info.MaxPayload != maxPayload || !info.Headers {
		t.Error(text)
	}
	if ip, err := s.client(t).GetClientIP(); err != nil || ip.String() != "127.0.0.1" {
		t.Errorf("a library finds %v, %v", ip, err)
	}
}

// scripted is a server that says what a test has it say.
type scripted struct {
	mu  sync.Mutex
	all []net.Conn
}

func (s *scripted) open(info string) func() (net.Conn, error) {
	return func() (net.Conn, error) {
		ours, theirs := net.Pipe()
		s.mu.Lock()
		s.all = append(s.all, theirs)
		s.mu.Unlock()
		go func() { // ends with the connection
			if _, err := fmt.Fprint(theirs, info); err != nil {
				return
			}
			r := bufio.NewReader(theirs)
			for {
				text, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if text == "PING\r\n" {
					if _, err := fmt.Fprint(theirs, "PONG\r\n"); err != nil {
						return
					}
				}
			}
		}()
		return ours, nil
	}
}

// When brokers come or go, clients hear of it once, and of nothing else that the server says
// of itself.
func TestClientsHearOfOtherServers(t *testing.T) {
	server := &scripted{}
	s := newStand(t, 64<<20, func(o *front.Options) {
		o.Server = server.open("INFO {\"server_id\":\"s\",\"client_id\":7,\"client_ip\":\"1.2.3.4\",\"port\":1,\"connect_urls\":[\"a:1\"]}\r\n")
	})
	old, l, silent, asking := dial(t, s), dial(t, s), dial(t, s), dial(t, s)
	asking.say("CONNECT {\"verbose\":true,\"protocol\":1}\r\n")
	asking.expect("+OK")
	old.say("CONNECT {\"verbose\":false}\r\nPING\r\n")
	old.expect("PONG")
	l.say("CONNECT {\"verbose\":false,\"protocol\":1}\r\nPING\r\n")
	l.expect("PONG", `INFO {"connect_info":true,"remote_account":"$G",`) // as the server says it
	server.mu.Lock()
	all := server.all
	server.mu.Unlock()
	for _, c := range all { // the server says it to each connection
		if _, err := fmt.Fprint(c, "INFO {\"server_id\":\"s\",\"client_id\":8,\"connect_urls\":[\"a:1\",\"b:2\"],\"nonce\":\"n\"}\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	got := l.next()
	if !strings.Contains(got, `"b:2"`) || !strings.Contains(got, `"client_ip":"127.0.0.1"`) || strings.Contains(got, "nonce") ||
		!strings.Contains(got, `"port":`+s.front.Addr().String()[len("127.0.0.1:"):]) {
		t.Error(got)
	}
	for _, c := range []*line{old, l} {
		c.say("PING\r\n")
		c.expect("PONG") // nothing before
	}
	// Libraries give up a connection on which anything but PONG answers their first PING.
	silent.say("CONNECT {\"verbose\":false,\"protocol\":1}\r\n")
	for _, c := range []*line{silent, asking} {
		c.say("PING\r\n")
		c.expect("PONG")
		if got := c.next(); !strings.Contains(got, `"b:2"`) {
			t.Errorf("a client that had the old INFO hears %q", got)
		}
	}
}

// An answer that goes by the server finds the subscription that was made just before.
func TestAnAnswerFindsTheSubscriptionThatWasMadeForIt(t *testing.T) {
	s := newStand(t, 64<<20)
	l := dial(t, s)
	l.say(plainConnect)
	l.expect("PONG")
	for i := range 3000 {
		l.say(fmt.Sprintf("SUB i.%[1]d g %[1]d\r\nUNSUB %[1]d 1\r\nPUB q.put.t i.%[1]d 1\r\na\r\n", i))
		l.expect(fmt.Sprintf("MSG i.%[1]d %[1]d 1", i), "a")
	}
	if straight, around := s.seen(); straight != 3000 || around != 0 {
		t.Errorf("%d went straight, %d around", straight, around)
	}
}

// Without a gateway nobody answers, whoever subscribes to the requests.
func TestNobodyElseGetsRequests(t *testing.T) {
	s := newStand(t, 64<<20)
	s.front.Leave()
	rogue := s.client(t)
	heard := make(chan string, 10)
	for _, queue := range []string{"", "q", "metaq"} {
		if _, err := rogue.QueueSubscribe("q.>", queue, func(m *nats.Msg) { heard <- m.Subject; _ = m.Respond([]byte("forged")) }); err != nil {
			t.Fatal(err)
		}
	}
	if err := rogue.Flush(); err != nil {
		t.Fatal(err)
	}
	if m, err := s.client(t).Request("q.put.t", []byte("x"), patience); err != nats.ErrNoResponders { //nolint:errorlint // the library's own
		t.Errorf("answered with %v, %v", m, err)
	}
	if err := rogue.Flush(); err != nil {
		t.Fatal(err)
	}
	if len(heard) > 0 {
		t.Errorf("%s went to a client", <-heard)
	}
}

// A client that only asks the broker has no connection to the server until something else is
// said by it, or to its inbox; then nothing is missing.
func TestAClientThatOnlyAsksNeedsNoServer(t *testing.T) {
	for name, tc := range map[string]struct {
		opens int64
		do    func(t *testing.T, s *stand, nc *nats.Conn, inbox string)
	}{
		"it asks": {0, func(*testing.T, *stand, *nats.Conn, string) {}},
		"another client writes to its inbox": {2, func(t *testing.T, s *stand, nc *nats.Conn, inbox string) {
			t.Helper()
			if err := s.client(t).Publish(inbox+".x", []byte("hello")); err != nil {
				t.Fatal(err)
			}
		}},
		"another client has the broker answer there": {1, func(t *testing.T, s *stand, _ *nats.Conn, inbox string) {
			t.Helper()
			if err := s.client(t).PublishRequest("q.put.t", inbox+".x", []byte("hello")); err != nil {
				t.Fatal(err)
			}
		}},
		"it asks other clients": {1, func(t *testing.T, _ *stand, nc *nats.Conn, inbox string) {
			t.Helper()
			if _, err := nc.Request("nobody", nil, patience); !errors.Is(err, nats.ErrNoResponders) {
				t.Error(err)
			}
			if err := nc.Publish(inbox+".x", []byte("hello")); err != nil {
				t.Fatal(err)
			}
		}},
		"it listens to other clients": {1, func(t *testing.T, s *stand, nc *nats.Conn, inbox string) {
			t.Helper()
			sub := listen(t, nc, "news")
			if err := errors.Join(s.own.Publish("news", nil), s.own.Publish(inbox+".x", []byte("hello"))); err != nil {
				t.Fatal(err)
			}
			if _, err := sub.NextMsg(patience); err != nil {
				t.Error(err)
			}
		}},
		"it listens in a queue group": {1, func(t *testing.T, s *stand, nc *nats.Conn, inbox string) {
			t.Helper()
			if _, err := nc.QueueSubscribeSync(inbox+".y", "g"); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(nc.Flush(), s.own.Publish(inbox+".x", []byte("hello"))); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var opened atomic.Int64
			s := newStand(t, 64<<20, func(o *front.Options) {
				open := o.Server
				o.Server = func() (net.Conn, error) { opened.Add(1); return open() }
			})
			before := opened.Load()
			nc := s.client(t)
			inbox := nats.NewInbox()
			sub := listen(t, nc, inbox+".x")
			for range 3 {
				if _, err := nc.Request("q.put.t", []byte("x"), patience); err != nil {
					t.Fatal(err)
				}
			}
			if n := opened.Load() - before; n != 0 {
				t.Errorf("%d connections to the server for requests", n)
			}
			tc.do(t, s, nc, inbox)
			if tc.opens > 0 {
				if m, err := sub.NextMsg(patience); err != nil || string(m.Data) != "hello" {
					t.Errorf("its inbox got %v, %v", m, err)
				}
			}
			if n := opened.Load() - before; n != tc.opens {
				t.Errorf("%d connections to the server, want %d", n, tc.opens)
			}
			if _, err := nc.Request("q.put.t", []byte("x"), patience); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Of two clients with one inbox both hear what goes there.
func TestTwoClientsMayShareAnInbox(t *testing.T) {
	s := newStand(t, 64<<20)
	a, b := listen(t, s.client(t), "_INBOX.both.>"), listen(t, s.client(t), "_INBOX.both.1")
	if err := s.client(t).Publish("_INBOX.both.1", nil); err != nil {
		t.Fatal(err)
	}
	for _, sub := range []*nats.Subscription{a, b} {
		if _, err := sub.NextMsg(patience); err != nil {
			t.Error(err)
		}
	}
}

// Each of many clients finds its answers while others write to its inbox at any moment.
func TestClientsAreWokenAtAnyMoment(t *testing.T) {
	s := newStand(t, 64<<20)
	writer := s.client(t)
	for i := range 300 {
		l := dial(t, s)
		inbox := fmt.Sprintf("_INBOX.c%d", i)
		l.say(plainConnect + "SUB " + inbox + ".* 1\r\nPING\r\n")
		l.expect("PONG", "PONG")
		var writing sync.WaitGroup
		writing.Go(func() {
			if err := errors.Join(writer.Publish(inbox+".m", []byte("a")), writer.Flush()); err != nil {
				t.Error(err)
			}
		})
		l.say("PUB q.put.t " + inbox + ".r 1\r\nb\r\nSUB other 2\r\nPUB other 1\r\nc\r\n")
		heard := map[string]int{}
		for range 3 {
			l.expect("MSG ")
			heard[l.next()]++
		}
		writing.Wait()
		if heard["a"] != 1 || heard["b"] != 1 || heard["c"] != 1 {
			t.Fatalf("client %d heard %v", i, heard)
		}
		_ = l.Close()
	}
}
