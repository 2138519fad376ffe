package powercut

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"metaq/actors"
	"metaq/actors/system"
	"metaq/internal/vfs"
	"metaq/persistence"
	"metaq/protocol"
)

const topic = "t"

var errNotHere = errors.New("the simulation has no such call")

// registry is an actors.Registry with one topic. Its machine never stops.
type registry struct{ epoch atomic.Uint32 }

func (*registry) Topics(context.Context) ([]actors.Topic, error) {
	return []actors.Topic{{Name: topic, Partitions: 1}}, nil
}

func (*registry) CreateTopic(context.Context, actors.Topic) (actors.Topic, error) {
	return actors.Topic{}, errNotHere
}

func (*registry) SetTopic(context.Context, actors.Topic) error              { return errNotHere }
func (*registry) DeleteTopic(context.Context, string, protocol.Epoch) error { return errNotHere }
func (*registry) Register(context.Context, protocol.BrokerInfo) error       { return nil }
func (*registry) Leave(context.Context) error                               { return nil }
func (*registry) Where() string                                             { return "simulated" }
func (*registry) TakeProducerIDs(context.Context, time.Time, int) (int64, error) {
	return 0, errNotHere
}

func (r *registry) ClaimEpochs(_ context.Context, _ string, floor []protocol.Epoch) ([]protocol.Epoch, error) {
	return slices.Repeat([]protocol.Epoch{protocol.Epoch(r.epoch.Add(1))}, len(floor)), nil
}

// gateway is an actors.Gateway without a network: the simulation sends to the
// partition's actor itself.
type gateway struct{ root *actor.RootContext }

func (g gateway) Acknowledge(all iter.Seq2[*actor.PID, *protocol.PubAck]) {
	for to, ack := range all {
		if to != nil {
			g.root.Send(to, *ack)
		}
	}
}
func (gateway) Start(context.Context) error { return nil }
func (gateway) Drain(context.Context) error { return nil }
func (gateway) Close() error                { return nil }

// logs is an actors.LogStore over the simulated disk.
type logs struct {
	fs          vfs.FS
	segmentSize int64
}

func (s logs) Open(topic string, id protocol.PartitionID, _ actors.Settings) (actors.Log, error) {
	l, _, err := persistence.Open(persistence.Options{
		FS: s.fs, Dir: s.fs.PathJoin("/data", persistence.DirName(topic, id)), SegmentSize: s.segmentSize, Now: time.Now,
	})
	if err != nil {
		return nil, err
	}
	return partitionLog{l}, nil
}

func (logs) SetAside(string, protocol.PartitionID) error { return errNotHere }

type partitionLog struct{ *persistence.Log }

func (l partitionLog) Append(batches, around []byte) error { return l.AppendIn(batches, around) }

func (l partitionLog) Expire(r actors.Retention) (func() error, error) {
	return l.Log.Expire(persistence.Retention(r))
}

// machine is a broker's actors on one disk.
type machine struct {
	stop   func() error
	leader *actor.PID
	root   *actor.RootContext
	inbox  *inbox
}

var quiet = slog.New(slog.DiscardHandler)

// newSystem returns an actor system, which is dear: a world has one for all its
// machines.
func newSystem() *actor.ActorSystem { return actors.NewActorSystem(quiet) }

// boot starts the actors on fs.
func boot(ctx context.Context, actorSystem *actor.ActorSystem, fs vfs.FS, reg *registry, set actors.Settings, segmentSize int64) (*machine, error) {
	var routes atomic.Pointer[actors.Routes]
	s, err := system.Start(ctx, system.Deps{
		System: actorSystem, Registry: reg, Logs: logs{fs, segmentSize}, Gateway: gateway{actorSystem.Root}, Logger: quiet,
		Describe: func() protocol.BrokerInfo { return protocol.BrokerInfo{} },
		Resolve:  func(string, protocol.TopicConfig) (actors.Settings, error) { return set, nil },
		Publish:  routes.Store,
	})
	if err != nil {
		return nil, err
	}
	pid, _ := routes.Load().Topics[topic].Leader(protocol.PartitionID{})
	if pid == nil {
		return nil, errors.Join(errors.New("nobody leads the partition"), s.Stop(ctx))
	}
	m := &machine{leader: pid, root: actorSystem.Root, inbox: &inbox{others: make(chan any, 1)}}
	m.inbox.pid, _ = actorSystem.ProcessRegistry.Add(m.inbox, "inbox"+actorSystem.ProcessRegistry.NextId())
	m.stop = func() error {
		actorSystem.ProcessRegistry.Remove(m.inbox.pid)
		return s.Stop(context.WithoutCancel(ctx))
	}
	return m, nil
}

// put sends one message; its answer comes to the inbox.
func (m *machine) put(value string) {
	m.root.RequestWithCustomSender(m.leader, &actors.Puts{All: []actors.Put{{Record: protocol.Record{Value: []byte(value)}}}}, m.inbox.pid)
}

// readAll returns the value of every record, by offset.
func (m *machine) readAll() ([]string, error) {
	var out []string
	for {
		from := protocol.Offset(len(out))
		m.root.RequestWithCustomSender(m.leader, &actors.Get{Request: protocol.GetRequest{Offset: &from}}, m.inbox.pid)
		var g *actors.GetResult
		switch answer := (<-m.inbox.others).(type) {
		case *actors.GetResult:
			g = answer
		case error:
			return nil, answer
		}
		end := g.EndOffset
		for b := g.Batches; len(b) > 0; {
			h, err := protocol.CheckBatch(b, 0)
			if err != nil {
				return nil, err
			}
			for r, err := range protocol.DecodeRecords(&h, b) {
				if err != nil {
					return nil, err
				}
				if r.Offset >= from {
					out = append(out, string(r.Value))
				}
			}
			b = b[h.Length:]
		}
		g.Release()
		if protocol.Offset(len(out)) >= end {
			return out, nil
		}
	}
}

// ack is one acknowledgement.
type ack struct {
	offset protocol.Offset
	at     time.Time
}

// inbox is a PID that notes acknowledgements with their time.
type inbox struct {
	pid    *actor.PID
	others chan any // answers to gets

	mu    sync.Mutex // guards the field below
	acked []ack
}

// SendUserMessage implements actor.Process.
func (i *inbox) SendUserMessage(_ *actor.PID, m any) {
	_, m, _ = actor.UnwrapEnvelope(m)
	i.mu.Lock()
	defer i.mu.Unlock()
	switch m := m.(type) {
	case protocol.PubAck:
		i.acked = append(i.acked, ack{m.Offset, time.Now()})
	case *protocol.Error:
		// A put that was refused, or a get: nobody waits for the former.
		select {
		case i.others <- m:
		default:
		}
	case *actors.GetResult:
		i.others <- m
	}
}

// SendSystemMessage implements actor.Process.
func (*inbox) SendSystemMessage(*actor.PID, any) {}

// Stop implements actor.Process.
func (*inbox) Stop(*actor.PID) {}

func (i *inbox) acks() []ack {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.acked)
}
