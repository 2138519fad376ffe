package front_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"metaq/transport/front"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	patience   = 10 * time.Second
	maxPayload = 1 << 20
)

// stand is a front before a real NATS server, with a gateway that answers every
// request by its own payload and notes what came straight to it.
type stand struct {
	front *front.Front
	nats  *server.Server
	own   *nats.Conn // the gateway's connection to the server

	mu       sync.Mutex
	straight []string // payloads of the requests that came from the front
	around   []string // of those that came by the server
}

func newStand(t *testing.T, maxPending int, change ...func(*front.Options)) *stand {
	t.Helper()
	s := newServed(t, &server.Options{DontListen: true}, false)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := front.Options{
		Park: true, Server: s.nats.InProcessConn, MaxPayload: maxPayload, MaxPending: maxPending,
		Prefix: "q", Ops: []string{"put", "puts"}, Logger: slog.New(slog.DiscardHandler),
		Heard: "heard", Wanted: func(subject string) bool { return s.nats.GlobalAccount().Interest(subject) > 0 },
		Closed: []string{"heard", "node"}, Forbidden: func(subject string) []byte { return []byte("forbidden " + subject) },
	}
	for _, f := range change {
		f(&o)
	}
	s.front = front.Listen(l, o)
	s.take(func(m *nats.Msg) {
		s.note(&s.straight, m)
		switch {
		case front.Mine(m.Reply):
			s.front.Answer(m.Reply, m.Data, nil)
		case m.Reply != "" && !strings.HasPrefix(m.Reply, "q."):
			s.front.Wake(m.Reply)
			_ = s.own.Publish(m.Reply, m.Data)
		}
	})
	if err := s.front.Serve(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.front.Close)
	return s
}

// newServed is a NATS server without a front. Its requests are answered by their own payload,
// if it answers.
func newServed(t *testing.T, o *server.Options, answers bool) *stand {
	t.Helper()
	o.NoSigs, o.NoLog, o.MaxPayload = true, true, maxPayload
	ns, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	if !ns.ReadyForConnections(patience) {
		t.Fatal("the NATS server did not start")
	}
	s := &stand{nats: ns}
	s.own, err = nats.Connect("", nats.InProcessServer(ns))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.own.Close)
	if _, err := s.own.Subscribe("q.put.>", func(m *nats.Msg) {
		s.note(&s.around, m)
		if answers && m.Reply != "" {
			_ = s.own.Publish(m.Reply, m.Data)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.own.Flush(); err != nil {
		t.Fatal(err)
	}
	return s
}

// take makes f the gateway.
func (s *stand) take(f func(*nats.Msg)) {
	s.front.Take(func(r *front.Requests) {
		for i := range r.All() {
			m := &r.All()[i]
			own := m.Msg // tests keep it, and what is read next lies where Data does
			own.Data = bytes.Clone(m.Data)
			f(&own)
			if memory := m.Memory(); memory != nil {
				memory.Release(1)
			}
		}
	})
}

func (s *stand) note(where *[]string, m *nats.Msg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*where = append(*where, string(m.Data))
}

// seen returns how many requests came straight and around.
func (s *stand) seen() (straight, around int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.straight), len(s.around)
}

func (s *stand) url() string { return "nats://" + s.front.Addr().String() }

func (s *stand) client(t *testing.T, o ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(s.url(), append(o, nats.NoReconnect())...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// listen subscribes; when it returns the server knows.
func listen(t *testing.T, nc *nats.Conn, subject string) *nats.Subscription {
	t.Helper()
	sub, err := nc.SubscribeSync(subject)
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return sub
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	late, tick := time.After(patience), time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("not so after %v: %s", patience, what)
		}
	}
}

// A client library's requests go straight to the gateway, whatever their size, and
// everything else works as with the server.
func TestALibrarysRequestsGoStraight(t *testing.T) {
	s := newStand(t, 64<<20)
	nc := s.client(t)
	heard := make(chan string, 1)
	if _, err := nc.Subscribe("news.*", func(m *nats.Msg) { heard <- m.Subject + " " + string(m.Data) + " " + m.Header.Get("A") }); err != nil {
		t.Fatal(err)
	}
	for i, size := range []int{0, 1, 100, 4096, 65_536, 70_000, maxPayload} {
		body := bytes.Repeat([]byte{byte('a' + i)}, size)
		m, err := nc.Request("q.put.t", body, patience)
		if err != nil || !bytes.Equal(m.Data, body) {
			t.Fatalf("request of %d bytes: %d bytes, %v", size, len(m.Data), err)
		}
	}
	if straight, around := s.seen(); straight != 7 || around != 0 {
		t.Errorf("%d went straight, %d around", straight, around)
	}
	if err := nc.PublishMsg(&nats.Msg{Subject: "news.a", Data: []byte("b"), Header: nats.Header{"A": {"c"}}}); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-heard:
		if got != "news.a b c" {
			t.Errorf("heard %q", got)
		}
	case <-time.After(patience):
		t.Error("heard nothing")
	}
	if _, err := nc.Request("nobody", nil, patience); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("a request that nobody serves: %v", err)
	}
}

