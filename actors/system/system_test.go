package system

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"metaq/actors"
	"metaq/actors/actorstest"
	"metaq/actors/topic"
	"metaq/protocol"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// The library counts dead letters for one second at a time.
		goleak.IgnoreTopFunction("github.com/asynkron/protoactor-go/actor.NewDeadLetter.NewThrottle.func4.1"),
		goleak.IgnoreAnyFunction("github.com/asynkron/protoactor-go/actor.NewDeadLetter.NewThrottle.func4.1"))
}

func TestMessagesComeBackInOrder(t *testing.T) {
	r, d := newRig(t, actors.Topic{Name: "orders", Partitions: 2})
	r.start(d)
	for i, v := range []string{"a", "b", "c"} {
		if got := actorstest.OffsetOf(t, r.putTo("orders", 1, v)); got != protocol.Offset(i) {
			t.Fatalf("offset %d, want %d", got, i)
		}
	}
	got := actorstest.Values(t, r.get("orders", 1, protocol.GetRequest{Offset: actorstest.Ptr(protocol.Offset(1))}))
	if diff := cmp.Diff([]string{"b", "c"}, got); diff != "" {
		t.Fatal(diff)
	}
	if l := r.disk.Log(t, "orders-0-1"); l.Syncs != 3 {
		t.Fatalf("%d syncs, want one for each of 3 puts that waited for one another", l.Syncs)
	}
}

func TestStartAndStopGoInOrder(t *testing.T) {
	r, d := newRig(t)
	d.Topics = []actors.Topic{{Name: "orders", Partitions: 3}}
	r.start(d)
	if !r.Ready() {
		t.Fatal("not ready after Start")
	}
	if err := r.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-r.Done(); err != nil || r.Ready() {
		t.Fatalf("ended with %v, ready %v", err, r.Ready())
	}
	want := []string{
		"register", "topics", "create orders", "claim orders", "gateway start", "announce",
		"leave", "gateway drain", "close registry", "gateway close",
	}
	if diff := cmp.Diff(want, r.registry.Story()); diff != "" {
		t.Fatal(diff)
	}
}

func TestAStartThatFails(t *testing.T) {
	for name, tc := range map[string]struct {
		fault func(*rig, *Deps)
		text  string
		story []string
	}{
		"registry": {
			func(r *rig, _ *Deps) { r.registry.SetFail("register", actorstest.ErrDisk) }, "register the broker: input/output error",
			[]string{"register", "leave", "close registry"},
		},
		"topics": {
			func(r *rig, _ *Deps) { r.registry.SetFail("topics", actorstest.ErrDisk) }, "open the topics: read the topics from the registry (local): input/output error",
			[]string{"register", "topics", "leave", "close registry"},
		},
		"settings": {
			func(_ *rig, d *Deps) {
				d.Topics = []actors.Topic{{Name: "n", Partitions: 1, Config: protocol.TopicConfig{DeletePolicy: actorstest.Ptr("wrong")}}}
			}, "open the topics: topic n: delete_policy is wrong: write delete,168",
			[]string{"register", "topics", "create n", "leave", "close registry"},
		},
		"gateway": {
			func(r *rig, d *Deps) { d.Gateway = &actorstest.Gateway{R: r.registry, StartErr: actorstest.ErrDisk} }, "start the gateway: input/output error",
			[]string{"register", "topics", "claim t", "gateway start", "leave", "close registry"},
		},
		"announcement": {
			func(r *rig, _ *Deps) { r.registry.SetFail("announce", actorstest.ErrDisk) }, "announce the broker: input/output error",
			[]string{"register", "topics", "claim t", "gateway start", "announce", "leave", "gateway drain", "close registry", "gateway close"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, d := newRig(t, oneTopic)
			tc.fault(r, d)
			_, err := Start(t.Context(), *d)
			if err == nil || err.Error() != tc.text {
				t.Fatalf("error %v, want %s", err, tc.text)
			}
			if diff := cmp.Diff(tc.story, r.registry.Story()); diff != "" {
				t.Fatal(diff)
			}
		})
	}
}

func TestAStartThatTakesTooLong(t *testing.T) {
	r, d := newRig(t, oneTopic)
	r.registry.SetFail("claim t", actorstest.ErrDisk)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Start(ctx, *d); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if r.disk.Log(t, "t-0-0").IsOpen() {
		t.Fatal("a log is still open")
	}
}

func TestWhatCannotGoOnEndsTheBroker(t *testing.T) {
	t.Run("the gateway", func(t *testing.T) {
		r, d := newRig(t, oneTopic)
		s, err := Start(t.Context(), *d)
		if err != nil {
			t.Fatal(err)
		}
		s.Fail(errors.New("the connection to NATS was closed"))
		if err := <-s.Done(); err == nil || err.Error() != "the connection to NATS was closed" {
			t.Fatal(err)
		}
		if r.disk.Log(t, "t-0-0").IsOpen() {
			t.Fatal("a log is still open")
		}
	})
	t.Run("a child that crashes", func(t *testing.T) {
		r, d := newRig(t, oneTopic)
		d.Publish = func(routes *actors.Routes) {
			if len(routes.Topics) > 1 {
				panic("planted")
			}
			r.routes.Store(routes)
		}
		s, err := Start(t.Context(), *d)
		if err != nil {
			t.Fatal(err)
		}
		s.env.Tell(s.env.System.NewLocalPID(actors.TopicsActor), actors.CreateTopic{Request: protocol.TopicCreate{Topic: "n"}})
		if err := <-s.Done(); err == nil || !strings.Contains(err.Error(), "actor broker/topics crashed: its stack is in the log") {
			t.Fatal(err)
		}
		for _, name := range []string{"t-0-0", "n-0-0", "n-0-1"} {
			l := r.disk.Log(t, name)
			actorstest.WaitFor(t, name+" is closed", func() bool { return !l.IsOpen() })
		}
	})
}

