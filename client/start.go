package client

import (
	"fmt"
	"strconv"
	"time"

	"metaq/client/internal/fetch"
)

// Start is a place where reading begins. The zero value is Earliest.
type Start struct {
	s fetch.Start
}

// Earliest is the log start: all that is kept.
func Earliest() Start { return Start{} }

// Latest is the end of the log: only what comes from now on.
func Latest() Start { return Start{fetch.Start{Kind: fetch.StartLatest}} }

// AtOffset is the record with the offset o, which must lie between the log start
// and the end.
func AtOffset(o Offset) Start { return Start{fetch.Start{Kind: fetch.StartOffset, Offset: o}} }

// AtTime is the first record that is not older than t, or the end.
func AtTime(t time.Time) Start { return Start{fetch.Start{Kind: fetch.StartTime, At: t}} }

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
	switch s.s.Kind {
	case fetch.StartLatest:
		return "latest"
	case fetch.StartOffset:
		return strconv.FormatInt(int64(s.s.Offset), 10)
	case fetch.StartTime:
		return s.s.At.Format(time.RFC3339Nano)
	default:
		return "earliest"
	}
}
