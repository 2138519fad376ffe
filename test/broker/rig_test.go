package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"metaq/configs"
	"metaq/internal/broker"
	"metaq/protocol"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// The actor library's limiter of its log lines sleeps for a second after a
		// dead letter.
		goleak.IgnoreAnyFunction("github.com/asynkron/protoactor-go/actor.NewDeadLetter.NewThrottle.func4.1"))
}

const patience = 20 * time.Second

// options of a broker under test.
type options struct {
	dir   string            // default: a new one
	flags map[string]string // over the defaults of a broker without a file
	file  string            // text of server.ini
	with  func(*broker.Options)
}

// running is a broker and a client that has nothing but the NATS library.
type running struct {
	*broker.Broker
	*client
	dir   string
	ended bool
}

// load gives the configuration of a broker on a free port.
func load(t testing.TB, o *options) *configs.Server {
	t.Helper()
	if o.dir == "" {
		o.dir = t.TempDir()
	}
	l := configs.LoadOptions{Flags: map[string]string{"data": o.dir, "nats-port": "0", "nats-host": "127.0.0.1"}}
	for k, v := range o.flags {
		l.Flags[k] = v
	}
	if o.file != "" {
		l.Path = filepath.Join(t.TempDir(), "server.ini")
		if err := os.WriteFile(l.Path, []byte(o.file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := configs.Load(l)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// tryStart starts a broker, which the test stops.
func tryStart(t testing.TB, o options) (*broker.Broker, error) {
	t.Helper()
	cfg := load(t, &o)
	opts := broker.Options{Version: "0.0.1-test", Logger: logger(t)}
	if o.with != nil {
		o.with(&opts)
	}
	return broker.Start(t.Context(), cfg, opts)
}

// start starts a broker and connects to it. Both end with the test.
func start(t testing.TB, o options) *running {
	t.Helper()
	if o.dir == "" {
		o.dir = t.TempDir()
	}
	b, err := tryStart(t, o)
	if err != nil {
		t.Fatal(err)
	}
	r := &running{Broker: b, client: connect(t, b.URL()), dir: o.dir}
	t.Cleanup(func() { r.stop() })
	return r
}

// stop stops the broker in order and checks the answers that the client had.
func (r *running) stop() {
	r.t.Helper()
	if r.ended {
		return
	}
	r.ended = true
	if !r.nc.IsClosed() {
		r.exactlyOnce()
		r.nc.Close()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.t.Context()), patience)
	defer cancel()
	if err := r.Stop(ctx); err != nil {
		r.t.Errorf("stop: %v", err)
	}
}

// abandon ends a broker whose machine has stopped: it cannot write, and says so.
func (r *running) abandon() {
	r.t.Helper()
	r.ended = true
	r.exactlyOnce()
	r.nc.Close()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.t.Context()), patience)
	defer cancel()
	if err := r.Stop(ctx); err == nil {
		r.t.Error("a stop that could write nothing says that all is well")
	}
}

// logger shows the broker's log with a test that fails.
func logger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// client speaks the protocol of docs/protocol.md by hand. It counts the answers
// to every request. It is for one goroutine.
type client struct {
	t       testing.TB
	nc      *nats.Conn
	inbox   string
	answers chan *nats.Msg
	asked   int
	got     map[string][]*nats.Msg
}

func connect(t testing.TB, url string) *client {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{t: t, nc: nc, inbox: nats.NewInbox(), answers: make(chan *nats.Msg, 1<<20), got: map[string][]*nats.Msg{}}
	if _, err := nc.ChanSubscribe(c.inbox+".*", c.answers); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return c
}

// request sends a request and returns the token to wait for.
func (c *client) request(subject string, header nats.Header, body []byte) string {
	c.t.Helper()
	c.asked++
	token := fmt.Sprint(c.asked)
	if err := c.nc.PublishMsg(&nats.Msg{Subject: subject, Reply: c.inbox + "." + token, Header: header, Data: body}); err != nil {
		c.t.Fatal(err)
	}
	return token
}

// wait returns the first answer to a request.
func (c *client) wait(token string) *nats.Msg {
	c.t.Helper()
	timeout := time.After(patience)
	for c.got[token] == nil {
		select {
		case m := <-c.answers:
			c.keep(m)
		case <-timeout:
			c.t.Fatalf("no answer to request %s within %s", token, patience)
		}
	}
	return c.got[token][0]
}

// next returns the next message, or false when none comes.
func next(answers <-chan *nats.Msg) (*nats.Msg, bool) {
	select {
	case m := <-answers:
		return m, true
	case <-time.After(patience):
		return nil, false
	}
}

func (c *client) keep(m *nats.Msg) {
	token := m.Subject[len(c.inbox)+1:]
	c.got[token] = append(c.got[token], m)
}

func (c *client) ask(subject string, header nats.Header, body []byte) []byte {
	c.t.Helper()
	return c.wait(c.request(subject, header, body)).Data
}

// exactlyOnce checks that every request so far had one answer.
func (c *client) exactlyOnce() {
	c.t.Helper()
	for i := range c.asked {
		c.wait(fmt.Sprint(i + 1))
	}
	c.ask("metaq.admin.broker.info", nil, nil) // comes after what was sent before
	for len(c.answers) > 0 {
		c.keep(<-c.answers)
	}
	for i := range c.asked {
		if got := c.got[fmt.Sprint(i+1)]; len(got) != 1 {
			c.t.Errorf("request %d had %d answers: %s", i+1, len(got), got[0].Data)
		}
	}
}

// askJSON asks and reads the answer, which must be no refusal, into out.
func (c *client) askJSON(subject, body string, out any) {
	c.t.Helper()
	answer := c.ask(subject, nil, []byte(body))
	if err := protocol.DecodeError(answer); err != nil {
		c.t.Fatalf("%s %s: %v", subject, body, err)
	}
	if err := json.Unmarshal(answer, out); err != nil {
		c.t.Fatalf("%s: %v in %s", subject, err, answer)
	}
}

// put puts one message and returns its acknowledgement.
func (c *client) put(subject, key, value string) protocol.PubAck {
	c.t.Helper()
	var header nats.Header
	if key != "" {
		header = nats.Header{"Metaq-Key": {key}}
	}
	return c.ack(c.request(subject, header, []byte(value)))
}

func (c *client) ack(token string) protocol.PubAck {
	c.t.Helper()
	var ack protocol.PubAck
	answer := c.wait(token).Data
	if err := protocol.DecodeError(answer); err != nil {
		c.t.Fatal(err)
	}
	if err := json.Unmarshal(answer, &ack); err != nil {
		c.t.Fatalf("%v in %s", err, answer)
	}
	return ack
}

// all gets every message of a partition.
func (c *client) all(topic, partition string) []protocol.Message {
	c.t.Helper()
	var out []protocol.Message
	for next := protocol.Offset(0); ; {
		var r protocol.GetReply
		c.askJSON("metaq.get."+topic+"."+partition, fmt.Sprintf(`{"offset":%d}`, next), &r)
		out = append(out, r.Messages...)
		if next = r.NextOffset; next >= r.EndOffset {
			return out
		}
	}
}

func (c *client) create(topic string, partitions int) {
	c.t.Helper()
	var info protocol.TopicInfo
	c.askJSON("metaq.admin.topic.create", fmt.Sprintf(`{"topic":%q,"partitions":%d}`, topic, partitions), &info)
}

// values are the payloads of text messages.
func values(list []protocol.Message) []string {
	out := []string{}
	for _, m := range list {
		out = append(out, *m.Data)
	}
	return out
}
