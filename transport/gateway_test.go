package transport

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"metaq/actors"
	"metaq/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

// rig is a gateway between a real NATS server and actors that only pretend.
type rig struct {
	*Gateway
	t      testing.TB
	server *Server
	reg    *prometheus.Registry
	asker

	mu     sync.Mutex
	parts  []*fakePartition
	topics map[string]*actors.TopicRoute
}

// fakePartition answers at once, or holds requests until release.
type fakePartition struct {
	id   protocol.PartitionID
	pid  *actor.PID
	hold bool

	mu      sync.Mutex
	records []protocol.Record
	batches int
	held    []func()
}

func (p *fakePartition) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actors.Puts:
		for m := range m.Each(ctx.Sender()) {
			for i := range m.All {
				put := &m.All[i]
				p.later(put.From, ctx.ActorSystem().Root, put.Ticket, m.Memory, func() any {
					p.records = append(p.records, put.Record)
					return protocol.NewPubAck("t", p.id, protocol.Offset(len(p.records)-1), 0)
				})
			}
		}
	case *actors.PutBatch:
		p.later(ctx.Sender(), ctx.ActorSystem().Root, m.Ticket, nil, func() any {
			p.batches++
			return protocol.NewPubAck("t", p.id, 0, m.Header.Count)
		})
	case *actors.Get:
		p.later(ctx.Sender(), ctx.ActorSystem().Root, m.Ticket, nil, func() any {
			return &actors.GetResult{Topic: "t", Partition: p.id, Format: m.Request.Format, MaxMessages: m.Request.MaxMessages}
		})
	case *actors.Offsets:
		p.later(ctx.Sender(), ctx.ActorSystem().Root, m.Ticket, nil, func() any { return protocol.OffsetsReply{EndOffset: 7} })
	}
}

func (p *fakePartition) later(to *actor.PID, root *actor.RootContext, ticket actors.Ticket, memory actors.Memory, do func() any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	answer := func() {
		a := do()
		ticket.Release()
		if to != nil {
			root.Send(to, a)
		}
		if memory != nil {
			memory.Release(1)
		}
	}
	if p.hold {
		p.held = append(p.held, answer)
		return
	}
	answer()
}

// release answers what is held and holds no more.
func (p *fakePartition) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hold = false
	for _, f := range p.held {
		f()
	}
	p.held = nil
}

func (p *fakePartition) stored() []protocol.Record {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.records)
}

func (p *fakePartition) holdBack() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hold = true
}

func (p *fakePartition) values() []string {
	var out []string
	for _, r := range p.stored() {
		out = append(out, string(r.Value))
	}
	return out
}

func defaultOptions() Options {
	many := Limits{Requests: 10_000, Bytes: 64 << 20}
	return Options{
		Name: "metaq-0", Total: many, Partition: many, Reads: many, PartitionReads: many,
		MaxMessage: func(string) int { return 1000 },
		Fail:       func(error) {},
		Logger:     slog.New(slog.DiscardHandler),
	}
}

func quietSystem() *actor.ActorSystem {
	return actor.NewActorSystem(
		actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }),
		func(c *actor.Config) {
			c.DeadLetterThrottleInterval = time.Millisecond
			c.DeadLetterRequestLogging = false
		})
}