// Whatever is unusual about a request or its answer, it goes straight to the gateway, and so
// does all that follows on the connection.
func TestEveryRequestGoesStraight(t *testing.T) {
	for _, tc := range []struct {
		name   string
		copies int
		do     func(t *testing.T, s *stand, nc *nats.Conn)
	}{
		{"the answer is for another connection", 0, func(t *testing.T, s *stand, nc *nats.Conn) {
			t.Helper()
			sub, err := s.own.SubscribeSync("elsewhere.1")
			if err != nil {
				t.Fatal(err)
			}
			if err := nc.PublishRequest("q.put.t", "elsewhere.1", []byte("x")); err != nil {
				t.Fatal(err)
			}
			if _, err := sub.NextMsg(patience); err != nil {
				t.Errorf("the other connection got nothing: %v", err)
			}
		}},
		{"two subscriptions want it", 0, func(t *testing.T, _ *stand, nc *nats.Conn) {
			t.Helper()
			a, errA := nc.SubscribeSync("both.*")
			b, errB := nc.SubscribeSync("both.1")
			if errA != nil || errB != nil {
				t.Fatal(errA, errB)
			}
			if err := nc.PublishRequest("q.put.t", "both.1", []byte("x")); err != nil {
				t.Fatal(err)
			}
			for _, sub := range []*nats.Subscription{a, b} {
				if _, err := sub.NextMsg(patience); err != nil {
					t.Errorf("%s got nothing: %v", sub.Subject, err)
				}
			}
		}},
		{"a queue group wants it", 0, func(t *testing.T, _ *stand, nc *nats.Conn) {
			t.Helper()
			sub, err := nc.QueueSubscribeSync("group.1", "g")
			if err != nil {
				t.Fatal(err)
			}
			if err := nc.PublishRequest("q.put.t", "group.1", []byte("x")); err != nil {
				t.Fatal(err)
			}
			if _, err := sub.NextMsg(patience); err != nil {
				t.Errorf("it got nothing: %v", err)
			}
		}},
		{"a subscription that ends after one message wants it", 0, func(t *testing.T, _ *stand, nc *nats.Conn) {
			t.Helper()
			sub, err := nc.SubscribeSync("once.1")
			if err == nil {
				err = sub.AutoUnsubscribe(1)
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := nc.PublishRequest("q.put.t", "once.1", []byte("x")); err != nil {
				t.Fatal(err)
			}
			if _, err := sub.NextMsg(patience); err != nil {
				t.Errorf("it got nothing: %v", err)
			}
		}},
		{"somebody else listens", 2, func(t *testing.T, s *stand, nc *nats.Conn) {
			t.Helper()
			sub := listen(t, s.client(t), ">")
			if _, err := nc.Request("q.put.t", []byte("x"), patience); err != nil {
				t.Fatal(err)
			}
			for {
				m, err := sub.NextMsg(patience)
				if err != nil {
					t.Fatalf("the other one saw nothing of it: %v", err)
				}
				if m.Subject == "q.put.t" {
					if m.Reply != "" {
						t.Errorf("it can answer to %s", m.Reply)
					}
					return
				}
			}
		}},
		{"the answer would be a request", 0, func(t *testing.T, s *stand, nc *nats.Conn) {
			t.Helper()
			if _, err := nc.SubscribeSync("q.answers.1"); err != nil {
				t.Fatal(err)
			}
			if err := nc.PublishRequest("q.put.t", "q.answers.1", []byte("x")); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the gateway may judge", func() bool { straight, _ := s.seen(); return straight == 2 })
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newStand(t, 64<<20)
			nc := s.client(t)
			if _, err := nc.Request("q.put.t", []byte("before"), patience); err != nil {
				t.Fatal(err)
			}
			if straight, _ := s.seen(); straight != 1 {
				t.Fatal("a usual request did not go straight")
			}
			tc.do(t, s, nc)
			if _, err := nc.Request("q.put.t", []byte("after"), patience); err != nil {
				t.Fatal(err)
			}
			eventually(t, "copies come by the server and nothing else", func() bool {
				straight, around := s.seen()
				return straight == 3 && around == tc.copies
			})
		})
	}
}

// line is a client that speaks the protocol by hand.
type line struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
}

