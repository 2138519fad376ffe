package actors

import (
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/asynkron/protoactor-go/actor"
)

// NewActorSystem returns the process's one actor system. Set its address and
// resolvers before the first spawn. Messages of the library itself are debug
// messages in log.
func NewActorSystem(log *slog.Logger) *actor.ActorSystem {
	system := actor.NewActorSystem(
		actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger {
			return slog.New(quiet{log.Handler()}).With("lib", "protoactor")
		}),
		// Every refused request would be a dead letter with its payload in it.
		func(c *actor.Config) { c.DeadLetterRequestLogging = false },
	)
	return system
}

// Receiver is what spawn runs as an actor.
type Receiver interface {
	actor.Actor
	// Crashed is called when Receive has panicked, with the message that it died
	// of still in ctx. It answers all who wait and must not panic. Its supervisor
	// then starts a new one.
	Crashed(ctx actor.Context, err error)
}

// Spawn starts a named actor as a child of parent. It is the only place that
// touches the library's way of doing so: every actor is made by a function, so
// that a restart begins with a fresh value, every panic is logged with its
// stack, once, and turned into answers, and what a stopped actor leaves in its
// mailbox becomes dead letters, which System answers.
func Spawn(parent actor.SpawnerContext, name string, log *slog.Logger, produce func() Receiver, opts ...actor.PropsOption) (*actor.PID, error) {
	l := &life{system: parent.ActorSystem()}
	opts = append(opts, actor.WithMailbox(func() actor.Mailbox { return &mailbox{actor.Unbounded()(), l} }))
	props := actor.PropsFromProducer(func() actor.Actor {
		return &guard{inner: produce(), log: log, life: l}
	}, opts...)
	pid, err := parent.SpawnNamed(props, name)
	if err != nil {
		return nil, fmt.Errorf("spawn actor %s: %w", name, err)
	}
	return pid, nil
}

// guard is the actor that the library sees.
type guard struct {
	inner Receiver
	log   *slog.Logger
	life  *life
}

// Receive runs the inner actor.
func (g *guard) Receive(ctx actor.Context) {
	defer func() {
		if r := recover(); r != nil {
			g.failed(ctx, r)
		}
	}()
	if _, ok := ctx.Message().(*actor.Stopped); ok {
		g.life.over, g.life.pid = true, ctx.Self()
	}
	g.inner.Receive(ctx)
}

func (g *guard) failed(ctx actor.Context, reason any) {
	g.log.Error("actor panicked", "actor", ctx.Self().Id, "message", fmt.Sprintf("%T", ctx.Message()),
		"reason", fmt.Sprint(reason), "stack", string(debug.Stack()))
	g.inner.Crashed(ctx, fmt.Errorf("internal error in %s: %v", ctx.Self().Id, reason))
	switch ctx.Message().(type) {
	case *actor.Stopping, *actor.Stopped, *actor.Restarting:
		// A panic here would leave the parent waiting for ever.
	default:
		panic(reason)
	}
}

// life says whether an actor has stopped. It is used where the actor runs only.
type life struct {
	system *actor.ActorSystem
	over   bool
	pid    *actor.PID
}

// mailbox is the library's, with another invoker.
type mailbox struct {
	actor.Mailbox
	life *life
}

// RegisterHandlers puts the invoker between the mailbox and the actor.
func (m *mailbox) RegisterHandlers(i actor.MessageInvoker, d actor.Dispatcher) {
	m.Mailbox.RegisterHandlers(&invoker{i, m.life}, d)
}

// invoker makes dead letters of the messages that are left when the actor has
// stopped: the library drops them without a word.
type invoker struct {
	actor.MessageInvoker
	life *life
}

// InvokeUserMessage hands one message to the actor.
func (i *invoker) InvokeUserMessage(m any) {
	if i.life.over {
		i.life.system.DeadLetter.SendUserMessage(i.life.pid, m)
		return
	}
	i.MessageInvoker.InvokeUserMessage(m)
}
