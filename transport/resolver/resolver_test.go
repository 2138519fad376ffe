package resolver_test

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"metaq/transport/resolver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newSystem(t *testing.T) *actor.ActorSystem {
	t.Helper()
	s := actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger {
		return slog.New(slog.DiscardHandler)
	}), func(c *actor.Config) {
		c.DeadLetterThrottleInterval = time.Millisecond // the library's timer for its log ends with it
	})
	t.Cleanup(s.Shutdown)
	return s
}

// places collects what was delivered, as "kind id message".
type places chan string

func (p places) at(kind string) func(string, any) {
	return func(id string, message any) { p <- fmt.Sprintf("%s %s %v", kind, id, message) }
}

func (p places) next(t *testing.T) string {
	t.Helper()
	select {
	case s := <-p:
		return s
	case <-time.After(5 * time.Second):
		t.Fatal("nothing was delivered within 5 s")
		return ""
	}
}

func TestAnActorAnswersAPlaceOutside(t *testing.T) {
	system, got := newSystem(t), make(places, 10)
	inbox := resolver.Register(system, "nats", got.at("nats"), nil)
	other := resolver.Register(system, "gate", got.at("gate"), nil)
	echo := system.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		if s, ok := ctx.Message().(string); ok {
			ctx.Respond("echo " + s)
		}
	}))
	defer func() { _ = system.Root.StopFuture(echo).Wait() }()

	system.Root.RequestWithCustomSender(echo, "one", inbox.PID("_INBOX.a"))
	system.Root.RequestWithCustomSender(echo, "two", inbox.PID("_INBOX.b"))
	system.Root.RequestWithCustomSender(echo, "three", other.PID("x"))
	want := []string{"nats _INBOX.a echo one", "nats _INBOX.b echo two", "gate x echo three"}
	if d := cmp.Diff(want, []string{got.next(t), got.next(t), got.next(t)}); d != "" {
		t.Error(d)
	}
}

func TestASenderInTheEnvelopeIsUnwrapped(t *testing.T) {
	system, got := newSystem(t), make(places, 1)
	inbox := resolver.Register(system, "nats", got.at("nats"), nil)
	system.Root.RequestWithCustomSender(inbox.PID("_INBOX.a"), "hello", inbox.PID("_INBOX.b"))
	if s := got.next(t); s != "nats _INBOX.a hello" {
		t.Errorf("delivered %q", s)
	}
}

func TestWatchStopAndPoisonAreRefused(t *testing.T) {
	system, got := newSystem(t), make(places, 10)
	inbox := resolver.Register(system, "nats", func(id string, message any) {
		t.Errorf("delivered %v to %s", message, id)
	}, func(id string, message any) { got <- fmt.Sprintf("%s %T", id, message) })

	system.Root.Stop(inbox.PID("a"))
	system.Root.Poison(inbox.PID("b"))
	watcher := system.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		if _, ok := ctx.Message().(*actor.Started); ok {
			ctx.Watch(inbox.PID("c"))
		}
	}))
	want := []string{"a *actor.Stop", "b *actor.PoisonPill", "c *actor.Watch"}
	if d := cmp.Diff(want, []string{got.next(t), got.next(t), got.next(t)}); d != "" {
		t.Error(d)
	}
	_ = system.Root.StopFuture(watcher).Wait()
}

func TestTheLibrarysOwnAnswerIsNotDelivered(t *testing.T) {
	system, got := newSystem(t), make(places, 2)
	inbox := resolver.Register(system, "nats", got.at("nats"), nil)
	gone := system.Root.Spawn(actor.PropsFromFunc(func(actor.Context) {}))
	if err := system.Root.StopFuture(gone).Wait(); err != nil {
		t.Fatal(err)
	}
	system.Root.RequestWithCustomSender(gone, "hello", inbox.PID("_INBOX.a"))
	system.Root.Send(inbox.PID("_INBOX.a"), "ours")
	if s := got.next(t); s != "nats _INBOX.a ours" {
		t.Errorf("delivered %q", s)
	}
}