func TestOptionsOutOfRange(t *testing.T) {
	_, d := newRig(t)
	d.Options = actors.Options{Partitions: -1, MaxWait: -time.Second, Sweep: -1}
	_, err := Start(t.Context(), *d)
	for _, text := range []string{"Partitions is -1: use 1 to 10000", "MaxWait is -1000000000", "Sweep is -1ns: use a positive time"} {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%v does not say %q", err, text)
		}
	}
}

func TestDescriptions(t *testing.T) {
	r, d := newRig(t, oneTopic)
	r.start(d)
	info, ok := r.ask(r.env.System.NewLocalPID(actors.BrokerActor), actors.DescribeBroker{}).(protocol.BrokerInfo)
	if !ok || !info.Ready || info.Version != "test" || info.Registry != "local" || info.Started.IsZero() {
		t.Fatalf("%+v", info)
	}
	part, ok := r.ask(r.leader("t", 0), actors.Describe{}).(protocol.PartitionInfo)
	if !ok || part.Leader != 0 || part.Epoch != 1 {
		t.Fatalf("%+v", part)
	}
}

// Events and metrics tell one message's way.
func TestTheStoryOfAMessage(t *testing.T) {
	r, d := newRig(t, oneTopic)
	var mu sync.Mutex
	var story []string
	note := func(word string) func(actors.Event) {
		return func(e actors.Event) {
			mu.Lock()
			defer mu.Unlock()
			story = append(story, fmt.Sprintf("%s %d..%d %v", word, e.First, e.Next, e.Err))
		}
	}
	d.Events = actors.Events{
		Accept: note("accept"), Append: note("append"), Sync: note("sync"), Commit: note("commit"),
		Reply: note("reply"), Fetch: note("fetch"), Read: note("read"),
	}
	metrics := prometheus.NewRegistry()
	d.Metrics = metrics
	r.start(d)
	actorstest.OffsetOf(t, r.put("a"))
	r.all()
	r.disk.Log(t, "t-0-0").Update(func(l *actorstest.Log) { l.AppendErr = protocol.ErrDiskFull })
	actorstest.RequireError(t, r.put("b"), protocol.ErrDiskFull)
	mu.Lock()
	defer mu.Unlock()
	want := []string{
		"accept 0..1 <nil>", "append 0..1 <nil>", "sync 0..1 <nil>", "commit 0..1 <nil>", "reply 0..1 <nil>",
		"fetch -1..-1 <nil>", "read 0..1 <nil>",
		"accept 1..2 <nil>", "append 1..1 disk full: make room on the broker's data disk (503)",
		"reply 1..1 disk full: make room on the data disk of broker 0 (503)",
	}
	if diff := cmp.Diff(want, story); diff != "" {
		t.Fatal(diff)
	}
	expected := `
# HELP metaq_messages_in_total Messages committed. A fall under steady load means that producers are refused or gone.
# TYPE metaq_messages_in_total counter
metaq_messages_in_total 1
# HELP metaq_messages_out_total Messages handed to readers, those in a batch's unread part included.
# TYPE metaq_messages_out_total counter
metaq_messages_out_total 1
# HELP metaq_refusals_total Requests refused by the actors, by code. 503 rising means partitions that do not serve, 409 clients that contradict themselves.
# TYPE metaq_refusals_total counter
metaq_refusals_total{code="503"} 1
`
	if err := testutil.GatherAndCompare(metrics, strings.NewReader(expected),
		"metaq_messages_in_total", "metaq_messages_out_total", "metaq_refusals_total"); err != nil {
		t.Fatal(err)
	}
}

// An idle partition costs no goroutine and less than 20 KiB.
func TestAnIdlePartitionCostsLittle(t *testing.T) {
	const n = 2000
	measure := func() (bytes int64, goroutines int) {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc), runtime.NumGoroutine()
	}
	r, d := newRig(t)
	r.start(d)
	bytes, goroutines := measure()
	r.admin(actors.CreateTopic{Request: protocol.TopicCreate{Topic: "t", Partitions: n}})
	for i := range n {
		actorstest.OffsetOf(t, r.putTo("t", i, "x"))
		actorstest.Values(t, r.get("t", i, protocol.GetRequest{}))
	}
	r.env.Tell(r.env.System.NewLocalPID(actors.TopicsActor), topic.SweepDue{}) // sees them touched
	r.env.Tell(r.env.System.NewLocalPID(actors.TopicsActor), topic.SweepDue{})
	r.wait("all are parked", func() bool {
		parked := 0
		for i := range n {
			r.disk.Log(t, fmt.Sprintf("t-0-%d", i)).Update(func(l *actorstest.Log) { parked += l.Parks })
		}
		return parked == n
	})
	r.wait("their goroutines have gone", func() bool { return runtime.NumGoroutine() <= goroutines+5 })
	after, _ := measure()
	per := (after - bytes) / n
	t.Logf("%d bytes for each idle partition", per)
	if per > 20<<10 {
		t.Fatalf("%d bytes for each idle partition, want less than 20 KiB", per)
	}
}
