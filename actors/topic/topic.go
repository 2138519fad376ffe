package topic

import (
	"context"
	"errors"
	"log/slog"

	"github.com/asynkron/protoactor-go/actor"

	"metaq/actors"
	"metaq/actors/partition"
	"metaq/protocol"
)

// Messages to a topic from the topics actor, its timer and the cluster actor.
type (
	changeTopic struct {
		partitions int
		settings   actors.Settings
	}
	stopTopic struct{ refusal *protocol.Error } // answered with topicStopped
	claimed   struct {
		epochs []protocol.Epoch
		err    error
	}
	claimAgain struct{ actors.IgnoreDeadLetter }
	reclaim    struct{} // the registry was set back: claim again
)

// Messages from a topic to the topics actor.
type (
	topicSpawned struct { // its partitions are there; sent again when it grew
		entry    *topicEntry
		pids     []*actor.PID
		statuses []*partition.Status
	}
	topicUnknown struct{ entry *topicEntry } // the registry does not have it
	topicSettled struct{ entry *topicEntry } // all partitions serve or are in trouble
	topicStopped struct{ entry *topicEntry } // all logs are closed
)

// stopWindow is how many partitions of a topic stop at a time: each holds a
// thread while it syncs.
const stopWindow = 16

// topic is the parent of a topic's partitions on this broker.
type topic struct {
	env     *Env
	name    string
	entry   *topicEntry // names this topic to the topics actor, and is not looked into
	cluster *actor.PID
	log     *slog.Logger

	core     topicCore
	settings actors.Settings
	born     protocol.Epoch // see Topic.Born
	pids     []*actor.PID
	statuses []*partition.Status
	attempt  int // failed claims

	stopping *protocol.Error
	toStop   int          // next partition to stop
	pending  int          // partitions told to stop that have not
	ended    map[int]bool // partitions whose log is closed for good
	told     bool         // the topics actor that all have ended
}

func newTopic(e *Env, cluster *actor.PID, name string, entry *topicEntry, settings actors.Settings, partitions int, born protocol.Epoch) *topic {
	t := &topic{env: e, name: name, entry: entry, born: born, cluster: cluster, settings: settings, log: e.Log.With("topic", name), ended: make(map[int]bool)}
	t.core.grow(partitions)
	return t
}

// Receive is the actor.
func (t *topic) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		t.spawnPartitions(ctx)
	case partition.Opened:
		t.perform(ctx, t.core.opened(m.N, m.Floor))
	case partition.Serving:
		t.perform(ctx, t.core.serving(m.N))
	case partition.InTrouble:
		t.perform(ctx, t.core.trouble(m.N))
	case claimed:
		t.claimed(ctx, m)
	case claimAgain:
		t.perform(ctx, t.core.next())
	case reclaim:
		t.perform(ctx, t.core.reclaim())
	case changeTopic:
		t.change(ctx, m)
	case partition.Expire, partition.Sweep:
		for _, pid := range t.pids {
			ctx.Send(pid, m)
		}
	case stopTopic:
		t.stopping = m.refusal
		t.stopMore(ctx)
	case partition.Stopped:
		t.end(m.N)
		t.stopMore(ctx)
	case *actor.Terminated:
		t.lost(ctx, m.Who)
	}
}

func (t *topic) spawnPartitions(ctx actor.Context) {
	for n := len(t.pids); n < len(t.core.parts); n++ {
		id := protocol.PartitionID{Home: t.env.Home, N: n}
		status, settings, parent := partition.NewStatus(id, t.env.partitions), t.settings, ctx.Self()
		status.Born = t.born
		pid, err := actors.Spawn(ctx, id.String(), t.env.Log, func() actors.Receiver {
			return partition.New(t.env.partitions, t.name, parent, status, settings)
		})
		if err != nil {
			panic(err) // the names are ours alone
		}
		t.pids, t.statuses = append(t.pids, pid), append(t.statuses, status)
	}
	ctx.Send(ctx.Parent(), topicSpawned{t.entry, t.pids[:len(t.pids):len(t.pids)], t.statuses[:len(t.statuses):len(t.statuses)]})
}

