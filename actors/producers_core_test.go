package actors

import (
	"errors"
	"math"
	"testing"

	"metaq/protocol"
)

func TestSequencesGoOnFromTheLargestAtZero(t *testing.T) {
	ps := newProducers(10)
	h := &protocol.BatchHeader{ProducerID: 9, BaseSequence: math.MaxInt32 - 1, Count: 2}
	ps.add(h, 5) // as the log's end tells
	for _, c := range []struct {
		sequence int32
		want     error
	}{{0, nil}, {1, protocol.ErrConflict}} {
		next := &protocol.BatchHeader{ProducerID: 9, BaseSequence: c.sequence, Count: 1}
		if _, duplicate, err := ps.check(next); duplicate || !errors.Is(err, c.want) {
			t.Errorf("sequence %d after %d: duplicate %v, %v; want %v", c.sequence, math.MaxInt32, duplicate, err, c.want)
		}
	}
	if first, duplicate, err := ps.check(h); first != 5 || !duplicate || err != nil {
		t.Errorf("the same again: %d, duplicate %v, %v", first, duplicate, err)
	}
}
