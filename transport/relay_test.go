package transport

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"metaq/actors"
	"metaq/protocol"
	"metaq/transport/turns"
)

// farRig is a rig in a cluster: topic far has its one partition on broker 1, which is what
// the test makes of it.
type farRig struct {
	*rig
	there atomic.Bool // broker 1 is connected
	far   *nats.Conn  // broker 1
}

func newFarRig(t *testing.T, requests int64) *farRig {
	t.Helper()
	f := &farRig{}
	f.there.Store(true)
	deploy := external(t)
	f.rig = newRig(t, func(o *Options) {
		deploy(o)
		o.Total.Requests = requests
		o.Cluster = &ClusterEdge{Listens: func(string) bool { return f.there.Load() }, Shared: true}
	})
	id := protocol.PartitionID{Home: 1}
	f.mu.Lock()
	f.topics["far"] = &actors.TopicRoute{
		Name: "far", All: []protocol.PartitionID{id}, Leaders: []*actor.PID{f.Leader("far", id)}, AcceptPublish: true, AcceptSubscribe: true,
	}
	f.mu.Unlock()
	f.publishRoutes()
	f.far = newAsker(t, f.Gateway.nc.ConnectedUrl()).nc
	t.Cleanup(f.far.Close)
	return f
}

// serve has broker 1 do with each put what the test says.
func (f *farRig) serve(do func(*nats.Msg)) {
	f.t.Helper()
	if _, err := f.far.Subscribe("metaq.node.1.put.far.1-0", do); err != nil {
		f.t.Fatal(err)
	}
	if err := f.far.Flush(); err != nil {
		f.t.Fatal(err)
	}
}

const farAck = `{"stream":"far-1-0","seq":1,"topic":"far","partition":"1-0","offset":0}`

func TestAnAnswerOfAnotherBrokerIsPassedBackOnce(t *testing.T) {
	f := newFarRig(t, 100)
	f.serve(func(m *nats.Msg) {
		if string(m.Data) != "hello" || m.Header.Get("A") != "b" {
			t.Errorf("broker 1 got %q, %v", m.Data, m.Header)
		}
		_, _ = m.Respond([]byte(farAck)), m.Respond([]byte(farAck))
	})
	ackOf(t, f.ask("metaq.put.far", nats.Header{"A": {"b"}}, "hello"))
}

func TestASentOnRequestWhoseBrokerDiesIsAnswered(t *testing.T) {
	f := newFarRig(t, 100)
	arrived := make(chan *nats.Msg, 10)
	f.serve(func(m *nats.Msg) { arrived <- m })
	var waiting []string
	for range cap(arrived) {
		waiting = append(waiting, f.request("metaq.put.far", nil, "x"))
	}
	var last *nats.Msg
	for range waiting {
		last = <-arrived
	}
	began := time.Now()
	f.there.Store(false)
	for _, token := range waiting {
		if answer := string(f.wait(token)); codeOf(t, answer) != 503 || !strings.Contains(answer, "broker 1") {
			t.Errorf("answered with %s", answer)
		}
	}
	if took := time.Since(began); took > relayPatience/2 {
		t.Errorf("answered after %v", took)
	}
	// Its late answer is nobody's.
	if err := last.Respond([]byte(farAck)); err != nil {
		t.Fatal(err)
	}
}

func TestASentOnRequestIsNotWaitedForForEver(t *testing.T) {
	f := newFarRig(t, 100)
	f.serve(func(*nats.Msg) {})
	began := time.Now()
	if answer := f.ask("metaq.put.far", nil, "x"); codeOf(t, answer) != 503 || !strings.Contains(answer, "does not answer") {
		t.Errorf("answered with %s", answer)
	}
	if took := time.Since(began); took < relayPatience {
		t.Errorf("refused after %v already", took)
	}
}

func TestNobodyListensWhereARequestIsSentOnTo(t *testing.T) {
	f := newFarRig(t, 100)
	began := time.Now()
	if answer := f.ask("metaq.put.far", nil, "x"); codeOf(t, answer) != 503 {
		t.Errorf("answered with %s", answer)
	}
	if took := time.Since(began); took > relayPatience/2 {
		t.Errorf("answered after %v", took)
	}
}

