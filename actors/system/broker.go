package system

import (
	"context"
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"metaq/actors"
	"metaq/actors/topic"
	"metaq/protocol"
)

// Messages to the broker actor.
type (
	stepDone struct {
		step brokerStep
		err  error
	}
	stopBroker struct {
		actors.IgnoreDeadLetter
		ctx context.Context // bounds the steps of the stop
		err error           // why, nil when it was asked for
	}
)

// broker is the root actor: it orders start and stop, describes the broker, and
// ends it when one of its children cannot go on.
type broker struct {
	env     *actors.Env
	system  *System
	core    brokerCore
	started time.Time
	ctx     context.Context // bounds the present steps

	cluster, topics, gateway *actor.PID
	gone                     map[string]bool // ids of children that have crashed
	members                  *actors.Members // nil when the broker runs alone
}

// Receive is the actor.
func (b *broker) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case actors.DescribeBroker:
		actors.Respond(ctx, ctx.Sender(), b.info())
	case actors.DescribeCluster:
		ctx.Request(b.topics, topic.ListFailed{Asker: ctx.Sender()})
	case actors.DescribeNode:
		ctx.Request(b.topics, topic.ListFailed{Asker: ctx.Sender(), Node: true})
	case topic.FailedList:
		b.describe(ctx, m)
	case *actors.Members:
		b.members = m
	case topic.Begun:
		b.stepDone(ctx, stepDone{stepTopics, m.Err})
	case topic.Ended:
		b.stepDone(ctx, stepDone{stepEndTopics, nil})
	case stepDone:
		b.stepDone(ctx, m)
	case stopBroker:
		b.stop(ctx, m)
	case *actor.Started:
		b.start(ctx)
	case *actor.Terminated:
		b.childGone(ctx, m.Who)
	case *actor.Stopped:
		b.system.ended(b.core.err)
	}
}

func (b *broker) start(ctx actor.Context) {
	b.started, b.gone = b.env.Now(), make(map[string]bool)
	child := func(name string, produce func() actors.Receiver) *actor.PID {
		pid, err := actors.Spawn(ctx, name, b.env.Log, produce)
		if err != nil {
			panic(err) // the names are ours alone
		}
		return pid
	}
	b.cluster = child("cluster", func() actors.Receiver { return newCluster(b.env, b.system.deps.Registry) })
	b.topics = child("topics", func() actors.Receiver { return topic.New(b.system.topics, b.cluster) })
	b.gateway = child("gateway", func() actors.Receiver { return &gateway{b.env, b.system.deps.Gateway} })
	b.perform(ctx, stepRegister)
}

// perform begins a step; its end comes as stepDone.
func (b *broker) perform(ctx actor.Context, s brokerStep) {
	b.system.ready.Store(s == stepServing)
	switch s {
	case stepRegister, stepAnnounce:
		info := b.system.describe(b.started, s == stepAnnounce)
		b.call(ctx, s, func(ctx context.Context, r actors.Registry) error { return r.Register(ctx, info) })
	case stepLeave:
		b.call(ctx, s, func(ctx context.Context, r actors.Registry) error { return r.Leave(ctx) })
	case stepCloseRegistry:
		b.call(ctx, s, func(context.Context, actors.Registry) error {
			if b.system.deps.CloseRegistry == nil {
				return nil
			}
			return b.system.deps.CloseRegistry()
		})
	case stepTopics:
		ctx.Send(b.cluster, takeBlock{}) // registered by now; nobody waits for it
		b.ask(ctx, s, b.topics, topic.Begin{})
	case stepEndTopics:
		b.ask(ctx, s, b.topics, topic.End{})
	case stepGateway, stepDrain, stepCloseGateway:
		b.ask(ctx, s, b.gateway, gatewayStep{s, b.ctx})
	case stepServing:
		b.system.up()
	case stepOver:
		ctx.Stop(ctx.Self())
	}
}

func (b *broker) call(ctx actor.Context, s brokerStep, do func(context.Context, actors.Registry) error) {
	b.ask(ctx, s, b.cluster, actors.RegistryCall{To: ctx.Self(), Do: func(ctx context.Context, r actors.Registry) any {
		return stepDone{s, do(ctx, r)}
	}})
}

// ask sends a step to a child, or ends it when that has crashed.
func (b *broker) ask(ctx actor.Context, s brokerStep, child *actor.PID, m any) {
	if b.gone[child.Id] {
		ctx.Send(ctx.Self(), stepDone{s, fmt.Errorf("%s has crashed", child.Id)})
		return
	}
	ctx.Send(child, m)
}

func (b *broker) stepDone(ctx actor.Context, m stepDone) {
	if m.step != b.core.step {
		return // a child that crashed meanwhile has ended the step
	}
	if m.err != nil {
		m.err = fmt.Errorf("%s: %w", m.step, m.err)
	}
	b.perform(ctx, b.core.done(m.err))
}

func (b *broker) stop(ctx actor.Context, m stopBroker) {
	if m.ctx != nil {
		b.ctx = m.ctx
	}
	if m.err != nil {
		b.env.Log.Error("broker cannot go on and stops", "error", m.err)
	}
	if step, now := b.core.stop(m.err); now {
		b.perform(ctx, step)
	}
}

// childGone ends the broker: it cannot do without any of its children.
func (b *broker) childGone(ctx actor.Context, who *actor.PID) {
	if b.core.step == stepOver {
		return
	}
	b.gone[who.Id] = true
	err := fmt.Errorf("actor %s crashed: its stack is in the log", who.Id)
	b.stop(ctx, stopBroker{err: err})
	waits := map[brokerStep]*actor.PID{
		stepRegister: b.cluster, stepAnnounce: b.cluster, stepLeave: b.cluster, stepCloseRegistry: b.cluster,
		stepTopics: b.topics, stepEndTopics: b.topics,
		stepGateway: b.gateway, stepDrain: b.gateway, stepCloseGateway: b.gateway,
	}
	if pid := waits[b.core.step]; pid != nil && pid.Equal(who) {
		ctx.Send(ctx.Self(), stepDone{b.core.step, err})
	}
}

func (b *broker) info() protocol.BrokerInfo {
	return b.system.describe(b.started, b.core.step == stepServing)
}

// describe answers who asks for the cluster, or another broker that asks for this one.
func (b *broker) describe(ctx actor.Context, m topic.FailedList) {
	own := protocol.NodeState{Broker: b.info(), Failed: m.Failed}
	if m.Node {
		actors.Respond(ctx, m.Asker, own)
		return
	}
	if b.members == nil {
		actors.Respond(ctx, m.Asker, protocol.ClusterInfo{
			Brokers: []protocol.BrokerInfo{own.Broker}, Failed: m.Failed, Leaderless: []protocol.FailedPartition{},
		})
		return
	}
	members, home, cluster, asker := b.members, b.env.Home, b.system.deps.Cluster, m.Asker
	b.env.Asks.Run(func() {
		said := actors.FromAll(members.Others(home), cluster.PeerState)
		said[home] = own
		b.env.Tell(asker, gatherCluster(members, said))
	})
}

// describe completes what the assembly says about this broker.
func (s *System) describe(started time.Time, ready bool) protocol.BrokerInfo {
	i := s.deps.Describe()
	i.BrokerID, i.Started, i.Ready = s.deps.BrokerID, started, ready
	i.Registry = s.deps.Registry.Where()
	return i
}

// Crashed ends the broker at once.
func (b *broker) Crashed(_ actor.Context, err error) { b.core.err = err }
