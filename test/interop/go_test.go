package interop

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"metaq/protocol"
	"metaq/test/process"
)

func TestGoJetStream(t *testing.T) {
	b := process.Start(t, map[string]string{"auto-create-topics": "false"})
	nc := connect(t, b.URL)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	create(t, nc, "one", 1, "")
	create(t, nc, "four", 4, "")
	ctx := t.Context()

	first, err := js.Publish(ctx, "metaq.put.one", []byte("first"), jetstream.WithMsgID("a"))
	if err != nil || first.Stream != "one-0-0" || first.Sequence != 1 || first.Duplicate {
		t.Fatalf("%+v, %v", first, err)
	}
	again, err := js.Publish(ctx, "metaq.put.one", []byte("first"), jetstream.WithMsgID("a"))
	if err != nil || again.Sequence != 1 || !again.Duplicate {
		t.Fatalf("%+v, %v", again, err)
	}
	for _, good := range [][]jetstream.PublishOpt{
		{jetstream.WithExpectStream("one-0-0")},
		{jetstream.WithExpectLastSequence(2), jetstream.WithMsgID("c")},
		{jetstream.WithExpectLastMsgID("c"), jetstream.WithMsgID("d")},
	} {
		if _, err := js.Publish(ctx, "metaq.put.one", []byte("x"), good...); err != nil {
			t.Errorf("an expectation that holds: %v", err)
		}
	}
	for name, bad := range map[string]struct {
		subject string
		opt     jetstream.PublishOpt
		code    int
	}{
		"another stream":                  {"metaq.put.one", jetstream.WithExpectStream("other"), 10060},
		"an old sequence":                 {"metaq.put.one", jetstream.WithExpectLastSequence(1), 10071},
		"an old id":                       {"metaq.put.one", jetstream.WithExpectLastMsgID("a"), 10070},
		"a sequence of four partitions":   {"metaq.put.four", jetstream.WithExpectLastSequence(0), 10071},
		"an id of four partitions":        {"metaq.put.four", jetstream.WithExpectLastMsgID("a"), 10070},
		"a stream of four partitions":     {"metaq.put.four", jetstream.WithExpectStream("four-0-0"), 10060},
		"the sequence of a subject":       {"metaq.put.one", jetstream.WithExpectLastSequencePerSubject(1), 10003},
		"a time to live":                  {"metaq.put.one", jetstream.WithMsgTTL(time.Hour), 10166},
		"a topic that is not there":       {"metaq.put.none", jetstream.WithMsgID("x"), 10059},
		"a name that no partition can be": {"metaq.put.one.x", jetstream.WithMsgID("x"), 20001},
	} {
		if _, err := js.Publish(ctx, bad.subject, []byte("x"), bad.opt); errCode(err) != bad.code {
			t.Errorf("%s: %v, want code %d", name, err, bad.code)
		}
	}
	if ack, err := js.Publish(ctx, "metaq.put.four.0-2", []byte("x"), jetstream.WithExpectLastSequence(0)); err != nil || ack.Stream != "four-0-2" {
		t.Errorf("one partition of four: %+v, %v", ack, err)
	}

	const n = 500
	for range 2 { // the second time all are duplicates, whatever partition each went to
		var futures []jetstream.PubAckFuture
		for i := range n {
			f, err := js.PublishAsync("metaq.put.four", fmt.Append(nil, i), jetstream.WithMsgID(fmt.Sprint("async-", i)))
			if err != nil {
				t.Fatal(err)
			}
			futures = append(futures, f)
		}
		for _, f := range futures {
			select {
			case <-f.Ok():
			case err := <-f.Err():
				t.Fatal(err)
			case <-time.After(patience):
				t.Fatal("no answer")
			}
		}
	}
	if got := values(t, nc, "four"); len(got) != n+1 {
		t.Errorf("%d messages are stored, want %d", len(got), n+1)
	}
}

