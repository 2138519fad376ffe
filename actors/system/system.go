package system

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/eventstream"

	"metaq/actors"
	"metaq/actors/partition"
	"metaq/actors/topic"
	"metaq/protocol"
)

// System is a running broker: its tree of actors. Its methods may be called from
// any goroutine.
type System struct {
	env        *actors.Env
	deps       Deps
	partitions *partition.Env
	topics     *topic.Env
	root       *actor.PID
	ready      atomic.Bool

	serving  chan struct{} // closed when the broker is ready for the first time
	once     sync.Once
	over     chan struct{} // closed when the root actor has stopped
	finished chan struct{} // closed when the workers have ended too
	err      error         // valid once over is closed
	done     chan error
}

// Start starts the actors of a broker and returns when it is ready: all topics
// are open, the gateway takes requests and the registry says so. When it returns
// an error, all that had started has been stopped; ctx bounds the whole start.
func Start(ctx context.Context, deps Deps) (*System, error) {
	if err := deps.Options.Validate(); err != nil {
		return nil, err
	}
	s := newSystem(deps)
	if err := s.run(ctx); err != nil {
		return nil, err
	}
	select {
	case <-s.serving:
		return s, nil
	case <-s.finished:
		if s.err == nil {
			return nil, protocol.ErrUnavailable.With("the broker was stopped while it started")
		}
		return nil, s.err
	case <-ctx.Done():
		s.tell(stopBroker{ctx: context.WithoutCancel(ctx), err: ctx.Err()})
		<-s.finished
		return nil, fmt.Errorf("start the broker: %w", s.err)
	}
}

func newSystem(deps Deps) *System {
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Elapsed == nil {
		now := deps.Now
		deps.Elapsed = func() int64 { return now().UnixMilli() }
	}
	e := actors.NewEnv(deps.System, deps.BrokerID, deps.Options, deps.Logger, deps.Now, deps.Metrics)
	partitions := partition.NewEnv(e, partition.Deps{
		Logs: deps.Logs, Acknowledge: deps.Gateway.Acknowledge, Events: deps.Events, Elapsed: deps.Elapsed, Metrics: deps.Metrics,
	})
	topics := topic.NewEnv(e, partitions, topic.Deps{
		Cluster: deps.Cluster, Logs: deps.Logs, Topics: deps.Topics, Source: deps.Source, Resolve: deps.Resolve, Publish: deps.Publish,
		Metrics: deps.Metrics,
	})
	return &System{
		env: e, deps: deps, partitions: partitions, topics: topics,
		serving: make(chan struct{}), over: make(chan struct{}), finished: make(chan struct{}), done: make(chan error, 1),
	}
}

// run spawns the root actor. Its failure and that of its children stop them:
// there is no broker without one of them.
func (s *System) run(ctx context.Context) error {
	stop := actor.NewOneForOneStrategy(0, 0, func(any) actor.Directive { return actor.StopDirective })
	letters := s.env.System.EventStream.Subscribe(s.deadLetter)
	root, err := actors.Spawn(s.env.System.Root, actors.BrokerActor, s.env.Log, func() actors.Receiver {
		return &broker{env: s.env, system: s, ctx: ctx}
	}, actor.WithSupervisor(stop), actor.WithGuardian(stop))
	if err != nil {
		s.env.System.EventStream.Unsubscribe(letters)
		return err
	}
	s.root = root
	go s.join(letters)
	return nil
}

// join waits for everything that runs.
func (s *System) join(letters *eventstream.Subscription) {
	<-s.over
	s.env.Wait()
	s.partitions.Finish()
	s.env.System.EventStream.Unsubscribe(letters)
	s.done <- s.err
	close(s.finished)
}

// Ready says whether the broker takes requests.
func (s *System) Ready() bool { return s.ready.Load() }

// Done yields one value when the broker has ended: nil after Stop, or the error
// that ended it.
func (s *System) Done() <-chan error { return s.done }

// Fail ends the broker because of err, for example when the gateway cannot go
// on. It returns at once; Done tells when it has ended.
func (s *System) Fail(err error) { s.tell(stopBroker{ctx: context.Background(), err: err}) }

// Stop leaves the registry, drains the gateway, commits what the partitions
// hold, closes their logs, the registry and the gateway, in this order. It
// returns when all that has happened, or when ctx ends; the stop then goes on.
// It may be called again.
func (s *System) Stop(ctx context.Context) error {
	select {
	case <-s.over:
	default:
		s.tell(stopBroker{ctx: ctx})
	}
	select {
	case <-s.finished:
		return s.err
	case <-ctx.Done():
		return fmt.Errorf("stop the broker: %w; it goes on stopping", ctx.Err())
	}
}

func (s *System) tell(m stopBroker) { s.env.Tell(s.root, m) }

// up is called by the broker actor when it is ready.
func (s *System) up() { s.once.Do(func() { close(s.serving) }) }

// ended is called by the broker actor once it and its children have stopped.
func (s *System) ended(err error) {
	s.err = err
	s.ready.Store(false)
	close(s.over)
}

// deadLetter refuses what its actor can answer no more.
func (s *System) deadLetter(e any) {
	if letter, ok := e.(*actor.DeadLetterEvent); ok {
		if m, ok := letter.Message.(actors.Refusable); ok {
			m.Refuse(letter.Sender, s.refuseGone)
		}
	}
}

// refuseGone tells one who waits that the actor has stopped.
func (s *System) refuseGone(to *actor.PID) {
	if to != nil {
		s.env.Refused(protocol.ErrUnavailable)
		s.env.Tell(to, actors.ErrGone)
	}
}
