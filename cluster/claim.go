package cluster

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"

	"metaq/cluster/registry"
	"metaq/protocol"
)

// ClaimEpochs takes the leadership of partitions 0..len(floor)-1 of a topic on this
// broker and returns their new epochs. Each is above the recorded one, above floor
// (the highest that the partition's log knows) and above the witness's, and it is in
// the witness when ClaimEpochs returns. ErrNotFound when the topic is not there,
// ErrFewerPartitions when more partitions than len(floor) were claimed before.
func (r *Registration) ClaimEpochs(ctx context.Context, topic string, floor []protocol.Epoch) ([]protocol.Epoch, error) {
	got, err := r.ClaimAll(ctx, map[string][]protocol.Epoch{topic: floor})
	return got[topic], err
}

// ClaimAll is ClaimEpochs for many topics, in as few writes as the limits allow: one
// for 10,000 partitions of usual size. With an error the result holds those that were
// claimed nevertheless.
func (r *Registration) ClaimAll(ctx context.Context, floors map[string][]protocol.Epoch) (map[string][]protocol.Epoch, error) {
	if err := r.take(ctx); err != nil {
		return nil, fmt.Errorf("claim: %w", err)
	}
	defer r.give()
	left := slices.Sorted(maps.Keys(floors))
	all := make(map[string][]protocol.Epoch, len(floors))
	for len(left) > 0 {
		// What write carries out may be an earlier plan than the last: each plan hands its
		// own result over when it is done.
		var got map[string][]protocol.Epoch
		err := r.write(ctx, func(ctx context.Context) ([]registry.Op, func(), error) {
			ops, epochs, err := r.planClaim(ctx, left, floors)
			return ops, func() { got = epochs }, err
		})
		if err != nil {
			return all, fmt.Errorf("claim partitions of %s: %w", left[0], err)
		}
		if err := r.witnessed(got); err != nil {
			return all, fmt.Errorf("claim: %w", err)
		}
		maps.Copy(all, got)
		left = slices.DeleteFunc(left, func(t string) bool { return got[t] != nil || len(floors[t]) == 0 })
	}
	return all, nil
}

// planClaim plans for as many of the topics, from the first on, as one Multi takes.
func (r *Registration) planClaim(ctx context.Context, topics []string, floors map[string][]protocol.Epoch) ([]registry.Op, map[string][]protocol.Epoch, error) {
	const perTopic = 2                                                    // operations
	topics = topics[:min(len(topics), (registry.MaxMultiOps-2)/perTopic)] // the fence and the own node are the two
	id := r.self.ID
	nodes, err := readAll(ctx, r.reg, slices.Concat(
		mapped(topics, r.paths.topic),
		mapped(topics, func(t string) string { return r.paths.home(t, id) }),
		mapped(topics, r.paths.partitions)))
	if err != nil {
		return nil, nil, err
	}
	var ops []registry.Op
	size := len(encode(r.self)) + 1000 // the fence and the own node, with room to grow
	epochs := make(map[string][]protocol.Epoch)
	for i, topic := range topics {
		topicNode, homeNode := nodes[i], nodes[len(topics)+i]
		if !topicNode.ok {
			return nil, nil, fmt.Errorf("topic %s: %w", topic, registry.ErrNotFound)
		}
		var was []leadership
		if homeNode.ok {
			if was, err = decode[[]leadership](r.paths.home(topic, id), homeNode.Node); err != nil {
				return nil, nil, err
			}
		}
		least, err := epochFloor(r.paths.partitions(topic), nodes[2*len(topics)+i])
		if err != nil {
			return nil, nil, err
		}
		next, err := raise(was, floors[topic], r.witness.Highest(topic, id), least, id)
		if err != nil {
			return nil, nil, fmt.Errorf("topic %s: %w", topic, err)
		}
		claim := []registry.Op{registry.Check(r.paths.topic(topic), topicNode.Version), putOp(r.paths.home(topic, id), homeNode, encode(next))}
		for _, op := range claim {
			size += op.Size()
		}
		if size > registry.MaxMultiBytes && len(ops) > 0 {
			break
		}
		ops = append(ops, claim...)
		epochs[topic] = mapped(next, func(l leadership) protocol.Epoch { return l.Epoch })
	}
	return ops, epochs, nil
}

// putOp creates a persistent node, or sets it as it was read.
func putOp(path string, was found, data []byte) registry.Op {
	if was.ok {
		return registry.Set(path, data, was.Version)
	}
	return registry.Create(path, data, registry.Persistent)
}

// raise gives each partition an epoch above all that was ever seen of it: recorded, in
// its log (floor), by the witness, and in a deleted topic of the same name (least). There
// are as many partitions as floors.
func raise(was []leadership, floor, witnessed []protocol.Epoch, least protocol.Epoch, leader int) ([]leadership, error) {
	if len(was) > len(floor) {
		return nil, fmt.Errorf("%w: %d were claimed here before, %d now", ErrFewerPartitions, len(was), len(floor))
	}
	next := make([]leadership, len(floor))
	for i := range next {
		highest := max(floor[i], least)
		if i < len(was) {
			highest = max(highest, was[i].Epoch)
		}
		if i < len(witnessed) {
			highest = max(highest, witnessed[i])
		}
		if highest == math.MaxUint32 {
			return nil, fmt.Errorf("%w: partition %d: %w", registry.ErrInvalid, i, ErrEpochs)
		}
		next[i] = leadership{Epoch: highest + 1, Leader: leader}
	}
	return next, nil
}

// witnessed makes claimed epochs durable in the witness before anybody uses them.
func (r *Registration) witnessed(claimed map[string][]protocol.Epoch) error {
	seen := make(Epochs, len(claimed))
	for topic, epochs := range claimed {
		seen[topic] = map[int][]protocol.Epoch{r.self.ID: epochs}
	}
	return r.witness.Raise(seen)
}
