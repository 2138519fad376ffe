package actors

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"metaq/protocol"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// The library counts dead letters for one second at a time.
		goleak.IgnoreTopFunction("github.com/asynkron/protoactor-go/actor.NewDeadLetter.NewThrottle.func4.1"),
		goleak.IgnoreAnyFunction("github.com/asynkron/protoactor-go/actor.NewDeadLetter.NewThrottle.func4.1"))
}

func TestMessagesComeBackInOrder(t *testing.T) {
	r, d := newRig(t, Topic{Name: "orders", Partitions: 2})
	r.start(d)
	for i, v := range []string{"a", "b", "c"} {
		if got := offsetOf(t, r.putTo("orders", 1, v)); got != protocol.Offset(i) {
			t.Fatalf("offset %d, want %d", got, i)
		}
	}
	got := values(t, r.get("orders", 1, protocol.GetRequest{Offset: ptr(protocol.Offset(1))}))
	if diff := cmp.Diff([]string{"b", "c"}, got); diff != "" {
		t.Fatal(diff)
	}
	if l := r.disk.log(t, "orders-0-1"); l.syncs != 3 {
		t.Fatalf("%d syncs, want one for each of 3 puts that waited for one another", l.syncs)
	}
}

func TestStartAndStopGoInOrder(t *testing.T) {
	r, d := newRig(t)
	d.Topics = []Topic{{Name: "orders", Partitions: 3}}
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
	if diff := cmp.Diff(want, r.registry.story()); diff != "" {
		t.Fatal(diff)
	}
}
