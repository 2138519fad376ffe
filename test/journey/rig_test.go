package journey

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"metaq/actors"
	"metaq/configs"
	"metaq/internal/broker"
	"metaq/internal/vfs"
	"metaq/protocol"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// The actor library's limiter of its log lines sleeps for a second after a
		// dead letter.
		goleak.IgnoreAnyFunction("github.com/asynkron/protoactor-go/actor.NewDeadLetter.NewThrottle.func4.1"))
}

const patience = 20 * time.Second

// traced is a broker whose hops are noted, with topic t of one partition, and a client's
// socket.
type traced struct {
	*trace
	*socket
	gate     *gate
	accepted chan actors.Event
	after    atomic.Int64 // hops of messages below this offset are not noted
}

func start(t *testing.T) *traced {
	t.Helper()
	r := &traced{trace: &trace{}, gate: &gate{}, accepted: make(chan actors.Event, 1024)}
	note := func(word string) func(actors.Event) { return func(actors.Event) { r.note(word) } }
	noteAfter := func(word string) func(actors.Event) {
		return func(e actors.Event) {
			if int64(e.Next) > r.after.Load() {
				r.note(word)
			}
		}
	}
	cfg, err := configs.Load(configs.LoadOptions{
		Flags: map[string]string{"data": t.TempDir(), "nats-port": "0", "nats-host": "127.0.0.1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	b, err := broker.Start(t.Context(), cfg, broker.Options{
		Version: "0.0.1-test", FS: disk{vfs.Default, r.trace, r.gate},
		Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
		Events: actors.Events{
			Receive: note("receive"), Route: note("route"), Commit: noteAfter("commit"),
			Reply: noteAfter("reply"), Fetch: note("fetch"), Settle: note("settle"),
			Accept: func(e actors.Event) {
				r.note("accept")
				r.accepted <- e
			},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
		defer cancel()
		if err := b.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	r.socket = dial(t, b.URL())
	r.ask("metaq.admin.topic.create", `{"topic":"t","partitions":1}`, nil)
	r.put("the first one opens the segment")
	return r
}

// put puts one message and waits for its acknowledgement.
func (r *traced) put(text string) {
	r.t.Helper()
	r.ask("metaq.put.t", text, nil)
	<-r.accepted
}

// socket is a client that has nothing but a connection and the NATS protocol.
type socket struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func dial(t *testing.T, url string) *socket {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(2 * patience)); err != nil {
		t.Fatal(err)
	}
	s := &socket{t, conn, bufio.NewReader(conn)}
	s.send(`CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true}` + "\r\nSUB answer.* 1\r\nPING\r\n")
	for line := ""; line != "PONG"; {
		line = s.line()
	}
	return s
}

func (s *socket) send(text string) {
	s.t.Helper()
	if _, err := io.WriteString(s.conn, text); err != nil {
		s.t.Fatal(err)
	}
}

func (s *socket) line() string {
	s.t.Helper()
	line, err := s.in.ReadString('\n')
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSuffix(line, "\r\n")
}

// pub is the lines of a request.
func pub(subject, body string) string {
	return fmt.Sprintf("PUB %s answer.1 %d\r\n%s\r\n", subject, len(body), body)
}

// answer reads the next answer, which must be no refusal, into out.
func (s *socket) answer(out any) {
	s.t.Helper()
	line := s.line()
	fields := strings.Fields(line)
	size, err := strconv.Atoi(fields[len(fields)-1])
	if err != nil || fields[0] != "MSG" {
		s.t.Fatalf("%q is no answer", line)
	}
	body := make([]byte, size+len("\r\n"))
	if _, err := io.ReadFull(s.in, body); err != nil {
		s.t.Fatal(err)
	}
	body = body[:size]
	if err := protocol.DecodeError(body); err != nil {
		s.t.Fatal(err)
	}
	if out == nil {
		return
	}
	if err := json.Unmarshal(body, out); err != nil {
		s.t.Fatalf("%v in %s", err, body)
	}
}

func (s *socket) ask(subject, body string, out any) {
	s.t.Helper()
	s.send(pub(subject, body))
	s.answer(out)
}
