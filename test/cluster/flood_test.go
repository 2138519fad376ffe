package cluster

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"metaq/protocol"
	"metaq/test/process"
)

// A flood is connections that never wait for an answer: each sends n times the same.
type flood struct {
	broker      int // whose client
	connections int
	n           int
	subject     string
	payload     []byte

	acknowledged *atomic.Int64 // optional: counts while the flood goes on
}

// run sends and returns the answers by kind. Each request has exactly one.
func (f flood) run(w *world) map[string]int {
	counts := make([]map[string]int, f.connections)
	var all sync.WaitGroup
	for i := range counts {
		all.Go(func() { counts[i] = f.one(w.t, w.brokers[f.broker].URL) })
	}
	all.Wait()
	return sum(counts...)
}

func sum(counts ...map[string]int) map[string]int {
	total := map[string]int{}
	for _, c := range counts {
		for what, n := range c {
			total[what] += n
		}
	}
	return total
}

// one is one of the connections.
func (f flood) one(t testing.TB, url string) map[string]int {
	counts := map[string]int{}
	nc, err := nats.Connect(url)
	if err != nil {
		t.Error(err)
		return counts
	}
	defer nc.Close()
	inbox, answers := nats.NewInbox(), make(chan *nats.Msg, 2*f.n)
	take := func(m *nats.Msg) {
		if f.acknowledged != nil && kindOf(m) == "served" {
			f.acknowledged.Add(1)
		}
		answers <- m
	}
	if _, err := nc.Subscribe(inbox+".*", take); err != nil {
		t.Error(err)
		return counts
	}
	for i := range f.n {
		if err := nc.PublishRequest(f.subject, inbox+"."+fmt.Sprint(i), f.payload); err != nil {
			t.Error(err)
			return counts
		}
	}
	seen := make(map[string]bool, f.n)
	timeout := time.After(patience)
	for len(seen) < f.n {
		select {
		case m := <-answers:
			if seen[m.Subject] {
				t.Errorf("two answers to %s", m.Subject)
			}
			seen[m.Subject] = true
			counts[kindOf(m)]++
		case <-timeout:
			t.Errorf("%d of %d requests to %s had no answer", f.n-len(seen), f.n, f.subject)
			counts["none"] = f.n - len(seen)
			return counts
		}
	}
	return counts
}

// kindOf is what an answer says: served, busy, or why not.
func kindOf(m *nats.Msg) string {
	err := protocol.DecodeError(m.Data)
	switch {
	case len(m.Data) == 0 && m.Header.Get("Status") == "503":
		return "no responders"
	case err == nil:
		return "served"
	case errors.Is(err, protocol.ErrBusy):
		return "busy"
	default:
		return err.Error()
	}
}

// served is answered, and fails when none got what was asked for.
func (w *world) served(sent int, answers map[string]int) (served, unknown int) {
	w.t.Helper()
	if served, unknown = w.answered(sent, answers); served == 0 {
		w.t.Errorf("none of %d requests was served: %v", sent, answers)
	}
	return served, unknown
}

// answered fails unless every request was answered, and returns how many were by what was
// asked for, and how many may have been: on a machine that is busy enough brokers lose
// sight of one another, and say so.
func (w *world) answered(sent int, answers map[string]int) (served, unknown int) {
	w.t.Helper()
	served, unknown = answers["served"], sent-answers["served"]-answers["busy"]
	all := 0
	for what, n := range answers {
		all += n
		if what != "served" && what != "busy" && what != "no responders" && !strings.Contains(what, "(503)") {
			w.t.Errorf("%d times: %s", n, what)
		}
	}
	if all != sent || answers["none"] > 0 {
		w.t.Errorf("%d requests were answered with %v", sent, answers)
	}
	return served, unknown
}