func dial(t *testing.T, s *stand) *line {
	t.Helper()
	c, err := net.Dial("tcp", s.front.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	l := &line{c, t, bufio.NewReader(c)}
	if got := l.next(); !strings.HasPrefix(got, "INFO ") {
		t.Fatalf("first line: %q", got)
	}
	return l
}

func (l *line) say(text string) {
	l.t.Helper()
	if _, err := io.WriteString(l, text); err != nil {
		l.t.Fatal(err)
	}
}

func (l *line) next() string {
	l.t.Helper()
	text, err := l.r.ReadString('\n')
	if err != nil {
		l.t.Fatalf("read %q: %v", text, err)
	}
	return strings.TrimRight(text, "\r\n")
}

func (l *line) expect(want ...string) {
	l.t.Helper()
	for _, w := range want {
		if got := l.next(); !strings.HasPrefix(got, w) {
			l.t.Fatalf("got %q, want %q", got, w)
		}
	}
}

// What breaks the protocol gets the server's answer.
func TestTheServerJudges(t *testing.T) {
	for _, tc := range []struct {
		name, say string
		want      []string
	}{
		{"too large", "PUB q.put.t i.1 1048577\r\n", []string{"-ERR 'Maximum Payload Violation'"}},
		{"no size", "PUB q.put.t i.1 x\r\n", nil},
		{"no operation", "NONSENSE\r\n", []string{"-ERR 'Unknown Protocol Operation'"}},
		{"longer than it said", "PUB q.put.t i.1 1\r\nabc\r\n", []string{"-ERR"}},
		{"header longer than all", "HPUB q.put.t i.1 9 3\r\nabc\r\n", nil},
		{"a line without end", "PUB " + strings.Repeat("x", 70_000), []string{"-ERR"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := dial(t, newStand(t, 64<<20))
			l.say("CONNECT {\"verbose\":false,\"pedantic\":false}\r\nPING\r\n")
			l.expect("PONG")
			l.say("SUB i.* 1\r\n" + tc.say)
			l.expect(tc.want...)
			if _, err := io.ReadAll(l.r); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("it was not cut off")
			}
		})
	}
}

// A sid that is taken stays with its first subscription, as at the server.
func TestASidThatIsTaken(t *testing.T) {
	s := newStand(t, 64<<20)
	l := dial(t, s)
	l.say("CONNECT {\"verbose\":false,\"pedantic\":false}\r\nPING\r\n")
	l.expect("PONG")
	l.say("SUB i.* 1\r\nSUB j.* 1\r\nPUB q.put.t j.1 1\r\na\r\nPUB q.put.t i.1 1\r\nb\r\n")
	l.expect("MSG i.1 1 1", "b")
}