func TestGoOlderContext(t *testing.T) {
	b := process.Start(t, nil)
	nc := connect(t, b.URL)
	js, err := nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	create(t, nc, "one", 1, "")
	for i, duplicate := range []bool{false, true} {
		ack, err := js.Publish("metaq.put.one", []byte("x"), nats.MsgId("a"))
		if err != nil || ack.Stream != "one-0-0" || ack.Sequence != 1 || ack.Duplicate != duplicate {
			t.Fatalf("publish %d: %+v, %v", i, ack, err)
		}
	}
	if _, err := js.Publish("metaq.put.one", []byte("y"), nats.ExpectLastSequence(1), nats.ExpectLastMsgId("a"), nats.ExpectStream("one-0-0")); err != nil {
		t.Error(err)
	}
	if _, err := js.Publish("metaq.put.one", []byte("z"), nats.ExpectLastSequence(1)); errCode(err) != 10071 {
		t.Errorf("%v, want code 10071", err)
	}
	for i := range 100 {
		if _, err := js.PublishAsync("metaq.put.one", fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-time.After(patience):
		t.Fatalf("%d publishes had no answer", js.PublishAsyncPending())
	}
	want := []string{"x", "y"}
	for i := range 100 {
		want = append(want, fmt.Sprint(i))
	}
	if d := cmp.Diff(want, values(t, nc, "one")); d != "" {
		t.Error(d)
	}
}

// The window of ids is in the log: neither an ordered restart nor kill -9 makes a
// duplicate of a message that is sent again.
func TestTheWindowSurvivesRestarts(t *testing.T) {
	b := process.Start(t, nil)
	nc := connect(t, b.URL, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	create(t, nc, "t", 4, "")
	first := map[string]*jetstream.PubAck{}
	for round, end := range []func(){func() { b.Kill() }, func() { b.Stop() }, func() {}} {
		for i := range 50 {
			id := fmt.Sprint("id-", i)
			ack := publish(t, js, "metaq.put.t", id, id)
			if round == 0 {
				first[id] = ack
			} else if ack.Stream != first[id].Stream || ack.Sequence != first[id].Sequence || !ack.Duplicate {
				t.Fatalf("round %d, %s: %+v, the first time %+v", round, id, ack, first[id])
			}
		}
		end()
		if round < 2 {
			b.Start()
		}
	}
	if got := values(t, nc, "t"); len(got) != 50 {
		t.Errorf("%d messages are stored, want 50", len(got))
	}
}

// publish publishes until there is an answer, as a careful user would.
func publish(t testing.TB, js jetstream.JetStream, subject, id, value string) *jetstream.PubAck {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		ack, err := js.Publish(ctx, subject, []byte(value), jetstream.WithMsgID(id))
		cancel()
		if err == nil {
			return ack
		}
		if time.Now().After(deadline) {
			t.Errorf("%s: %v", id, err)
			return &jetstream.PubAck{}
		}
	}
}

func TestTopicsListenToExistingSubjects(t *testing.T) {
	b := process.Start(t, nil)
	nc := connect(t, b.URL)
	create(t, nc, "sales", 4, `"subjects":["sales.>","billing.*"],"key_token":2`)
	m, err := nc.Request("sales.eu.new", []byte("three pears"), patience)
	if err != nil {
		t.Fatal(err)
	}
	if err := protocol.DecodeError(m.Data); err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "billing.eu", []byte("a bill")); err != nil {
		t.Fatal(err)
	}
	if err := nc.Publish("sales.eu", []byte("no reply")); err != nil {
		t.Fatal(err)
	}
	if _, err := nc.Request("sales.eu.last", nil, patience); err != nil { // one partition: after the one before
		t.Fatal(err)
	}
	var subjects []string
	partitions := stored(t, nc, "sales")
	for _, list := range partitions {
		for _, m := range list {
			subjects = append(subjects, m.Headers["Metaq-Subject"]...)
			if m.Key == nil || *m.Key != "eu" {
				t.Errorf("message of %v has the key %v, want eu", m.Headers, m.Key)
			}
		}
	}
	if want := []string{"sales.eu.new", "billing.eu", "sales.eu", "sales.eu.last"}; !slices.Equal(subjects, want) || len(partitions) != 1 {
		t.Errorf("stored are %v in %d partitions, want %v in one", subjects, len(partitions), want)
	}

	refused := func(op, body, want string) {
		t.Helper()
		m, err := nc.Request("metaq.admin.topic."+op, []byte(body), patience)
		if err != nil {
			t.Fatal(err)
		}
		if err := protocol.DecodeError(m.Data); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s %s: %s", op, body, m.Data)
		}
	}
	refused("create", `{"topic":"other","config":{"subjects":["*.eu.new","x"]}}`, "takes in metaq.>")
	refused("create", `{"topic":"other","config":{"subjects":["sales.us.*"]}}`, "but topic sales listens to sales.>")
	create(t, nc, "other", 1, "")
	refused("set", `{"topic":"other","config":{"subjects":["billing.>"]}}`, "but topic sales listens to billing.*")

	// A topic that listens no more leaves its subjects, and another one may have them.
	var info protocol.TopicInfo
	ask(t, nc, "metaq.admin.topic.set", `{"topic":"sales","config":{"subjects":[]}}`, &info)
	if _, err := nc.Request("sales.eu", nil, patience); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("after the topic has left its subjects: %v", err)
	}
	ask(t, nc, "metaq.admin.topic.set", `{"topic":"other","config":{"subjects":["billing.>"]}}`, &info)
	if _, err := nc.Request("billing.eu", []byte("x"), patience); err != nil {
		t.Error(err)
	}
	b.Stop()
	b.Start()
	after := connect(t, b.URL)
	if _, err := after.Request("billing.eu", []byte("y"), patience); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	if got := values(t, after, "other"); !slices.Equal(got, []string{"x", "y"}) {
		t.Errorf("stored are %v", got)
	}
}

// A leader that is away for less than the half second for which the libraries try
// again by themselves is not noticed by a publisher.
func TestALeaderThatIsAwayForAMomentIsNotNoticed(t *testing.T) {
	const libraries = 400 * time.Millisecond // two retries, 250 ms apart, less a margin
	server := process.Start(t, map[string]string{"nats-prefix": "other"})
	b := process.Start(t, map[string]string{"nats-url": server.URL})
	nc := connect(t, server.URL)
	create(t, nc, "t", 1, "")
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	for round := range 10 {
		b.Kill()
		for { // until the NATS server knows
			if _, err := nc.Request("metaq.offsets.t.0-0", nil, patience); err != nil {
				break
			}
		}
		away := time.Now()
		answer := make(chan error, 1)
		go func() {
			_, err := js.Publish(t.Context(), "metaq.put.t", []byte("x"))
			answer <- err
		}()
		b.Start()
		took := time.Since(away)
		err := <-answer
		if err == nil {
			return
		}
		if took < libraries {
			t.Fatalf("the leader was away for %v: %v", took, err)
		}
		t.Logf("round %d: the leader was away for %v, too long to tell", round, took)
	}
	t.Fatal("this machine never starts a broker in time")
}