// holds fails unless the topic has what was acknowledged, and nothing that nobody sent.
func (w *world) holds(topic string, acknowledged, unknown int) {
	w.t.Helper()
	if stored := w.stored(topic); stored < acknowledged || stored > acknowledged+unknown {
		w.t.Errorf("%d were acknowledged and of %d it is not known, %d are stored", acknowledged, unknown, stored)
	}
}

// stored is how many messages the topic has.
func (w *world) stored(topic string) (n int) {
	w.t.Helper()
	w.eventually("the ends of "+topic, patience, func(ctx context.Context) error {
		info, err := w.connect(0).Admin().TopicInfo(ctx, topic)
		n = 0
		for _, p := range info.Partitions {
			if err == nil && p.Leader < 0 {
				err = fmt.Errorf("partition %s has no leader", p.Partition)
			}
			n += int(p.EndOffset)
		}
		return err
	})
	return n
}

// undisturbed fails when a broker's gateway dropped something or was cut off.
func (w *world) undisturbed() {
	w.t.Helper()
	for id, address := range w.metrics {
		for _, name := range []string{"metaq_gateway_dropped_total", "metaq_gateway_reconnects_total", "metaq_unanswered_total"} {
			if value := w.metric(address, name); value != "" && value != "0" {
				w.t.Errorf("broker %d: %s %s", id, name, value)
			}
		}
	}
}

// floodWorld is two brokers with little room, so that a flood is too much.
func floodWorld(t *testing.T) *world {
	w := newWorld(t, 1)
	w.brokers = make([]*process.Broker, 2)
	var all sync.WaitGroup
	for id := range w.brokers {
		all.Go(func() {
			w.brokers[id] = w.start(id, map[string]string{
				"max-inflight-bytes": "32MiB", "max-partition-inflight-bytes": "16MiB",
				"zk-session-timeout-ms": "10000", // no flood is to look like a broker that has gone
			})
		})
	}
	all.Wait()
	return w
}

// survives sends a flood to a subject through broker 1.
func (w *world) survives(subject string) {
	w.t.Helper()
	f := flood{broker: 1, connections: 50, n: 1000, subject: subject, payload: make([]byte, 8<<10)}
	began := time.Now()
	answers := f.run(w)
	w.t.Logf("%v in %v", answers, time.Since(began))
	served, unknown := w.served(f.connections*f.n, answers)
	w.holds("t", served, unknown)
	w.undisturbed()
}

// bounded fails when a broker had more memory for its heap than a window, what is in
// flight and the collector's share come to. What the runtime once had it keeps counting,
// so this is the peak.
func (w *world) bounded() {
	w.t.Helper()
	for id := range w.brokers {
		heap, err := strconv.ParseFloat(w.metric(w.metrics[id], "go_memstats_heap_sys_bytes"), 64)
		if err != nil {
			w.t.Fatal(err)
		}
		w.t.Logf("broker %d had a heap of %.0f MiB", id, heap/(1<<20))
		if heap > floodHeap {
			w.t.Errorf("broker %d had a heap of %.0f MiB in the flood, more than %d MiB", id, heap/(1<<20), floodHeap>>20)
		}
	}
}

// floodHeap is what the heap of a broker of floodWorld may come to in a flood of 400 MiB.
// Some 170 MiB are usual, and 300 without the window.
const floodHeap = 240 << 20

// The leader dies in the middle of a flood through the other broker: whatever was sent is
// answered, and what was acknowledged is there when it is back.
func TestAFloodWhoseLeaderDiesIsAnswered(t *testing.T) {
	w := floodWorld(t)
	w.create("t", 1)
	f := flood{broker: 1, connections: 20, n: 4000, subject: "metaq.put.t.0-0", payload: make([]byte, 1<<10), acknowledged: new(atomic.Int64)}
	done := make(chan map[string]int, 1)
	go func() { done <- f.run(w) }()
	w.eventually("acknowledgements", patience, func(context.Context) error {
		if n := f.acknowledged.Load(); n < 500 {
			return fmt.Errorf("%d have come", n)
		}
		return nil
	})
	w.brokers[0].Kill()
	answers := <-done
	t.Logf("%v", answers)
	served, unknown := w.served(f.connections*f.n, answers)
	if unknown == 0 {
		t.Error("the leader died after the flood")
	}
	w.brokers[0].Start()
	w.whole("t", 2)
	w.holds("t", served, unknown)
}