// A payload stands for nothing else, whatever subject others find for it: who says a line that
// can be read in two ways is not listened to.
func TestSubjectsWithCarriageReturns(t *testing.T) {
	s := newStand(t, 64<<20)
	l := dial(t, s)
	l.say("CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true}\r\nPING\r\n")
	l.expect("PONG")
	l.say("SUB a.> 1\r\nSUB i.* 2\r\nPING\r\n")
	l.expect("PONG")
	const payload = "MSG x 1 1000\r\n"
	other := dial(t, s)
	other.say("CONNECT {\"verbose\":false}\r\nPUB a.b\rc\rd\re\rf\rg 14\r\n" + payload + "\r\n")
	other.expect("-ERR 'Unknown Protocol Operation'")
	l.say("PUB q.put.t i.1 1\r\na\r\n")
	l.expect("MSG i.1 2 1", "a")
}

func TestVerboseClientsGetTheirOK(t *testing.T) {
	s := newStand(t, 64<<20)
	l := dial(t, s)
	l.say("CONNECT {\"verbose\":true}\r\nPING\r\nSUB i.* 1\r\nPUB q.put.t i.1 1\r\na\r\n")
	l.expect("+OK", "PONG", "+OK", "+OK", "MSG i.1 1 1", "a")
	l.say("PUB chat 1\r\nb\r\nUNSUB 1\r\nSUB a..b 2\r\nSUB c 3\r\n")
	l.expect("+OK", "+OK", "-ERR 'Invalid Subject'", "+OK")
	if straight, around := s.seen(); straight != 1 || around != 0 {
		t.Errorf("%d went straight, %d around", straight, around)
	}
}

// Who speaks before the server has looked at the connection goes straight like everybody.
func TestHastyClients(t *testing.T) {
	s := newStand(t, 64<<20)
	l := dial(t, s)
	l.say("CONNECT {\"verbose\":false,\"pedantic\":false}\r\nSUB i.* 1\r\nPUB q.put.t i.1 1\r\na\r\n")
	l.expect("MSG i.1 1 1", "a")
	l.say("pub q.put.t\ti.2  1\r\nb\r\n")
	l.expect("MSG i.2 1 1", "b")
	if straight, around := s.seen(); straight != 2 || around != 0 {
		t.Errorf("%d went straight, %d around", straight, around)
	}
}

func TestHeadersThatCannotBeRead(t *testing.T) {
	s := newStand(t, 64<<20)
	got := make(chan nats.Header, 2)
	s.front.Leave()
	s.take(func(m *nats.Msg) { got <- m.Header })
	l := dial(t, s)
	l.say("CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true}\r\nPING\r\n")
	l.expect("PONG")
	l.say("HPUB q.put.t 18 18\r\nNATS/1.0\r\nA: b\r\n\r\n\r\nHPUB q.put.t 3 3\r\nabc\r\n")
	if d := cmp.Diff(nats.Header{"A": {"b"}}, <-got); d != "" {
		t.Error(d)
	}
	if _, bad := (<-got)[front.Malformed]; !bad {
		t.Error("a malformed header block was not noticed")
	}
}

