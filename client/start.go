package client

import (
	"fmt"
	"strconv"
	"time"

	"metaq/protocol"
)

// Start is a place where reading begins. The zero value is Earliest.
type Start struct {
	kind   startKind
	offset Offset
	epoch  protocol.Epoch // of the record before offset; 0: not known
	at     time.Time
}

type startKind uint8

const (
	startEarliest startKind = iota
	startLatest
	startOffset
	startTime
)

// Earliest is the log start: all that is kept.
func Earliest() Start { return Start{} }

// Latest is the end of the log: only what comes from now on.
func Latest() Start { return Start{kind: startLatest} }

// AtOffset is the record with the offset o, which must lie between the log start
// and the end.
func AtOffset(o Offset) Start { return Start{kind: startOffset, offset: o} }

// atPlace is AtOffset behind a record whose epoch is known.
func atPlace(p *protocol.GroupPosition) Start {
	return Start{kind: startOffset, offset: p.Offset, epoch: p.Epoch}
}

// AtTime is the first record that is not older than t, or the end.
func AtTime(t time.Time) Start { return Start{kind: startTime, at: t} }

// clockSlack is by how much a broker's clock may differ from this one, or from another
// broker's, without a record being skipped.
const clockSlack = time.Minute

// asOf returns a start that means what s meant at that moment, when it is looked up later.
func (s Start) asOf(moment time.Time) Start {
	if s.kind == startLatest {
		return AtTime(moment.Add(-clockSlack))
	}
	return s
}

// ParseStart reads what String writes: earliest, latest, an offset, or a time in
// RFC 3339.
func ParseStart(s string) (Start, error) {
	switch s {
	case "earliest":
		return Earliest(), nil
	case "latest":
		return Latest(), nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n >= 0 {
		return AtOffset(Offset(n)), nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return AtTime(t), nil
	}
	return Start{}, fmt.Errorf("start %q is not earliest, latest, an offset such as 42, or a time such as 2026-01-02T15:04:05Z", s)
}

// String returns the form that ParseStart reads.
func (s Start) String() string {
	switch s.kind {
	case startLatest:
		return "latest"
	case startOffset:
		return strconv.FormatInt(int64(s.offset), 10)
	case startTime:
		return s.at.Format(time.RFC3339Nano)
	default:
		return "earliest"
	}
}
