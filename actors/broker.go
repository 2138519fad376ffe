package actors

import (
	"context"
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"metaq/protocol"
)

// Messages to the broker actor.
type (
	stepDone struct {
		step brokerStep
		err  error
	}
	stopBroker struct {
		late
		ctx context.Context // bounds the steps of the stop
		err error           // why, nil when it was asked for
	}
)

// broker is the root actor: it orders start and stop, describes the broker, and
// ends it when one of its children cannot go on.
type broker struct {
	env     *env
	system  *System
	core    brokerCore
	started time.Time
	ctx     context.Context // bounds the present steps

	cluster, topics, gateway *actor.PID
	gone                     map[string]bool // ids of children that have crashed
	members                  *Members        // nil when the broker runs alone
}

// Receive is the actor.
func (b *broker) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case DescribeBroker:
		respond(ctx, ctx.Sender(), b.info())
	case DescribeCluster:
		ctx.Request(b.topics, listFailed{asker: ctx.Sender()})
	case DescribeNode:
		ctx.Request(b.topics, listFailed{asker: ctx.Sender(), node: true})
	case failedList:
		b.describe(ctx, m)
	case *Members:
		b.members = m
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
	b.started, b.gone = b.env.now(), make(map[string]bool)
	child := func(name string, produce func() receiver) *actor.PID {
		pid, err := spawn(ctx, name, b.env.log, produce)
		if err != nil {
			panic(err) // the names are ours alone
		}
		return pid
	}
	b.cluster = child("cluster", func() receiver { return newCluster(b.env) })
	b.topics = child("topics", func() receiver { return newTopics(b.env, b.cluster) })
	b.gateway = child("gateway", func() receiver { return &gateway{b.env} })
	b.perform(ctx, stepRegister)
}

// perform begins a step; its end comes as stepDone.
func (b *broker) perform(ctx actor.Context, s brokerStep) {
	b.system.ready.Store(s == stepServing)
	switch s {
	case stepRegister, stepAnnounce:
		info := b.env.describe(b.started, s == stepAnnounce)
		b.call(ctx, s, func(ctx context.Context, r Registry) error { return r.Register(ctx, info) })
	case stepLeave:
		b.call(ctx, s, func(ctx context.Context, r Registry) error { return r.Leave(ctx) })
	case stepCloseRegistry:
		b.call(ctx, s, func(context.Context, Registry) error {
			if b.env.deps.CloseRegistry == nil {
				return nil
			}
			return b.env.deps.CloseRegistry()
		})
	case stepTopics:
		ctx.Send(b.cluster, takeBlock{}) // registered by now; nobody waits for it
		b.ask(ctx, s, b.topics, beginTopics{})
	case stepEndTopics:
		b.ask(ctx, s, b.topics, endTopics{})
	case stepGateway, stepDrain, stepCloseGateway:
		b.ask(ctx, s, b.gateway, gatewayStep{s, b.ctx})
	case stepServing:
		b.system.up()
	case stepOver:
		ctx.Stop(ctx.Self())
	}
}

func (b *broker) call(ctx actor.Context, s brokerStep, do func(context.Context, Registry) error) {
	b.ask(ctx, s, b.cluster, registryCall{to: ctx.Self(), do: func(ctx context.Context, r Registry) any {
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
		b.env.log.Error("broker cannot go on and stops", "error", m.err)
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
	return b.env.describe(b.started, b.core.step == stepServing)
}

// describe answers who asks for the cluster, or another broker that asks for this one.
func (b *broker) describe(ctx actor.Context, m failedList) {
	own := protocol.NodeState{Broker: b.info(), Failed: m.failed}
	if m.node {
		respond(ctx, m.asker, own)
		return
	}
	if b.members == nil {
		respond(ctx, m.asker, protocol.ClusterInfo{
			Brokers: []protocol.BrokerInfo{own.Broker}, Failed: m.failed, Leaderless: []protocol.FailedPartition{},
		})
		return
	}
	members, home, cluster, asker := b.members, b.env.home, b.env.deps.Cluster, m.asker
	b.env.asks.run(func() {
		said := FromAll(members.Others(home), cluster.PeerState)
		said[home] = own
		b.env.tell(asker, gatherCluster(members, said))
	})
}

// describe completes what the assembly says about this broker.
func (e *env) describe(started time.Time, ready bool) protocol.BrokerInfo {
	i := e.deps.Describe()
	i.BrokerID, i.Started, i.Ready = e.home, started, ready
	i.Registry = e.deps.Registry.Where()
	return i
}

// crashed ends the broker at once.
func (b *broker) crashed(_ actor.Context, err error) { b.core.err = err }