// However the bytes of a conversation are cut, every request comes once and in
// order, and so does everything between clients; answers do not stand within the
// server's messages.
func TestAnyCutOfTheBytes(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			s := newStand(t, 64<<20)
			l := dial(t, s)
			l.say("CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true}\r\nPING\r\n")
			l.expect("PONG")
			var said strings.Builder
			said.WriteString("SUB i.* 1\r\nSUB chat 2\r\n")
			var requests, chats []string
			const each = 200
			for i := range each {
				pad := strings.Repeat("\r\n", random.IntN(20)*random.IntN(20)*random.IntN(40))
				request, chat := fmt.Sprintf("r%d %s", i, pad), fmt.Sprintf("c%d %s", i, pad)
				requests, chats = append(requests, request), append(chats, chat)
				fmt.Fprintf(&said, "PUB q.put.t i.%d %d\r\n%s\r\n", i, len(request), request)
				if random.IntN(3) == 0 {
					said.WriteString("PING\r\n")
				}
				fmt.Fprintf(&said, "PUB chat %d\r\n%s\r\n", len(chat), chat)
			}
			go func() {
				for rest := said.String(); rest != ""; {
					n := min(len(rest), 1+random.IntN(1<<random.IntN(18)))
					if _, err := io.WriteString(l, rest[:n]); err != nil {
						return
					}
					rest = rest[n:]
				}
			}()
			var answers, heard []string
			for len(answers) < each || len(heard) < each {
				text := l.next()
				if text == "PONG" {
					continue
				}
				var subject string
				var sid, size int
				if _, err := fmt.Sscanf(text, "MSG %s %d %d", &subject, &sid, &size); err != nil {
					t.Fatalf("got %q: %v", text, err)
				}
				body := make([]byte, size+2)
				if _, err := io.ReadFull(l.r, body); err != nil {
					t.Fatal(err)
				}
				if sid == 1 {
					answers = append(answers, string(body[:size]))
				} else {
					heard = append(heard, string(body[:size]))
				}
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			for what, got := range map[string][]string{"requests": s.straight, "answers": answers} {
				if d := cmp.Diff(requests, got); d != "" {
					t.Errorf("%s: %.300s", what, d)
				}
			}
			if d := cmp.Diff(chats, heard); d != "" {
				t.Errorf("chat: %.300s", d)
			}
		})
	}
}

// A client that takes no answers is not read from, and cut off when more waits for
// it than may; others notice nothing.
func TestAClientThatTakesNothing(t *testing.T) {
	s := newStand(t, 2<<20)
	lazy, nc := dial(t, s), s.client(t)
	lazy.say("CONNECT {\"verbose\":false,\"pedantic\":false}\r\nPING\r\n")
	lazy.expect("PONG")
	lazy.say("SUB i.* 1\r\n")
	body := strings.Repeat("x", 1<<19)
	failed := false
	for range 1000 {
		if _, err := fmt.Fprintf(lazy, "PUB q.put.t i.1 %d\r\n%s\r\n", len(body), body); err != nil {
			failed = true
			break
		}
	}
	if !failed {
		t.Error("it was neither held nor cut off")
	}
	eventually(t, "it is counted", func() bool { return s.front.CutOff() == 1 && s.front.Clients() == 1 })
	if _, err := nc.Request("q.put.t", []byte("x"), patience); err != nil {
		t.Errorf("another client: %v", err)
	}
}

// Many answers at once reach their clients, each in order, also those of a client
// that has gone.
func TestAnswersForMany(t *testing.T) {
	s := newStand(t, 64<<20)
	s.front.Leave()
	taken := make(chan *nats.Msg, 100)
	s.take(func(m *nats.Msg) { taken <- m })
	clients := []*line{dial(t, s), dial(t, s), dial(t, s)}
	var replies []string
	for i, l := range clients {
		l.say("CONNECT {\"verbose\":false,\"pedantic\":false}\r\nPING\r\n")
		l.expect("PONG")
		l.say(fmt.Sprintf("SUB i.* %d\r\nPUB q.put.t i.1 0\r\n\r\nPUB q.put.t i.2 0\r\n\r\n", i+1))
		replies = append(replies, (<-taken).Reply, (<-taken).Reply)
	}
	if err := clients[2].Close(); err != nil {
		t.Fatal(err)
	}
	var a front.Answers
	a.Begin(s.front)
	for _, i := range []int{0, 2, 4, 1, 3, 5} {
		a.Add(replies[i], fmt.Appendf(nil, "answer %d", i))
	}
	a.End()
	clients[0].expect("MSG i.1 1 8", "answer 0", "MSG i.2 1 8", "answer 1")
	clients[1].expect("MSG i.1 2 8", "answer 2", "MSG i.2 2 8", "answer 3")
}