func TestWhatWasSentOnIsAnsweredBeforeTheEnd(t *testing.T) {
	f := newFarRig(t, 100)
	arrived := make(chan *nats.Msg, 2)
	f.serve(func(m *nats.Msg) { arrived <- m })
	answered, not := f.request("metaq.put.far", nil, "x"), f.request("metaq.put.far", nil, "y")
	first := <-arrived
	<-arrived
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := f.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	go func() { closed <- f.Close() }()
	if err := first.Respond([]byte(farAck)); err != nil {
		t.Fatal(err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if string(first.Data) == "y" {
		answered, not = not, answered
	}
	ackOf(t, string(f.wait(answered)))
	if answer := string(f.wait(not)); codeOf(t, answer) != 503 {
		t.Errorf("answered with %s", answer)
	}
}

func TestWhatWaitsForAnotherBrokerIsBounded(t *testing.T) {
	f := newFarRig(t, 1)
	arrived := make(chan *nats.Msg, 1)
	f.serve(func(m *nats.Msg) { arrived <- m })
	held := f.request("metaq.put.far", nil, "x")
	m := <-arrived
	if answer := f.ask("metaq.put.far", nil, "x"); codeOf(t, answer) != 429 {
		t.Errorf("the second put: %s", answer)
	}
	ackOf(t, f.ask("metaq.put.t.0-0", nil, "x")) // this broker's own have places of their own
	if err := m.Respond([]byte(farAck)); err != nil {
		t.Fatal(err)
	}
	ackOf(t, string(f.wait(held)))
}

// A server takes headers that the library changes or refuses: another broker gets them as
// they came.
func TestHeadersAreSentOnAsTheyCame(t *testing.T) {
	f := newFarRig(t, 100)
	came := make(chan nats.Header, 1)
	f.serve(func(m *nats.Msg) {
		came <- unpacked(m.Header)
		if err := m.Respond([]byte(farAck)); err != nil {
			t.Error(err)
		}
	})
	c, err := net.Dial("tcp", f.Gateway.nc.ConnectedAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprint(c, "CONNECT {\"verbose\":false,\"headers\":true}\r\nSUB i.1 1\r\n"); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(c)
	for _, want := range []nats.Header{
		{"A": {"b", ""}, "C": {"d"}},
		{"A name": {"b"}},
		{"A": {"ends with a blank "}, "B": {"tab\t"}},
		{"A": {"carriage\rreturn"}},
		{"A": {"\xff"}, "\u00e9": {"b"}},
		{headerCarrier: {"TkFUUy8xLjANCkE6Yg0KDQo="}}, // a client's own
	} {
		block := "NATS/1.0\r\n"
		for name, values := range want {
			for _, value := range values {
				block += name + ":" + value + "\r\n"
			}
		}
		block += "\r\n"
		if _, err := fmt.Fprintf(c, "HPUB metaq.put.far i.1 %d %d\r\n%sx\r\n", len(block), len(block)+1, block); err != nil {
			t.Fatal(err)
		}
		answered := false
		for !answered && lines.Scan() {
			answered = strings.HasPrefix(lines.Text(), "MSG i.1 ")
		}
		if lines.Scan(); lines.Text() != farAck {
			t.Errorf("%q: answered with %q, %v", block, lines.Text(), lines.Err())
			continue
		}
		if d := cmp.Diff(want, <-came); d != "" {
			t.Error(d)
		}
	}
}

// A request to a group that another broker coordinates has its place in the client's share until
// that broker has answered, and a heartbeat, which may wait for news, has none.
func TestARequestThatWasSentOnStaysInItsClientsShare(t *testing.T) {
	const client = 7
	f := newFarRig(t, 10*groupShare)
	f.actorNamed(actors.GroupsActor, func(ctx actor.Context) {
		if m, ok := ctx.Message().(*actors.GroupRequest); ok {
			m.Elsewhere(1)
			m.Ticket.Release()
		}
	})
	arrived := make(chan *nats.Msg, 10*groupShare)
	if _, err := f.far.ChanSubscribe("metaq.node.1.group.g.*", arrived); err != nil {
		t.Fatal(err)
	}
	if err := f.far.Flush(); err != nil {
		t.Fatal(err)
	}
	ask := func(verb, body string) {
		f.control(&nats.Msg{Subject: "metaq.group.g." + verb, Reply: nats.NewInbox(), Data: []byte(body)}, client)
	}
	for range 2 * groupShare {
		ask("heartbeat", `{"member":"m","generation":1,"wait_ms":30000}`)
		<-arrived
	}
	var waiting []*nats.Msg
	for range adminShare {
		ask("info", "")
		waiting = append(waiting, <-arrived)
	}
	one := make(chan struct{})
	go func() {
		defer close(one)
		ask("info", "")
	}()
	eventually(t, "the client waits for an answer", func() bool { return f.turns.held() == 1 })
	if err := waiting[0].Respond([]byte("{}")); err != nil {
		t.Fatal(err)
	}
	<-one
	<-arrived
}

// Requests that may wait for the registry, or ask many partitions, do not stand before those of
// members and before simple questions.
func TestKindsOfControlRequestsHaveTurnsOfTheirOwn(t *testing.T) {
	c := newControlTurns(256, nil)
	for request, want := range map[any]*turns.Turns{
		protocol.GroupLeave{}:  c.members,
		actors.GroupDescribe{}: c.asking, actors.GroupCommitted{}: c.groups, protocol.GroupDelete{}: c.groups,
	} {
		if c.ofGroup(request) != want {
			t.Errorf("%T has the wrong turns", request)
		}
	}
	for request, want := range map[any]*turns.Turns{
		actors.ListTopics{}: c.questions, actors.GrantProducer{}: c.changes, actors.AutoCreate{}: c.changes,
	} {
		if c.ofAdmin(request) != want {
			t.Errorf("%T has the wrong turns", request)
		}
	}
}
