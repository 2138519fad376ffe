package broker

import (
	"context"
	"errors"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/prometheus/client_golang/prometheus"

	"metaq/actors"
	"metaq/actors/group"
	"metaq/persistence"
	"metaq/persistence/store"
)

// groupsLogName is the directory of the groups' log in the main data directory.
// It is not the name of a partition's.
const groupsLogName = "groups"

// groupsSegment is the size of the segments of the groups' log in bytes: small, so
// that a snapshot soon lets the older ones go.
const groupsSegment = 1 << 20

// startGroups starts the consumer groups.
func (b *Broker) startGroups(actorSystem *actor.ActorSystem, dirs *store.Dirs, metrics *prometheus.Registry) (*group.Groups, error) {
	groups, err := group.Start(group.Deps{
		System: actorSystem, BrokerID: b.cfg.System.BrokerID,
		OpenLog: func() (actors.Log, error) {
			l, rec, err := persistence.Open(persistence.Options{
				FS: dirs.FS, Dir: dirs.FS.PathJoin(dirs.Main, groupsLogName),
				SegmentSize: groupsSegment, Now: b.opts.Now, Elapsed: b.elapsed.Now, Logger: b.log,
			})
			if err != nil {
				return nil, marked(err)
			}
			if rec.TornFile != "" {
				b.log.Warn("torn tail of the groups' log was cut: commits that were never acknowledged",
					"file", rec.TornFile, "at", rec.TornAt, "bytes", rec.TornBytes)
			}
			return &partitionLog{Log: l, room: b.room, disk: dirs.Main}, nil
		},
		Coordination: b.coordination, Gather: b.gatherGroups(),
		SyncTime: b.cfg.ZooKeeper.SyncTime, MaxState: int(b.cfg.System.MaxGroupState), MaxGroups: b.cfg.System.MaxGroups,
		Realign: b.cfg.System.UpdateConsumerOffsets,
		Logger:  b.log, Metrics: metrics, Now: b.opts.Now, Events: b.opts.Events, Plant: b.opts.PlantGroupBug,
	})
	if err != nil {
		return nil, err
	}
	if b.members != nil {
		b.members.disown.Store(groups)
	}
	if c, ok := b.coordination.(coordination); ok {
		c.reg.before(groups.Retire)
	}
	b.onClose(groups.Stop)
	return groups, nil
}

// groupsGateway lets requests begin when the groups know themselves, and stops the
// groups between the end of requests and the end of answers.
type groupsGateway struct {
	actors.Gateway
	groups *group.Groups
}

// Start implements actors.Gateway.
func (g *groupsGateway) Start(ctx context.Context) error {
	if err := g.groups.Opened(ctx); err != nil {
		return err
	}
	return g.Gateway.Start(ctx)
}

// Drain implements actors.Gateway.
func (g *groupsGateway) Drain(ctx context.Context) error {
	return errors.Join(g.Gateway.Drain(ctx), g.groups.Stop(ctx))
}