// Answers that are lent come whole and in their order, between copied ones and what other
// clients say, whether the client takes them at once or byte by byte; each is given back
// once, also when the client goes in the middle.
func TestLentAnswers(t *testing.T) {
	for name, goes := range map[string]bool{"the client stays": false, "it goes in the middle": true} {
		t.Run(name, func(t *testing.T) {
			const each = 300
			s := newStand(t, 64<<20)
			s.front.Leave()
			taken := make(chan *nats.Msg, 1)
			s.take(func(m *nats.Msg) { taken <- m })
			l, other := dial(t, s), s.client(t)
			l.say("CONNECT {\"verbose\":false,\"pedantic\":false}\r\nPING\r\n")
			l.expect("PONG")
			l.say("SUB i.* 1\r\nSUB chat 2\r\nPUB q.put.t i.1 0\r\n\r\nPING\r\n")
			l.expect("PONG")
			reply := (<-taken).Reply
			var back atomic.Int64
			var all sync.WaitGroup
			all.Go(func() {
				for i := range each {
					size := 10
					if i%3 > 0 {
						size = (i * 977) % (300 << 10)
					}
					s.front.Answer(reply, bytes.Repeat([]byte{byte(i)}, size), func() { back.Add(1) })
				}
			})
			all.Go(func() {
				for range each {
					if err := other.Publish("chat", make([]byte, 1000)); err != nil {
						t.Error(err)
					}
				}
				_ = other.Flush()
			})
			for answers, chats := 0, 0; answers < each || chats < each; {
				var subject string
				var sid, size int
				if _, err := fmt.Sscanf(l.next(), "MSG %s %d %d", &subject, &sid, &size); err != nil {
					t.Fatal(err)
				}
				body := make([]byte, size+2)
				if _, err := io.ReadFull(l.r, body); err != nil {
					t.Fatal(err)
				}
				if subject == "chat" {
					chats++
					continue
				}
				if n := bytes.Count(body[:size], []byte{byte(answers)}); n != size {
					t.Fatalf("answer %d: %d bytes of %d are its own", answers, n, size)
				}
				if answers++; goes && answers == each/2 {
					_ = l.Close()
					break
				}
			}
			all.Wait()
			eventually(t, "all are given back", func() bool { return back.Load() == each })
		})
	}
}

// What goes to a subject that the gateway listens to comes straight to it under the
// broker's own name, once, and to whoever else wants it under the name that it was given.
func TestWhatTheGatewayHears(t *testing.T) {
	s := newStand(t, 64<<20)
	s.front.Hear([]string{"orders.>"})
	heard := make(chan *nats.Msg, 10)
	s.front.Leave()
	s.take(func(m *nats.Msg) {
		heard <- m
		if m.Reply != "" {
			s.front.Answer(m.Reply, []byte("ack"), nil)
		}
	})
	s.hearAround(t, func(m *nats.Msg) { t.Errorf("%s came by the server", m.Subject) })
	nc := s.client(t)
	body := strings.Repeat("x", 100_000)
	for _, others := range []bool{false, true} {
		var sub *nats.Subscription
		if others {
			var err error
			if sub, err = nc.SubscribeSync("orders.*"); err != nil {
				t.Fatal(err)
			}
		}
		m, err := nc.RequestMsg(&nats.Msg{Subject: "orders.new", Data: []byte(body), Header: nats.Header{"A": {"b"}}}, patience)
		if err != nil || string(m.Data) != "ack" {
			t.Fatalf("others %v: %v, %v", others, m, err)
		}
		if m := <-heard; m.Subject != "q.heard.orders.new" || string(m.Data) != body || m.Header.Get("A") != "b" {
			t.Errorf("others %v: heard %s %.50q", others, m.Subject, m.Data)
		}
		if others {
			if m, err := sub.NextMsg(patience); err != nil || m.Subject != "orders.new" || string(m.Data) != body || m.Header.Get("A") != "b" {
				t.Errorf("the other one got %v, %v", m, err)
			}
		}
	}
	if len(heard) > 0 {
		t.Error("it came twice")
	}
}

