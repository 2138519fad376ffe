package fetch

import (
	"time"

	"metaq/protocol"
)

// Start is a client.Start.
type Start struct {
	Kind   Kind
	Offset protocol.Offset
	epoch  protocol.Epoch // of the record before offset; 0: not known
	At     time.Time
}

// Kind is what a Start goes by.
type Kind uint8

// The kinds of a Start; the zero value is the log start.
const (
	StartEarliest Kind = iota
	StartLatest
	StartOffset
	StartTime
)

// clockSlack is by how much a broker's clock may differ from this one, or from another
// broker's, without a record being skipped.
const clockSlack = time.Minute

// asOf returns a start that means what s meant at that moment, when it is looked up later.
func (s Start) asOf(moment time.Time) Start {
	if s.Kind == StartLatest {
		return Start{Kind: StartTime, At: moment.Add(-clockSlack)}
	}
	return s
}
