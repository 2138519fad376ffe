package protocol

import (
	"fmt"
	"strconv"
	"strings"
)

// Offset is the place of a record in its partition: dense, from 0.
type Offset int64

// Position is a byte place in a MetaQ log, see BatchHeader.Position.
type Position int64

// Epoch is the generation of a partition's leadership, granted by the registry.
// It never goes down.
type Epoch uint32

// MaxBrokerID is the highest broker id; MetaQ's message ids have ten bits for it.
const MaxBrokerID = 1023

// MaxPartitions is the highest number of partitions of one topic on one broker.
const MaxPartitions = 10_000

// PartitionID names a partition: the N-th partition of a topic on its home
// broker. It is an identity and never changes, also when another broker leads.
type PartitionID struct {
	Home int // id of the home broker, 0..MaxBrokerID
	N    int // 0..MaxPartitions-1
}

// String returns the form used on disk, on the wire and in logs, such as "0-3".
func (p PartitionID) String() string {
	return strconv.Itoa(p.Home) + "-" + strconv.Itoa(p.N)
}

// Compare orders by home, then by number; it returns -1, 0 or 1.
func (p PartitionID) Compare(q PartitionID) int {
	switch {
	case p.Home != q.Home && p.Home < q.Home, p.Home == q.Home && p.N < q.N:
		return -1
	case p == q:
		return 0
	default:
		return 1
	}
}

// ParsePartitionID reads the form that String writes. Only the canonical form
// is accepted ("0-03" is refused), so that one partition has one name.
func ParsePartitionID(s string) (PartitionID, error) {
	home, n, ok := strings.Cut(s, "-")
	p := PartitionID{}
	var err1, err2 error
	p.Home, err1 = strconv.Atoi(home)
	p.N, err2 = strconv.Atoi(n)
	if !ok || err1 != nil || err2 != nil || p.Home < 0 || p.Home > MaxBrokerID ||
		p.N < 0 || p.N >= MaxPartitions || p.String() != s {
		return PartitionID{}, fmt.Errorf("partition %q is not <broker>-<number>, for example 0-3", clip(s))
	}
	return p, nil
}

// MarshalText writes the form of String, so that JSON shows "0-3".
func (p PartitionID) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads the form of String.
func (p *PartitionID) UnmarshalText(b []byte) error {
	q, err := ParsePartitionID(string(b))
	if err != nil {
		return err
	}
	*p = q
	return nil
}