// hearAround is told what goes by the server under the broker's own name, which is nothing.
func (s *stand) hearAround(t *testing.T, take func(*nats.Msg)) {
	t.Helper()
	_, err := s.own.Subscribe("q.heard.>", take)
	if err == nil {
		err = s.own.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// The same of a client that wants each line confirmed and writes it as few do.
func TestWhatTheGatewayHearsOfAVerboseClient(t *testing.T) {
	s := newStand(t, 64<<20)
	s.front.Hear([]string{"orders.>", "B"})
	heard := make(chan *nats.Msg, 10)
	s.front.Leave()
	s.take(func(m *nats.Msg) {
		heard <- &nats.Msg{Subject: m.Subject, Data: bytes.Clone(m.Data)}
		s.front.Answer(m.Reply, []byte("ack"), nil)
	})
	s.hearAround(t, func(m *nats.Msg) { t.Errorf("%s came by the server", m.Subject) })
	l := dial(t, s) // the subject stands within the operation, and blanks may be tabs
	l.say("CONNECT {}\r\nSUB i.* 1\r\nPUB\tB  i.1\t1\r\nx\r\n")
	l.expect("+OK", "+OK", "+OK", "MSG i.1 1 3", "ack")
	if m := <-heard; m.Subject != "q.heard.B" || string(m.Data) != "x" {
		t.Errorf("heard %s %q", m.Subject, m.Data)
	}
	sub := listen(t, s.client(t), "orders.*")
	l.say("PUB orders.a i.2 1\r\nx\r\nPUB else i.3 1\r\ny\r\n")
	l.expect("+OK", "+OK", "MSG i.2 1 3", "ack")
	l.say("PING\r\n")
	l.expect("PONG") // one +OK for each, although there is somebody else
	if m, err := sub.NextMsg(patience); err != nil || m.Subject != "orders.a" || string(m.Data) != "x" {
		t.Errorf("the other one got %v, %v", m, err)
	}
	if m := <-heard; m.Subject != "q.heard.orders.a" || string(m.Data) != "x" {
		t.Errorf("heard %s %q", m.Subject, m.Data)
	}
}

// A subscription that ends after some messages is forgotten with the last of them: there are no
// copies for one who has heard enough.
func TestWhoHasHeardEnough(t *testing.T) {
	s := newStand(t, 64<<20)
	curious, nc := s.client(t), s.client(t)
	sub := listen(t, curious, "q.put.>")
	if err := errors.Join(sub.AutoUnsubscribe(3), curious.Flush()); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if _, err := s.client(t).Request("q.put.t", nil, patience); err != nil {
			t.Fatal(err)
		}
		if _, err := sub.NextMsg(patience); err != nil {
			t.Fatal(err)
		}
		eventually(t, "there is a copy of each", func() bool {
			straight, around := s.seen()
			return straight == i+1 && around == i+1
		})
	}
	if _, err := nc.Request("q.put.t", nil, patience); err != nil {
		t.Fatal(err)
	}
	if straight, around := s.seen(); straight != 4 || around != 3 {
		t.Errorf("%d went straight, %d around", straight, around)
	}
}

// A sid that comes again is another subscription: what ended the one before does not end it.
func TestASidThatComesAgainHearsOn(t *testing.T) {
	s := newStand(t, 64<<20)
	l := dial(t, s)
	l.say("CONNECT {\"verbose\":false,\"pedantic\":false}\r\nSUB q.put.> 1\r\nPING\r\n")
	l.expect("PONG")
	request := func(times int) {
		t.Helper()
		for range times {
			if _, err := s.client(t).Request("q.put.t", []byte("x"), patience); err != nil {
				t.Fatal(err)
			}
			l.expect("MSG q.put.t 1 ", "x")
		}
	}
	request(2)
	l.say("UNSUB 1 2\r\nSUB q.put.> 1\r\nPING\r\n") // it has had its two
	l.expect("PONG")
	request(4)
}

// A library that subscribes for each request anew leaves nothing behind.
func TestManyRequestsOfTheOldKind(t *testing.T) {
	s := newStand(t, 64<<20)
	nc := s.client(t, nats.UseOldRequestStyle())
	var before, after runtime.MemStats
	const requests = 2000
	for i := range 2 * requests {
		if i == requests {
			runtime.GC()
			runtime.ReadMemStats(&before)
		}
		if _, err := nc.Request("q.put.t", nil, patience); err != nil {
			t.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	s.mu.Lock()
	s.around, s.straight = nil, nil
	s.mu.Unlock()
	if grown := int64(after.HeapAlloc - before.HeapAlloc); grown > requests*100 {
		t.Errorf("%d requests left %d bytes", requests, grown)
	}
}

// Requests of a client, and what it publishes to a subject that the gateway listens to,
// come in the order in which they were sent.
func TestWhatIsHeardKeepsItsPlaceAmongRequests(t *testing.T) {
	for name, hello := range map[string]string{
		"greeted": "PING\r\n", "hasty": "",
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t, 64<<20)
			s.front.Hear([]string{"orders.>"})
			came := make(chan *nats.Msg, 1000)
			s.front.Leave()
			s.take(func(m *nats.Msg) { came <- &nats.Msg{Subject: m.Subject, Data: bytes.Clone(m.Data)} })
			l := dial(t, s)
			l.say("CONNECT {\"verbose\":false,\"pedantic\":false}\r\n" + hello)
			if hello != "" {
				l.expect("PONG")
			}
			var want []string
			var text strings.Builder
			for i := range 500 {
				want = append(want, fmt.Sprintf("%03d", i))
				subject := "q.puts.t"
				if i%3 > 0 {
					subject = "orders.new"
				}
				fmt.Fprintf(&text, "PUB %s 3\r\n%03d\r\n", subject, i)
				if i == 250 {
					text.WriteString("PING\r\n")
				}
			}
			l.say(text.String())
			l.expect("PONG")
			for i, w := range want {
				if m := <-came; string(m.Data) != w {
					t.Fatalf("place %d: %s of %s", i, m.Data, m.Subject)
				}
			}
		})
	}
}