func (t *topic) perform(ctx actor.Context, fx topicEffects) {
	for _, n := range fx.grant {
		ctx.Send(t.pids[n], partition.Grant{Epoch: t.core.parts[n].epoch})
	}
	if fx.claim != nil && t.stopping == nil {
		name, floors := t.name, fx.claim
		ctx.Send(t.cluster, actors.RegistryCall{To: ctx.Self(), Do: func(ctx context.Context, r actors.Registry) any {
			epochs, err := r.ClaimEpochs(ctx, name, floors)
			if err == nil && len(epochs) != len(floors) {
				err = protocol.ErrInternal.With("the registry gave %d epochs for %d partitions", len(epochs), len(floors))
			}
			return claimed{epochs, err}
		}})
	}
	if fx.settled {
		ctx.Send(ctx.Parent(), topicSettled{t.entry})
	}
}

// claimed takes the registry's answer. A claim that fails is made again; the
// partitions stay closed until one succeeds.
func (t *topic) claimed(ctx actor.Context, m claimed) {
	if m.err == nil {
		t.attempt = 0
		t.perform(ctx, t.core.claimed(m.epochs))
		return
	}
	t.core.claimed(nil)
	t.attempt++
	wait := t.env.Options.Backoff(t.attempt)
	t.log.Warn("cannot claim the partitions, trying again", "error", m.err, "wait", wait)
	t.env.Later(wait, ctx.Self(), claimAgain{})
	if errors.Is(m.err, actors.ErrUnclaimable) {
		// Nothing that time would change: this topic does not serve, and the start continues.
		ctx.Send(ctx.Parent(), topicSettled{t.entry})
	}
	if errors.Is(m.err, protocol.ErrNoTopic) {
		ctx.Send(ctx.Parent(), topicUnknown{t.entry})
	}
}

func (t *topic) change(ctx actor.Context, m changeTopic) {
	t.settings = m.settings
	for _, pid := range t.pids {
		ctx.Send(pid, partition.Configure{Settings: m.settings})
	}
	if m.partitions > len(t.pids) {
		t.core.grow(m.partitions)
		t.spawnPartitions(ctx)
	}
}

// stopMore keeps stopWindow partitions stopping until all have stopped.
func (t *topic) stopMore(ctx actor.Context) {
	for ; t.toStop < len(t.pids) && t.pending < stopWindow; t.toStop++ {
		if !t.ended[t.toStop] {
			ctx.Send(t.pids[t.toStop], &partition.Stop{Refusal: t.stopping})
			t.pending++
		}
	}
	if t.toStop == len(t.pids) && t.pending == 0 && !t.told {
		t.told = true
		ctx.Send(ctx.Parent(), topicStopped{t.entry})
	}
}

// end notes that partition n has stopped or has gone.
func (t *topic) end(n int) {
	if !t.ended[n] && n < t.toStop {
		t.pending--
	}
	t.ended[n] = true
}

// lost handles a partition that has crashed too often to be started again.
func (t *topic) lost(ctx actor.Context, who *actor.PID) {
	for n, pid := range t.pids {
		if !pid.Equal(who) {
			continue
		}
		refusal := protocol.ErrPartition.With("partition %s of topic %s crashed too often: see the broker's log and restart the broker", t.statuses[n].ID, t.name)
		t.statuses[n].Leave(partition.Failed, refusal, refusal.Description)
		t.end(n)
		if t.stopping != nil {
			t.stopMore(ctx)
			return
		}
		t.perform(ctx, t.core.trouble(n))
	}
}

// Crashed has nobody to answer: the partitions stop and are spawned again.
func (t *topic) Crashed(actor.Context, error) {}
