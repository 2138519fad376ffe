package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"metaq/protocol"
	"metaq/transport/front"
)

func TestAKeyChoosesThePartition(t *testing.T) {
	r := newRig(t, nil)
	for i := range 50 {
		key := fmt.Sprint("key-", i)
		want := protocol.PartitionOf([]byte(key), 4)
		answer := r.ask("metaq.put.t", nats.Header{"Metaq-Key": {key}}, "x")
		if want == 3 {
			if codeOf(t, answer) != 503 {
				t.Errorf("key %s of the partition without a leader: %s", key, answer)
			}
		} else if got := ackOf(t, answer).Partition.N; got != want {
			t.Errorf("key %s went to partition %d, want %d", key, got, want)
		}
	}
	for _, p := range r.parts {
		for _, rec := range p.stored() {
			if rec.Key == nil || rec.Headers != nil {
				t.Errorf("record %+v: the key belongs into Key, not into the headers", rec)
			}
		}
	}
}

func TestMessagesWithoutAKeyGoRoundTheLeaders(t *testing.T) {
	r := newRig(t, nil)
	var got []int
	for range 7 {
		got = append(got, ackOf(t, r.ask("metaq.put.t", nil, "x")).Partition.N)
	}
	if d := cmp.Diff([]int{0, 1, 2, 0, 1, 2, 0}, got); d != "" {
		t.Error(d)
	}
}

func TestAnEmptyKeyIsAKey(t *testing.T) {
	r := newRig(t, nil)
	want := protocol.PartitionOf([]byte{}, 4)
	for range 3 {
		if got := ackOf(t, r.ask("metaq.put.t", nats.Header{"Metaq-Key": {""}}, "x")).Partition.N; got != want {
			t.Errorf("went to %d, want %d", got, want)
		}
	}
}

func TestHeadersAreStoredSortedByName(t *testing.T) {
	r := newRig(t, nil)
	r.ask("metaq.put.t.0-0", nats.Header{"b": {"2", "1"}, "B": {"3"}, "a": {""}, "Metaq-Key": {"k"}, "Metaq-Attribute": {"x"}}, "v")
	want := protocol.Record{
		Key: []byte("k"), Value: []byte("v"),
		Headers: []protocol.Header{{Name: "B", Value: "3"}, {Name: "Metaq-Attribute", Value: "x"}, {Name: "a"}, {Name: "b", Value: "2"}, {Name: "b", Value: "1"}},
	}
	if d := cmp.Diff([]protocol.Record{want}, r.parts[0].stored()); d != "" {
		t.Error(d)
	}
}

func TestOneConnectionsMessagesKeepTheirOrder(t *testing.T) {
	r := newRig(t, nil)
	var want []string
	for i := range 3000 {
		want = append(want, fmt.Sprint(i))
		r.request("metaq.put.t.0-1", nil, want[i])
	}
	r.wait(fmt.Sprint(*r.asked))
	if d := cmp.Diff(want, r.parts[1].values()); d != "" {
		t.Error(d)
	}
}