// What a flood sends to the broker that it is not connected to is answered, request by
// request; what was acknowledged is stored, and no broker is cut off.
func TestAFloodThroughAnotherBrokerIsAnswered(t *testing.T) {
	w := floodWorld(t)
	w.create("t", 1)
	w.survives("metaq.put.t.0-0")
	w.bounded()
}

// The same by a subject that a topic listens to: publishers who know nothing of us.
func TestAFloodOfATopicsOwnSubjectIsAnswered(t *testing.T) {
	w := floodWorld(t)
	if err := listen(t.Context(), w.connect(0), "t", "orders.>"); err != nil {
		t.Fatal(err)
	}
	w.whole("t", 4)
	w.survives("orders.new")
	w.bounded()
}

// Both brokers at once, with small and large messages, to each other's partition and to
// any, and readers and members of groups beside them.
func TestFloodsFromBothSidesAreAnswered(t *testing.T) {
	w := floodWorld(t)
	w.create("t", 1)
	small, large := make([]byte, 100), make([]byte, 64<<10)
	get := []byte(`{"max_messages":1}`)
	puts := []flood{
		{broker: 0, connections: 5, n: 1000, subject: "metaq.put.t.1-0", payload: small},
		{broker: 1, connections: 5, n: 1000, subject: "metaq.put.t.0-0", payload: small},
		{broker: 0, connections: 3, n: 300, subject: "metaq.put.t.1-0", payload: large},
		{broker: 1, connections: 3, n: 300, subject: "metaq.put.t", payload: large},
	}
	others := []flood{
		{broker: 0, connections: 3, n: 500, subject: "metaq.get.t.1-0", payload: get},
		{broker: 1, connections: 3, n: 500, subject: "metaq.get.t.0-0", payload: get},
		{broker: 1, connections: 3, n: 500, subject: "metaq.offsets.t.0-0", payload: nil},
		{broker: 1, connections: 3, n: 300, subject: "metaq.group.g.info", payload: nil},
		{broker: 0, connections: 3, n: 300, subject: "metaq.group.g.info", payload: nil},
	}
	nc := w.nats(0)
	w.eventually("group g to begin", patience, func(ctx context.Context) error {
		answer, err := nc.RequestWithContext(ctx, "metaq.group.g.join", []byte(`{"topics":["t"]}`))
		if err != nil {
			return err
		}
		return protocol.DecodeError(answer.Data)
	})
	// What is got is small, whoever comes first: as JSON a large one is hundreds of KiB.
	for _, id := range []string{"0-0", "1-0"} {
		if _, err := nc.Request("metaq.put.t."+id, []byte("first"), patience); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex // guards the next
	acknowledged, open, bySubject := 2, 0, map[string]int{}
	var all sync.WaitGroup
	for i, f := range append(puts, others...) {
		all.Go(func() {
			got := f.run(w)
			mu.Lock()
			defer mu.Unlock()
			t.Logf("%s through %d: %v", f.subject, f.broker, got)
			served, unknown := w.answered(f.connections*f.n, got)
			bySubject[f.subject] += served
			if i < len(puts) {
				acknowledged, open = acknowledged+served, open+unknown
			}
		})
	}
	all.Wait()
	// Not each flood by itself: they share a window, and one may find it full all the time.
	for subject, served := range bySubject {
		if served == 0 {
			t.Errorf("no request to %s was served", subject)
		}
	}
	w.holds("t", acknowledged, open)
	w.undisturbed()
}
