package protocol

import "time"

// MaxHeld is how far the clock may lie behind the last record of a log while new ones
// are dated like that one.
const MaxHeld = 10 * time.Second

// HeldTime returns the date of what is appended at now to a log whose last record is
// dated last, both in Unix milliseconds. A clock that goes back a little leaves the
// order of dates as it is. One that goes back further was ahead, or is behind now; to hold
// dates until it has caught up would take as long as it was wrong by.
func HeldTime(now, last int64) int64 {
	if last-now > MaxHeld.Milliseconds() {
		return now
	}
	return max(now, last)
}