// Nobody is what the server says when nobody listens.
func TestNobody(t *testing.T) {
	s := newStand(t, 64<<20)
	s.front.Leave()
	s.take(func(m *nats.Msg) { s.front.Nobody(m.Reply) })
	if _, err := s.client(t).Request("q.put.t", nil, patience); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("a library that wants to know: %v", err)
	}
	for _, subject := range []string{"q.put.t", "nobody.there"} { // the front's and the server's
		l := dial(t, s)
		l.say("CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true}\r\nPING\r\n")
		l.expect("PONG")
		l.say("SUB i.* 1\r\nPUB " + subject + " i.1 0\r\n\r\n")
		l.expect("HMSG i.1 1 ", "NATS/1.0 503")
		for more := true; more; { // the server adds the subject
			more = l.next() != ""
		}
		l.expect("")
		l = dial(t, s)
		l.say("CONNECT {\"verbose\":false,\"pedantic\":false}\r\nSUB i.* 1\r\nPUB " + subject + " i.1 0\r\n\r\nPING\r\n")
		l.expect("PONG") // nothing before
	}
}

// After Leave the server has the word: nobody serves the subject any more.
func TestLeave(t *testing.T) {
	s := newStand(t, 64<<20)
	nc := s.client(t)
	if _, err := nc.Request("q.put.t", []byte("x"), patience); err != nil {
		t.Fatal(err)
	}
	s.front.Leave()
	s.own.Close()
	eventually(t, "the server knows", func() bool { return s.nats.GlobalAccount().Interest("q.put.t") == 0 })
	if _, err := nc.Request("q.put.t", []byte("x"), patience); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s.front.Flush(ctx)
	if ctx.Err() != nil {
		t.Error("there was something to flush")
	}
}
