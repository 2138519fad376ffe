package actors

import "time"

// Settings are the effective settings of one topic on this broker.
type Settings struct {
	// UnflushThreshold: 0 or less acknowledges after the sync. N > 0 acknowledges
	// after the write and syncs every N records or after UnflushInterval.
	UnflushThreshold int
	// UnflushInterval is the longest time between a write and its sync when
	// UnflushThreshold is above 0; 0 means one second.
	UnflushInterval time.Duration
	// MaxSegmentSize and MaxSegmentAge are for the LogStore; a change counts from
	// the next time the log is opened.
	MaxSegmentSize int64
	MaxSegmentAge  time.Duration

	// DuplicateWindow is how long the id of a message is remembered; 0: not at all.
	// MaxMessageIDs bounds how many a partition remembers; 0 means 1,000,000.
	DuplicateWindow time.Duration
	MaxMessageIDs   int

	// Subjects are those that the topic listens to; KeyToken is the token of the
	// subject, from 1, that is the key of a message that brings none; 0: none is.
	Subjects []string
	KeyToken int

	Retention   Retention
	RetainAt    Schedule // when Retention is applied; nil means never
	NoPublish   bool     // refuse puts
	NoSubscribe bool     // refuse gets
}

// Schedule says when something is to be done.
type Schedule interface {
	// Next returns the first time after t; false when there is none.
	Next(t time.Time) (time.Time, bool)
}
