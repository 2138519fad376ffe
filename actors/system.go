package actors

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/eventstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"metaq/protocol"
)

// System is a running broker: its tree of actors. Its methods may be called from
// any goroutine.
type System struct {
	env   *env
	root  *actor.PID
	ready atomic.Bool

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
	e := &env{
		system: deps.System, home: deps.BrokerID, deps: deps, opts: deps.Options.withDefaults(),
		log: deps.Logger, events: deps.Events, now: deps.Now, elapsed: deps.Elapsed, metrics: newMetrics(deps.Metrics),
	}
	if e.now == nil {
		e.now = time.Now
	}
	if e.elapsed == nil {
		e.elapsed = func() int64 { return e.now().UnixMilli() }
	}
	e.workers, e.calls, e.asks = newWorkers(e.opts.Workers), newWorkers(registryWorkers), newWorkers(askWorkers)
	e.ids = &idBudget{limit: int64(e.opts.MaxMessageIDs)}
	promauto.With(deps.Metrics).NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "metaq", Name: "message_ids",
		Help: "Message ids that the partitions remember. At maxBrokerMessageIds messages with new ids are refused.",
	}, func() float64 { return float64(e.ids.used.Load()) })
	e.hands = newHands()
	e.jobs = make(chan struct{}, e.opts.Syncs)
	return &System{
		env: e, serving: make(chan struct{}), over: make(chan struct{}), finished: make(chan struct{}), done: make(chan error, 1),
	}
}

// run spawns the root actor. Its failure and that of its children stop them:
// there is no broker without one of them.
func (s *System) run(ctx context.Context) error {
	stop := actor.NewOneForOneStrategy(0, 0, func(any) actor.Directive { return actor.StopDirective })
	letters := s.env.system.EventStream.Subscribe(s.deadLetter)
	root, err := spawn(s.env.system.Root, BrokerActor, s.env.log, func() receiver {
		return &broker{env: s.env, system: s, ctx: ctx}
	}, actor.WithSupervisor(stop), actor.WithGuardian(stop))
	if err != nil {
		s.env.system.EventStream.Unsubscribe(letters)
		return err
	}
	s.root = root
	go s.join(letters)
	return nil
}

// join waits for everything that runs.
func (s *System) join(letters *eventstream.Subscription) {
	<-s.over
	s.env.workers.wait()
	s.env.calls.wait()
	s.env.asks.wait()
	s.env.hands.wait()
	s.env.system.EventStream.Unsubscribe(letters)
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

func (s *System) tell(m stopBroker) { s.env.tell(s.root, m) }

// up is called by the broker actor when it is ready.
func (s *System) up() { s.once.Do(func() { close(s.serving) }) }

// ended is called by the broker actor once it and its children have stopped.
func (s *System) ended(err error) {
	s.err = err
	s.ready.Store(false)
	close(s.over)
}

// deadLetter answers requests whose actor has gone, so that each gets an answer
// and gives its ticket back.
func (s *System) deadLetter(e any) {
	letter, ok := e.(*actor.DeadLetterEvent)
	if !ok {
		return
	}
	ticket, isRequest := Ticket{}, true
	switch m := letter.Message.(type) {
	case *Puts:
		s.gone(m, letter.Sender)
		return
	case *PutBatch:
		ticket = m.Ticket
	case PutBatch:
		ticket = m.Ticket
	case *Get:
		ticket = m.Ticket
	case Get:
		ticket = m.Ticket
	case *Offsets:
		ticket = m.Ticket
	case Offsets:
		ticket = m.Ticket
	case *GroupRequest:
		ticket = m.Ticket
	case *GetResult:
		m.Release() // nobody waits for it any more
		return
	case *opened:
		if m.log != nil { // for a partition that was stopped with a parent that crashed
			if err := m.log.Close(); err != nil {
				s.env.log.Warn("log did not close cleanly and will be recovered", "error", err)
			}
		}
		return
	case heardTopic:
		if m.asker != nil {
			s.env.tell(m.asker, errGone) // the broker stopped while others were asked
		}
		return
	case Dated, CreateTopic, SetTopic, DeleteTopic, ListTopics, DescribeTopic, AutoCreate, DescribeBroker, DescribeCluster, GrantProducer, Describe,
		DescribeOwn, ListOwn, DescribeNode:
	default:
		isRequest = false
	}
	if !isRequest {
		return
	}
	ticket.Release()
	s.tellGone(letter.Sender)
}

// gone answers puts.
func (s *System) gone(m *Puts, sender *actor.PID) {
	for m := range m.Each(sender) {
		for i := range m.All {
			m.All[i].Ticket.Release()
			s.tellGone(m.All[i].From)
		}
	}
}

func (s *System) tellGone(to *actor.PID) {
	if to != nil {
		s.env.metrics.refused(protocol.ErrUnavailable)
		s.env.tell(to, errGone)
	}
}

var errGone error = protocol.ErrUnavailable.With("the actor that was asked has stopped: try again")
