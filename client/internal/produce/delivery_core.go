package produce

import (
	"errors"
	"math"

	"metaq/client/internal/link"
	"metaq/protocol"
)

// sequence numbers a producer's records in one partition, by which the broker
// recognises what it has stored.
type sequence struct {
	id    int64
	epoch int16
	next  int32
}

func (s *sequence) producer() protocol.Producer {
	return protocol.Producer{ID: s.id, Epoch: s.epoch, Sequence: s.next}
}

// advance counts n stored records. After the highest number comes 0.
func (s *sequence) advance(n int) { s.next = int32((int64(s.next) + int64(n)) & math.MaxInt32) }

// renew begins a new sequence under the next epoch. What was sent in the old one
// and is still on its way will be refused, so it cannot come after later records.
func (s *sequence) renew() {
	s.next = 0
	if s.epoch++; s.epoch < 0 {
		s.epoch, s.id = 0, (s.id+nextID)&math.MaxInt64
	}
}

// nextID is the distance from a producer's id to the one that follows when its
// epochs are used up: granted ids are below it, so it is nobody else's.
const nextID = 1 << 52

// verdict is what to do after an attempt has failed.
type verdict uint8

const (
	verdictFail     verdict = iota // report the batch's records as failed
	verdictRetry                   // the same batch again after a wait
	verdictRenumber                // the batch again after a wait, it and those behind it in a new sequence
)

// judge decides what follows an attempt that failed with err, and whether the
// batch may be stored now. maybe reports whether it might have been before.
//
// A retry repeats id, epoch and sequence, so a batch that is stored already is
// answered and not stored again. A refusal of the sequence itself (409) means
// that the broker has lost its memory of this producer, or that an earlier batch
// never arrived. If this batch was never stored, a new sequence is safe; if it
// may be, nobody can tell any more: a broker that knows nothing at all of the
// producer may have forgotten it, with the batch. One that does not know the
// partition (404) is not believed until the topic's description says so too.
func judge(err error, maybe bool) (verdict, bool) {
	switch {
	case outOfSequence(err) && maybe:
		return verdictFail, true
	case outOfSequence(err):
		return verdictRenumber, false
	}
	maybe = maybe || link.MaybeDone(err)
	if link.Retriable(err) || link.NotThere(err) {
		return verdictRetry, maybe
	}
	return verdictFail, maybe
}

// outOfSequence reports whether a batch was refused for its number: it was not
// stored by this attempt.
func outOfSequence(err error) bool {
	var e *protocol.Error
	return errors.As(err, &e) && e.Code == 409
}
