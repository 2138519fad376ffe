package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"metaq/cluster/registry"
	"metaq/protocol"
)

// Snapshot is the whole cluster as one reading found it. The reading takes a while, so
// the parts may be of slightly different times; a change during it is read again.
type Snapshot struct {
	Brokers []Broker     // registered now, sorted by id; Revision is left out
	Topics  []TopicState // sorted by name

	// Unreadable are the records that were left out.
	Unreadable []Unreadable

	// Regressions are partitions that the registry puts below what this broker has seen.
	// Do not act on their entries in Topics: their homes are about to claim them anew.
	Regressions []Regression
}

// TopicState is a topic with its partitions on all homes, also those that are away.
type TopicState struct {
	Topic
	Claimed []Partition // in the order of protocol.PartitionID.Compare
}

// Snapshot reads everything. Regressions are the caller's to find, with its witness.
func (c *Catalog) Snapshot(ctx context.Context) (Snapshot, error) {
	var s Snapshot
	var err error
	if s.Brokers, s.Unreadable, err = c.readBrokers(ctx); err != nil {
		return Snapshot{}, err
	}
	for i := range s.Brokers {
		s.Brokers[i].Revision = 0
	}
	topics, badTopics, err := c.ReadTopics(ctx)
	if err != nil {
		return Snapshot{}, err
	}
	partitions, badPartitions, err := c.partitionsOf(ctx, mapped(topics, func(t Topic) string { return t.Name }))
	if err != nil {
		return Snapshot{}, err
	}
	s.Unreadable = slices.Concat(s.Unreadable, badTopics, badPartitions)
	for i, t := range topics {
		s.Topics = append(s.Topics, TopicState{Topic: t, Claimed: partitions[i]})
	}
	return s, nil
}

// watch asks for a hint when a later Snapshot may differ from one that is read after
// this call: brokers and topics coming and going, and each broker's own node, which it
// sets whenever it writes. Who writes otherwise is found by the audit.
func (c *Catalog) watch(ctx context.Context, hint chan<- struct{}) error {
	for _, path := range []string{c.paths.brokers(), c.paths.topics()} {
		if err := c.reg.Watch(ctx, registry.WatchChildren, path, hint); err != nil && !errors.Is(err, registry.ErrNotFound) {
			return fmt.Errorf("watch cluster: %w", err)
		}
	}
	// A broker that registers after this list was read changes the children above.
	names, err := childrenOf(ctx, c.reg, c.paths.brokers())
	if err != nil {
		return fmt.Errorf("watch cluster: %w", err)
	}
	return inParallel(ctx, len(names), func(ctx context.Context, i int) error {
		return c.reg.Watch(ctx, registry.WatchData, c.paths.brokers()+"/"+names[i], hint)
	})
}

// epochs are what a snapshot shows, for the witness.
func (s Snapshot) epochs() Epochs {
	seen := make(Epochs, len(s.Topics))
	for _, t := range s.Topics {
		homes := make(map[int][]protocol.Epoch)
		for _, p := range t.Claimed {
			homes[p.ID.Home] = append(homes[p.ID.Home], p.Epoch)
		}
		seen[t.Name] = homes
	}
	return seen
}
