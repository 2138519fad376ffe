package group

import "metaq/protocol"

// Place is a position in a partition's log: an offset and the epoch of the record before
// it, 0 when that is not known. See protocol.Lineage.
type Place struct {
	Offset protocol.Offset
	Epoch  protocol.Epoch
}

// PlaceIn returns the place that p holds.
func PlaceIn(p *protocol.GroupPosition) Place { return Place{p.Offset, p.Epoch} }

// Of is the place in partition p.
func (a Place) Of(p protocol.TopicPartition) protocol.GroupPosition {
	return protocol.GroupPosition{Topic: p.Topic, Partition: p.Partition, Offset: a.Offset, Epoch: a.Epoch}
}

// Beyond reports whether a is what has been processed after b: it is further, or in a log
// that lost its end after b.
func (a Place) Beyond(b Place) bool {
	return a.Offset > b.Offset || b.Epoch > 0 && a.Epoch > b.Epoch
}

// EpochMark says that places from first on are behind records of epoch, and those below it
// behind ones of before.
type EpochMark struct {
	First         protocol.Offset
	Epoch, Before protocol.Epoch
}

// At is the place at offset.
func (m *EpochMark) At(offset protocol.Offset) Place {
	if offset < m.First {
		return Place{offset, m.Before}
	}
	return Place{offset, m.Epoch}
}
