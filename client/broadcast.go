package client

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"metaq/client/internal/group"
	"metaq/client/internal/link"
	"metaq/protocol"
)

// OffsetStore keeps the offsets of a broadcast consumer. Load is called once,
// before the first Save; calls come one at a time.
type OffsetStore interface {
	Load() (map[protocol.TopicPartition]Offset, error)
	// Save replaces what was saved. The map is the store's to keep.
	Save(map[protocol.TopicPartition]Offset) error
}

// PositionStore is an OffsetStore that keeps the epoch of the record before each offset,
// too: with it a broadcast consumer notices a log that lost its end while it was away.
type PositionStore interface {
	OffsetStore
	LoadPositions() ([]protocol.GroupPosition, error)
	// SavePositions replaces what was saved. The slice is the store's to keep.
	SavePositions([]protocol.GroupPosition) error
}

// broadcastRefresh is the time between two looks for new partitions.
const broadcastRefresh = 30 * time.Second

// broadcast is the source of a consumer that gets everything.
type broadcast struct {
	c     *Client
	join  protocol.GroupJoin
	store OffsetStore
	group.Callbacks

	mu      sync.Mutex // guards what follows
	view    protocol.GroupView
	offsets map[protocol.TopicPartition]group.Place
}

func newBroadcast(c *Client, join protocol.GroupJoin, store OffsetStore, cb group.Callbacks) *broadcast {
	return &broadcast{c: c, join: join, store: store, Callbacks: cb, view: protocol.GroupView{Member: join.Instance}}
}

// Enter loads the offsets and finds all partitions.
func (b *broadcast) Enter(ctx context.Context) error {
	offsets, err := b.load()
	if err != nil {
		return fmt.Errorf("load offsets: %w", err)
	}
	b.mu.Lock()
	b.offsets = offsets
	b.mu.Unlock()
	for attempt := 0; ; attempt++ {
		err := b.refresh(ctx)
		if err == nil || !link.Retriable(err) {
			return err
		}
		if link.Pause(ctx, link.Backoff(attempt)) != nil {
			return fmt.Errorf("%w: %w", err, ctx.Err())
		}
	}
}

func (b *broadcast) load() (map[protocol.TopicPartition]group.Place, error) {
	out := map[protocol.TopicPartition]group.Place{}
	if s, ok := b.store.(PositionStore); ok {
		all, err := s.LoadPositions()
		for i := range all {
			out[all[i].At()] = group.PlaceIn(&all[i])
		}
		return out, err
	}
	all, err := b.store.Load()
	for p, at := range all {
		out[p] = group.Place{Offset: at}
	}
	return out, err
}

func (b *broadcast) save(all map[protocol.TopicPartition]group.Place) error {
	if s, ok := b.store.(PositionStore); ok {
		list := make([]protocol.GroupPosition, 0, len(all))
		for p, at := range all {
			list = append(list, at.Of(p))
		}
		return s.SavePositions(list)
	}
	out := make(map[protocol.TopicPartition]Offset, len(all))
	for p, at := range all {
		out[p] = at.Offset
	}
	return b.store.Save(out)
}

// Run looks for new partitions until ctx ends.
func (b *broadcast) Run(ctx context.Context) error {
	for link.Pause(ctx, broadcastRefresh) == nil {
		if err := b.refresh(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, protocol.ErrBusy) {
			b.c.log.Warn("partitions not refreshed", "err", err)
		}
	}
	return nil
}

// refresh makes a view of all partitions.
func (b *broadcast) refresh(ctx context.Context) error {
	var found []protocol.GroupPosition
	for _, topic := range b.join.Topics {
		info, err := b.c.calls.Describe(ctx, topic)
		if err != nil {
			return err
		}
		known := b.known(topic)
		var fresh []protocol.GroupPosition
		for i := range info.Partitions {
			p := protocol.GroupPosition{Topic: topic, Partition: info.Partitions[i].Partition}
			at, remembered := known[p.Partition]
			if !remembered {
				if at, err = b.Start(ctx, p.At(), len(known) > 0); err != nil {
					return err
				}
				fresh = append(fresh, at.Of(p.At()))
			}
			p.Offset, p.Epoch = at.Offset, at.Epoch
			found = append(found, p)
		}
		// Saved together, the offsets of a topic say that the consumer has begun in it, and
		// which partitions there were: after a crash each other one is a later one. Until
		// then the consumer has not begun.
		if len(fresh) > 0 {
			if _, err := b.Commit(ctx, fresh); err != nil {
				return err
			}
		}
	}
	b.mu.Lock()
	b.view.Assigned = found
	b.view.Revision++
	view := b.view
	b.mu.Unlock()
	b.Changed(view)
	return nil
}

// known are the remembered places of a topic.
func (b *broadcast) known(topic string) map[PartitionID]group.Place {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := map[PartitionID]group.Place{}
	for p, at := range b.offsets {
		if p.Topic == topic {
			out[p.Partition] = at
		}
	}
	return out
}

// Start is where to begin in a partition. One that came after the consumer had begun in
// the topic is read from its beginning, or from the time that was asked for.
func (b *broadcast) Start(ctx context.Context, p protocol.TopicPartition, later bool) (at group.Place, err error) {
	start := b.join.Start
	if later && start.At != protocol.StartTime {
		start = protocol.GroupPlace{At: protocol.StartEarliest}
	}
	var when time.Time
	if start.At == protocol.StartTime {
		when = *start.Time
	}
	reply, err := b.c.calls.Lineage(ctx, p.Topic, p.Partition, when)
	if err != nil {
		return group.Place{}, err
	}
	switch start.At {
	case protocol.StartLatest, protocol.StartTime:
		at.Offset = reply.Offset
	case protocol.StartOffset:
		at.Offset = min(max(start.Offset, reply.LogStart), reply.EndOffset)
	default:
		at.Offset = reply.LogStart
	}
	log := reply.Lineage()
	at.Epoch = log.EpochBefore(at.Offset)
	return at, nil
}

// Commit saves positions.
func (b *broadcast) Commit(_ context.Context, positions []protocol.GroupPosition) ([]protocol.GroupPosition, error) {
	b.mu.Lock()
	defer b.mu.Unlock() // also keeps the calls of Save apart
	next := maps.Clone(b.offsets)
	for i := range positions {
		p := &positions[i]
		if was, known := next[p.At()]; !known || group.PlaceIn(p).Beyond(was) {
			next[p.At()] = group.PlaceIn(p)
		}
	}
	if err := b.save(next); err != nil {
		return nil, fmt.Errorf("save offsets: %w", err)
	}
	b.offsets = next
	return positions, nil
}

func (b *broadcast) Release(protocol.TopicPartition) {}

func (b *broadcast) InSession() bool { return true }

func (b *broadcast) Session() time.Duration { return link.RequestTimeout }

func (b *broadcast) Leave(context.Context) error { return nil }

func (b *broadcast) Name() string { return b.join.Instance }
