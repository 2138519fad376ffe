package produce

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"metaq/client/internal/link"
	"metaq/protocol"
)

func TestJudge(t *testing.T) {
	noBroker := fmt.Errorf("%w on s", link.ErrNoBroker)
	noAnswer := fmt.Errorf("s: %w", link.ErrNoAnswer)
	for _, c := range []struct {
		name  string
		err   error
		maybe bool
		want  verdict
		after bool
	}{
		{"nobody there: not stored, again", noBroker, false, verdictRetry, false},
		{"nobody there after a lost answer: again, still unknown", noBroker, true, verdictRetry, true},
		{"no answer: unknown, again", noAnswer, false, verdictRetry, true},
		{"connection lost: unknown, again", link.ErrConnLost, false, verdictRetry, true},
		{"busy: not stored, again", protocol.ErrBusy, false, verdictRetry, false},
		{"disk full: not stored, again", protocol.ErrDiskFull, false, verdictRetry, false},
		{"partition failed: may be on its disk, again", protocol.ErrPartition, false, verdictRetry, true},
		{"internal error: unknown, final", protocol.ErrInternal, false, verdictFail, true},
		{"too large: final", protocol.ErrTooLarge, false, verdictFail, false},
		{"too large after a lost answer: final and unknown", protocol.ErrTooLarge, true, verdictFail, true},
		{"no such topic: not stored, again, until the topic's description says so too", protocol.ErrNoTopic, false, verdictRetry, false},
		{"sequence refused: a new sequence", protocol.ErrConflict, false, verdictRenumber, false},
		{"epoch refused: a new sequence", protocol.ErrFenced, false, verdictRenumber, false},
		{"sequence refused after a lost answer: final and unknown", protocol.ErrConflict, true, verdictFail, true},
		{"producer not known: a new sequence", protocol.ErrNewProducer, false, verdictRenumber, false},
		{"producer not known after a lost answer: forgotten perhaps, final and unknown", protocol.ErrNewProducer, true, verdictFail, true},
		{"connection closed: final and unknown", link.ErrClosed, false, verdictFail, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, after := judge(c.err, c.maybe); got != c.want || after != c.after {
				t.Errorf("judge = %d, maybe %v; want %d, maybe %v", got, after, c.want, c.after)
			}
		})
	}
}

func TestSequenceWraps(t *testing.T) {
	s := sequence{id: 7, next: math.MaxInt32 - 1}
	s.advance(2)
	if s.next != 0 {
		t.Errorf("after the highest number came %d, want 0", s.next)
	}
	s.advance(5)
	s.renew()
	if want := (sequence{id: 7, epoch: 1}); s != want {
		t.Errorf("renewed to %+v, want %+v", s, want)
	}
	s.epoch = math.MaxInt16
	s.renew()
	if want := (sequence{id: 7 + 1<<52}); s != want {
		t.Errorf("renewed past the last epoch to %+v, want %+v", s, want)
	}
}

func TestErrorsSayWhatIsKnown(t *testing.T) {
	for _, err := range []error{link.ErrNoBroker, protocol.ErrBusy, protocol.ErrDiskFull, protocol.ErrTooLarge} {
		if link.MaybeDone(err) {
			t.Errorf("%v: counts as possibly done", err)
		}
	}
	for _, err := range []error{link.ErrNoAnswer, link.ErrConnLost, protocol.ErrUnavailable, errors.New("anything else")} {
		if !link.MaybeDone(err) {
			t.Errorf("%v: counts as certainly not done", err)
		}
	}
}
