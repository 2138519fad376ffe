package produce

import (
	"slices"

	"metaq/protocol"
)

// turnStep is how a batch of records without a key passes the turn on: when
// the batch is closed, the topic's turn goes from one index to the next, unless
// somebody else moved it first.
type turnStep struct {
	ok       bool // the batch has such a record
	from, to uint32
}

// pick chooses the partition of r. Records with a key go by its hash over the
// whole list, regardless of who is up, since the order within the key depends on it.
// Records without go to one partition until its batch is closed, then to the next
// one; partitions that do not answer are passed by, unless none answers.
func (t *topic) pick(list []*partition, r *Record) (*partition, turnStep, error) {
	if r.Pinned {
		i, ok := slices.BinarySearchFunc(list, r.Partition, func(q *partition, id protocol.PartitionID) int { return q.id.Compare(id) })
		if !ok {
			return nil, turnStep{}, protocol.ErrNoPartition.With("topic %s has no partition %s: its %d partitions are %s to %s",
				t.name, r.Partition, len(list), list[0].id, list[len(list)-1].id)
		}
		return list[i], turnStep{}, nil
	}
	if r.Key != nil {
		return list[protocol.PartitionOf(r.Key, len(list))], turnStep{}, nil
	}
	n := uint32(len(list))
	turn := t.turn.Load()
	at := turn % n
	for range list {
		if !list[at].absent.Load() && !list[at].failing.Load() {
			break
		}
		at = (at + 1) % n
	}
	return list[at], turnStep{ok: true, from: turn, to: at + 1}, nil
}

// passTurn carries out s.
func (t *topic) passTurn(s turnStep) {
	if s.ok {
		t.turn.CompareAndSwap(s.from, s.to)
	}
}