// startServer starts a server on a free port until the test's end.
func startServer(t *testing.T) *Server {
	t.Helper()
	s, err := StartServer(ServerOptions{Host: "127.0.0.1", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// newRig starts a gateway with topic t of four partitions, the last of which has
// no leader, topic closed, which takes no messages and no readers, and topic
// small, whose messages have at most 10 bytes.
func newRig(t testing.TB, change func(*Options)) *rig {
	t.Helper()
	r := &rig{t: t, reg: prometheus.NewRegistry(), topics: map[string]*actors.TopicRoute{}}
	var err error
	if r.server, err = StartServer(ServerOptions{Host: "127.0.0.1", MaxPayload: 128 << 10, Logger: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	o := defaultOptions()
	o.Connect, o.Front, o.Metrics = r.server.Connect, r.server.Front(), r.reg
	url := "nats://" + r.server.Addr().String()
	o.MaxMessage = func(topic string) int {
		if topic == "small" {
			return 10
		}
		return 1000
	}
	if change != nil {
		change(&o)
	}
	system := quietSystem()
	if r.Gateway, err = NewGateway(system, o); err != nil {
		t.Fatal(err)
	}
	r.addTopic("t", 4, 3)
	r.addTopic("small", 1, -1)
	r.addTopic("closed", 1, -1)
	r.topics["closed"].AcceptPublish, r.topics["closed"].AcceptSubscribe = false, false
	r.publishRoutes()
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if o.Front == nil {
		url = r.Gateway.nc.ConnectedUrl()
	}
	r.asker = newAsker(t, url)
	t.Cleanup(func() {
		r.exactlyOnce()
		r.asker.nc.Close()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
		defer cancel()
		if err := r.Drain(ctx); err != nil {
			t.Error(err)
		}
		for _, p := range r.parts {
			_ = system.Root.PoisonFuture(p.pid).Wait()
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		r.server.Stop()
		system.Shutdown()
	})
	return r
}

// external makes a rig's gateway one of an existing NATS deployment.
func external(t testing.TB) func(*Options) {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, MaxPayload: 128 << 10, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(patience) {
		t.Fatal("the NATS server did not start")
	}
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return func(o *Options) { o.Front, o.Connect = nil, ConnectURL(s.ClientURL()) }
}

func (r *rig) addTopic(name string, n, leaderless int) {
	route := &actors.TopicRoute{Name: name, AcceptPublish: true, AcceptSubscribe: true}
	for i := range n {
		p := &fakePartition{id: protocol.PartitionID{Home: 0, N: i}}
		p.pid = r.system.Root.Spawn(actor.PropsFromProducer(func() actor.Actor { return p }))
		r.mu.Lock()
		r.parts = append(r.parts, p)
		r.mu.Unlock()
		route.All = append(route.All, p.id)
		if i == leaderless {
			route.Leaders = append(route.Leaders, nil)
		} else {
			route.Leaders = append(route.Leaders, p.pid)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.topics[name] = route
}

// last returns the partition that was added last.
func (r *rig) last() *fakePartition {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.parts[len(r.parts)-1]
}

func (r *rig) publishRoutes() {
	r.mu.Lock()
	defer r.mu.Unlock()
	routes := &actors.Routes{Topics: map[string]*actors.TopicRoute{}, Deleting: map[string]bool{"going": true}}
	for name, route := range r.topics {
		routes.Topics[name] = route
	}
	r.Publish(routes)
}

// actorNamed runs receive as an actor that is addressed by its name.
func (r *rig) actorNamed(name string, receive func(ctx actor.Context)) {
	r.t.Helper()
	pid, err := r.system.Root.SpawnNamed(actor.PropsFromFunc(receive), name)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = r.system.Root.StopFuture(pid).Wait() })
}

// asker is a client with nothing but the NATS library. It counts the answers of
// every request.
type asker struct {
	t       testing.TB
	nc      *nats.Conn
	inbox   string
	answers chan *nats.Msg
	asked   *int
	got     map[string][][]byte
}

func newAsker(t testing.TB, url string) asker {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	a := asker{t: t, nc: nc, inbox: nats.NewInbox(), asked: new(int), got: map[string][][]byte{}}
	a.answers = make(chan *nats.Msg, 100_000)
	if _, err = nc.ChanSubscribe(a.inbox+".*", a.answers); err != nil {
		t.Fatal(err)
	}
	return a
}

// request publishes a request and returns the token of its answer.
func (a *asker) request(subject string, header nats.Header, body string) string {
	a.t.Helper()
	*a.asked++
	token := fmt.Sprint(*a.asked)
	err := a.nc.PublishMsg(&nats.Msg{Subject: subject, Reply: a.inbox + "." + token, Header: header, Data: []byte(body)})
	if err != nil {
		a.t.Fatal(err)
	}
	return token
}

// wait returns the answer with the token.
func (a *asker) wait(token string) []byte {
	a.t.Helper()
	for a.got[token] == nil {
		select {
		case m := <-a.answers:
			key, body := m.Subject[len(a.inbox)+1:], m.Data
			if m.Header.Get("Status") == "503" {
				body = []byte("no responders")
			}
			a.got[key] = append(a.got[key], body)
		case <-time.After(patience):
			a.t.Fatalf("no answer to request %s within %s", token, patience)
		}
	}
	return a.got[token][0]
}

func (a *asker) ask(subject string, header nats.Header, body string) string {
	a.t.Helper()
	return string(a.wait(a.request(subject, header, body)))
}

// exactlyOnce checks that each request so far had one answer.
func (a *asker) exactlyOnce() {
	a.t.Helper()
	a.ask("nobody.listens.here", nil, "") // comes after every answer that was sent before
	for i := range *a.asked {
		if n := len(a.got[fmt.Sprint(i+1)]); n != 1 {
			a.t.Errorf("request %d had %d answers: %q", i+1, n, a.got[fmt.Sprint(i+1)])
		}
	}
}

func codeOf(t testing.TB, answer string) int {
	t.Helper()
	var r protocol.ErrorReply
	if err := json.Unmarshal([]byte(answer), &r); err != nil {
		t.Fatalf("%v in %s", err, answer)
	}
	if r.Error == nil {
		return 0
	}
	return r.Error.Code
}

func ackOf(t testing.TB, answer string) protocol.PubAck {
	t.Helper()
	if err := protocol.DecodeError([]byte(answer)); err != nil {
		t.Fatal(err)
	}
	var ack protocol.PubAck
	if err := json.Unmarshal([]byte(answer), &ack); err != nil {
		t.Fatalf("%v in %s", err, answer)
	}
	return ack
}

func TestEveryRequestIsAnsweredOnce(t *testing.T) {
	r := newRig(t, nil)
	good := string(batchOf(t, 0, "a", "b"))
	badCRC := []byte(good)
	badCRC[len(badCRC)-1]++
	long := strings.Repeat("x", 1001)
	key := func(k string) nats.Header { return nats.Header{"Metaq-Key": {k}} }
	leaderless := ""
	for i := 0; leaderless == ""; i++ {
		if protocol.PartitionOf(fmt.Append(nil, i), 4) == 3 {
			leaderless = fmt.Sprint(i)
		}
	}
	for _, tc := range []struct {
		name    string
		subject string
		header  nats.Header
		body    string
		code    int
		text    string // part of the answer
	}{
		{"put", "metaq.put.t", nil, "hello", 0, `"topic":"t"`},
		{"put to a partition", "metaq.put.t.0-2", nil, "hello", 0, `"partition":"0-2"`},
		{"put of nothing", "metaq.put.t", nil, "", 0, `"seq"`},
		{"put of the largest message", "metaq.put.t", nil, long[1:], 0, `"seq"`},
		{"put of a message over the limit", "metaq.put.t", nil, long, 413, "1001 bytes, the limit is 1000"},
		{"key and headers count", "metaq.put.small", nats.Header{"Metaq-Key": {"123"}, "A": {"123"}}, "1234", 413, "11 bytes, the limit is 10"},
		{"key and headers fit", "metaq.put.small", nats.Header{"Metaq-Key": {"123"}, "A": {"123"}}, "123", 0, `"seq"`},
		{"topic that is not there", "metaq.put.nope", nil, "x", 404, "metaq topic create nope"},
		{"partition that is not there", "metaq.put.t.0-9", nil, "x", 404, "no partition 0-9"},
		{"partition without a leader", "metaq.put.t.0-3", nil, "x", 503, "no leader"},
		{"key of a partition without a leader", "metaq.put.t", key(leaderless), "x", 503, "partition 0-3 of topic t has no leader"},
		{"no partition name", "metaq.put.t.one", nil, "x", 400, "0-3"},
		{"topic with a dot", "metaq.put.a.b", nil, "x", 400, "a topic name has no dot"},
		{"topic with a star", "metaq.put.*", nil, "x", 400, "not allowed"},
		{"topic with a wildcard", "metaq.put.>", nil, "x", 400, "not allowed"},
		{"topic of 128 characters", "metaq.put." + strings.Repeat("n", 128), nil, "x", 404, "no topic"},
		{"topic of 129 characters", "metaq.put." + strings.Repeat("n", 129), nil, "x", 400, "129 characters"},
		{"topic that takes no messages", "metaq.put.closed", nil, "x", 403, "acceptPublish"},
		{"two keys", "metaq.put.t", nats.Header{"Metaq-Key": {"a", "b"}}, "x", 400, "2 times"},
		{"rollup", "metaq.put.t", nats.Header{"Nats-Rollup": {"sub"}}, "x", 400, "10111"},
		{"ttl", "metaq.put.t", nats.Header{"Nats-TTL": {"1h"}}, "x", 400, "10166"},
		{"counter", "metaq.put.t", nats.Header{"Nats-Incr": {"1"}}, "x", 400, "10168"},
		{"atomic batch", "metaq.put.t", nats.Header{"Nats-Batch-Id": {"1"}}, "x", 400, "10174"},
		{"schedule", "metaq.put.t", nats.Header{"Nats-Schedule-Target": {"1"}}, "x", 400, "10188"},
		{"expected stream", "metaq.put.t", nats.Header{"Nats-Expected-Stream": {"1"}}, "x", 400, "10060"},
		{"message id", "metaq.put.t", nats.Header{"Nats-Msg-Id": {"1"}}, "x", 0, `"seq"`},
		{"a header of JetStream that asks for nothing", "metaq.put.t", nats.Header{"Nats-Stream": {"S"}}, "x", 0, `"seq"`},

		{"batch", "metaq.batch.t.0-0", nil, good, 0, `"count":2`},
		{"batch without a partition", "metaq.batch.t", nil, good, 400, "wants a partition"},
		{"batch that is none", "metaq.batch.t.0-0", nil, "hello", 400, "no batch here"},
		{"batch of nothing", "metaq.batch.t.0-0", nil, "", 400, "no batch here"},
		{"batch with a wrong checksum", "metaq.batch.t.0-0", nil, string(badCRC), 400, "checksum"},
		{"batch that is cut short", "metaq.batch.t.0-0", nil, good[:len(good)-1], 400, "cut short"},
		{"bytes after the batch", "metaq.batch.t.0-0", nil, good + "x", 400, "1 bytes follow"},
		{"batch to a topic that is not there", "metaq.batch.nope.0-0", nil, good, 404, "no topic nope"},
		{"batch to a partition that is not there", "metaq.batch.t.1-0", nil, good, 404, "no partition 1-0"},
		{"batch with a message over the limit", "metaq.batch.small.0-0", nil, string(batchOf(t, 0, "1", "12345678901")), 413, "11 bytes, the limit is 10"},
		{"batch larger than a message may be", "metaq.batch.small.0-0", nil, string(batchOf(t, 0, "1234567890", "1234567890")), 0, `"count":2`},
		{"batch that a get could not return", "metaq.batch.t.0-0", nil, strings.Repeat("x", 128<<10-23), 413, "the limit is 131048"},

		{"get", "metaq.get.t.0-0", nil, "", 0, `"messages":[]`},
		{"get in batches", "metaq.get.t.0-0", nil, `{"format":"batch"}`, -1, "MQF"},
		{"get without a partition", "metaq.get.t", nil, "", 400, "t.0-0"},
		{"get of a topic that is not there", "metaq.get.nope.0-0", nil, "", 404, "no topic nope"},
		{"get of a partition that is not there", "metaq.get.t.0-4", nil, "", 404, "no partition 0-4"},
		{"get of a partition without a leader", "metaq.get.t.0-3", nil, "", 503, "no leader"},
		{"get with JSON that is none", "metaq.get.t.0-0", nil, "{", 400, "JSON"},
		{"get with an unknown field", "metaq.get.t.0-0", nil, `{"ofset":1}`, 400, "ofset"},
		{"get with a negative offset", "metaq.get.t.0-0", nil, `{"offset":-1}`, 400, "-1"},
		{"get in another format", "metaq.get.t.0-0", nil, `{"format":"xml"}`, 400, "xml"},
		{"get with a large request", "metaq.get.t.0-0", nil, strings.Repeat(" ", maxControlSize) + "{", 413, "65537"},
		{"get from a topic that serves no readers", "metaq.get.closed.0-0", nil, "", 403, "acceptSubscribe"},

		{"offsets", "metaq.offsets.t.0-0", nil, "{}", 0, `"end_offset":7`},
		{"offsets with a bad time", "metaq.offsets.t.0-0", nil, `{"time":"yesterday"}`, 400, "yesterday"},
		{"offsets of a partition that is not there", "metaq.offsets.t.7-7", nil, "{}", 404, "no partition 7-7"},

		{"an operation that is not there", "metaq.peek.t", nil, "x", -1, "no responders"},
		{"an empty topic", "metaq.put.", nil, "x", -1, "no responders"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			answer := r.ask(tc.subject, tc.header, tc.body)
			if tc.code >= 0 {
				if code := codeOf(t, answer); code != tc.code {
					t.Errorf("code %d, want %d: %s", code, tc.code, answer)
				}
			}
			if !strings.Contains(answer, tc.text) {
				t.Errorf("answer %s does not say %q", answer, tc.text)
			}
		})
	}
}

// No client library sends these, and the server passes them on.
func TestAHeaderBlockIsKeptWholeOrRefused(t *testing.T) {
	r := newRig(t, nil)
	conn, err := net.Dial("tcp", r.server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// Nor does it wait for the inbox, which another connection subscribes to.
	if err := r.asker.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprint(conn, "CONNECT {\"headers\":true}\r\n"); err != nil {
		t.Fatal(err)
	}
	for header, code := range map[string]int{
		"NATS/1.0\r\nno colon\r\n\r\n":            400,
		"NATS/1.0\r\n: no name\r\nA: 1\r\n\r\n":   400,
		"NATS/1.0\r\nA: 1\r\n\r\nB: 2\r\n\r\n":    400,
		"NATS/1.0\r\nA: 1\r\n\r\nB":               400,
		"NATS/1.0\r\n\r\nB: 2\r\n\r\n":            400,
		"NATS/1.0 503\r\n\r\n":                    400,
		"NATS/1.0\r\n\xff: not UTF-8\r\n\r\n":     400,
		"NATS/1.0\r\nA: 1\r\nB: 2\r\nA: \r\n\r\n": 0,
		"NATS/1.0\r\nA:1\r\nB:2\r\nA:\r\n\r\n":    0,
		"NATS/1.0\r\nA: blank behind \r\n\r\n":    0,
		"NATS/1.0\r\nA name: [a] = b:c\r\n\r\n":   0,
		"NATS/1.0\r\n\r\n":                        0,
	} {
		*r.asked++
		token := fmt.Sprint(*r.asked)
		if _, err := fmt.Fprintf(conn, "HPUB metaq.put.t %s.%s %d %d\r\n%sx\r\n",
			r.inbox, token, len(header), len(header)+1, header); err != nil {
			t.Fatal(err)
		}
		answer := string(r.wait(token))
		if code == 0 {
			ackOf(t, answer)
		} else if codeOf(t, answer) != code || !strings.Contains(answer, "header") {
			t.Errorf("%q: %s", header, answer)
		}
	}
}

func TestAReplySubjectOfOursIsNeverAnswered(t *testing.T) {
	r := newRig(t, nil)
	for _, subject := range []string{"metaq.put.t.0-0", "metaq.put.nope", "metaq.get.t.0-0", "metaq.admin.topic.ls"} {
		if err := r.asker.nc.PublishRequest(subject, "metaq.put.t.0-1", []byte("loop")); err != nil {
			t.Fatal(err)
		}
	}
	r.ask("metaq.put.t.0-0", nil, "ok") // behind the others
	r.ask("metaq.put.t.0-1", nil, "ok")
	eventually(t, "four were counted", func() bool { return r.metric("metaq_bad_reply_subject_total") == 4 })
	for i := range 2 {
		if got := r.parts[i].values(); len(got) != 1 || got[0] != "ok" {
			t.Errorf("partition %d holds %q", i, got)
		}
	}
}

func TestATopicInDeletionMayComeBack(t *testing.T) {
	r := newRig(t, nil)
	for _, subject := range []string{"metaq.put.going", "metaq.put.going.0-0", "metaq.batch.going.0-0"} {
		if answer := r.ask(subject, nil, string(batchOf(t, 0, "a"))); codeOf(t, answer) != 503 {
			t.Errorf("%s: %s", subject, answer)
		}
	}
	for _, subject := range []string{"metaq.get.going.0-0", "metaq.offsets.going.0-0"} {
		if answer := r.ask(subject, nil, ""); codeOf(t, answer) != 503 {
			t.Errorf("%s: %s", subject, answer)
		}
	}
}

func TestWithoutAReplySubject(t *testing.T) {
	r := newRig(t, nil)
	for _, subject := range []string{"metaq.put.t.0-0", "metaq.put.nope", "metaq.get.t.0-0", "metaq.offsets.t.0-0", "metaq.admin.topic.ls"} {
		if err := r.asker.nc.Publish(subject, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the put is stored", func() bool { return len(r.parts[0].values()) == 1 })
	eventually(t, "the others are counted", func() bool { return r.metric("metaq_no_reply_subject_total") == 4 })
}

// metric is the sum of a counter or gauge over its labels.
func (r *rig) metric(name string) float64 {
	r.t.Helper()
	families, err := r.reg.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	var sum float64
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
			return sum
		}
	}
	r.t.Fatalf("no metric %s", name)
	return 0
}

// eventually polls with a deadline; it is for what gives no event.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	deadline, tick := time.After(patience), time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}
