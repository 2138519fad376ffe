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
	"github.com/nats-io/nats.go"

	"metaq/actors"
	"metaq/protocol"
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
	f.rig = newRig(t, func(o *Options) {
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
	f.far = newAsker(t, f.server.nats.ClientURL()).nc
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

// A server takes header names that no library sends: the message is refused, not to be tried
// again for ever.
func TestAHeaderThatCannotBeSentOn(t *testing.T) {
	f := newFarRig(t, 100)
	f.serve(func(m *nats.Msg) { t.Errorf("broker 1 got %v", m.Header) })
	c, err := net.Dial("tcp", f.server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	header := "NATS/1.0\r\nA name: b\r\n\r\n"
	if _, err := fmt.Fprintf(c, "CONNECT {\"verbose\":false,\"headers\":true}\r\nSUB i.1 1\r\nHPUB metaq.put.far i.1 %d %d\r\n%sx\r\n",
		len(header), len(header)+1, header); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(c); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "MSG i.1 ") {
			lines.Scan()
			if codeOf(t, lines.Text()) != 400 {
				t.Errorf("answered with %s", lines.Text())
			}
			return
		}
	}
	t.Error("no answer")
}
