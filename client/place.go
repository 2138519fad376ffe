package client

import "metaq/protocol"

// place is a position in a partition's log: an offset and the epoch of the record before
// it, 0 when that is not known. See protocol.Lineage.
type place struct {
	offset Offset
	epoch  protocol.Epoch
}

func placeIn(p *protocol.GroupPosition) place { return place{p.Offset, p.Epoch} }

// of is the place in partition p.
func (a place) of(p protocol.TopicPartition) protocol.GroupPosition {
	return protocol.GroupPosition{Topic: p.Topic, Partition: p.Partition, Offset: a.offset, Epoch: a.epoch}
}

// beyond reports whether a is what has been processed after b: it is further, or in a log
// that lost its end after b.
func (a place) beyond(b place) bool {
	return a.offset > b.offset || b.epoch > 0 && a.epoch > b.epoch
}

// epochMark says that places from first on are behind records of epoch, and those below it
// behind ones of before.
type epochMark struct {
	first         Offset
	epoch, before protocol.Epoch
}

// at is the place at offset.
func (m *epochMark) at(offset Offset) place {
	if offset < m.first {
		return place{offset, m.before}
	}
	return place{offset, m.epoch}
}