// A connection that has to take the way by the server overtakes nothing of what it handed
// over before, however much waits.
func TestTheWayByTheServerOvertakesNothing(t *testing.T) {
	const direct, around = 3000, 100
	look := make(chan struct{})
	r := newRig(t, func(o *Options) {
		o.MaxMessage = func(string) int { <-look; return 1000 } // the dispatcher stands still
	})
	r.opts.Front = r.server.Front()
	r.opts.Front.Take(r.counter.hand)
	nc := r.asker.nc
	if err := nc.Flush(); err != nil { // accepted
		t.Fatal(err)
	}
	var want []string
	for i := range direct + around {
		want = append(want, fmt.Sprint(i))
		reply := ""
		if i == direct {
			reply = "somebody.else" // no subscription of this connection
		}
		if err := nc.PublishMsg(&nats.Msg{Subject: "metaq.put.t.0-1", Reply: reply, Data: []byte(want[i])}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "both ways are full", func() bool { return len(r.incoming) == around })
	if len(r.counter.requests) == 0 {
		t.Error("nothing was handed over")
	}
	close(look)
	eventually(t, "all are stored", func() bool { return len(r.parts[1].stored()) == len(want) })
	if d := cmp.Diff(want, r.parts[1].values()); d != "" {
		t.Error(d)
	}
}

// A broker that starts takes requests from its clients before it takes any from the server:
// what a client sent first cannot be overtaken by what it sends then.
func TestABrokerThatStartsTakesFromItsClientsFirst(t *testing.T) {
	s := startServer(t)
	client := newAsker(t, s.nats.ClientURL()).nc
	defer client.Close()
	answer := make(chan error, 10)
	o := defaultOptions()
	o.Front, o.Metrics = s.Front(), prometheus.NewRegistry()
	o.Connect = func(wrap func(net.Conn) net.Conn, opts ...nats.Option) (*nats.Conn, error) {
		return s.Connect(func(c net.Conn) net.Conn {
			return &watchedConn{wrap(c), []byte("SUB metaq.put.>"), func() {
				_, err := client.Request("metaq.put.nothing", nil, patience)
				answer <- err
			}}
		}, opts...)
	}
	system := quietSystem()
	defer system.Shutdown()
	g, err := NewGateway(system, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = errors.Join(g.Drain(context.WithoutCancel(t.Context())), g.Close()) }()
	select {
	case err := <-answer:
		if err != nil {
			t.Errorf("before the server knows of the broker, a request ends with %v", err)
		}
	case <-time.After(patience):
		t.Error("the broker did not subscribe")
	}
}

// watchedConn tells before something is written.
type watchedConn struct {
	net.Conn
	what []byte
	tell func()
}

func (c *watchedConn) Write(p []byte) (int, error) {
	if bytes.Contains(p, c.what) {
		c.tell()
	}
	return c.Conn.Write(p)
}

// What came by the server waits once for what was handed over before it, not each message
// for all that a flood has handed over meanwhile.
func TestAFloodDoesNotComeBetweenWhatCameByTheServer(t *testing.T) {
	const flood, around = 5000, 100
	flooding := make(chan *front.Requests, flood)
	look := make(chan struct{})
	var r *rig
	r = newRig(t, func(o *Options) {
		o.MaxMessage = func(string) int { // the dispatcher asks it for what was handed over together
			<-look
			if len(r.counter.requests) == 0 && len(flooding) > 0 { // the flood goes on
				r.counter.hand(<-flooding)
			}
			return 1000
		}
	})
	goOn := sync.OnceFunc(func() { close(look) })
	t.Cleanup(goOn)
	r.opts.Front = r.server.Front()
	r.opts.Front.Take(func(all *front.Requests) { flooding <- all })
	nc := r.asker.nc
	if err := nc.Flush(); err != nil { // accepted
		t.Fatal(err)
	}
	put := func(n int, reply, value string) {
		t.Helper()
		for range n {
			if err := nc.PublishMsg(&nats.Msg{Subject: "metaq.put.t.0-1", Reply: reply, Data: []byte(value)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(flood, "", "flood")
	r.counter.hand(<-flooding)
	eventually(t, "the dispatcher stands still", func() bool { return len(r.counter.requests) == 0 })
	put(around, "somebody.else", "around") // no subscription of this connection
	eventually(t, "all have come", func() bool { return len(r.incoming) == around })
	if len(flooding) < around {
		t.Fatalf("the flood came in %d pieces only", len(flooding))
	}
	goOn()
	eventually(t, "all are stored", func() bool { return len(r.parts[1].stored()) == flood+around })
	all := r.parts[1].values()
	first := slices.Index(all, "around")
	if between := slices.Index(all[first:min(first+around, len(all))], "flood"); between >= 0 {
		t.Errorf("a message of the flood comes after %d that came by the server together", between)
	}
}

func TestRoutesThatChangeKeepWhatIsInFlight(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Partition.Requests = 1 })
	r.parts[0].holdBack()
	first := r.request("metaq.put.t.0-0", nil, "first")
	route := *r.topics["t"]
	route.All = append(route.All, protocol.PartitionID{Home: 1, N: 0})
	route.Leaders = append(route.Leaders, nil)
	r.mu.Lock()
	r.topics["t"] = &route
	r.mu.Unlock()
	eventually(t, "the first put is held", func() bool {
		r.parts[0].mu.Lock()
		defer r.parts[0].mu.Unlock()
		return len(r.parts[0].held) == 1
	})
	r.publishRoutes()
	if answer := r.ask("metaq.put.t.0-0", nil, "second"); codeOf(t, answer) != 429 {
		t.Errorf("the bound was forgotten: %s", answer)
	}
	if answer := r.ask("metaq.put.t.1-0", nil, "x"); codeOf(t, answer) != 503 {
		t.Errorf("the new partition: %s", answer)
	}
	r.parts[0].release()
	ackOf(t, string(r.wait(first)))
	ackOf(t, r.ask("metaq.put.t.0-0", nil, "third"))
}
