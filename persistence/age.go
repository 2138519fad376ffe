package persistence

import (
	"fmt"
	"io"
	"slices"
	"time"

	"metaq/internal/vfs"
	"metaq/protocol"
)

// Two clocks. Records are dated by Options.Now, which people and NTP set; ages are
// told by Options.Elapsed, the append clock, which nothing sets. A segment's header
// has both as they were at its begin, and a segment ends when they part: so within
// one the date of a record tells when it was appended, whatever the clock was set to
// before or after.

const (
	// maxParted is how far the two clocks may part within a segment.
	maxParted = 2 * time.Second
	// lostClock is how far the append clock may lie behind what a log has seen of it:
	// a crash loses a little. Beyond, it is another clock that started later.
	lostClock = time.Minute
)

// opened is what both clocks showed when the log was opened.
type opened struct {
	now     int64 // Unix milliseconds
	elapsed int64
}

// newHeader returns the header of a segment that begins now. The rest is the caller's.
func (l *Log) newHeader() segmentHeader {
	return segmentHeader{created: l.opts.Now().UnixMilli(), began: max(l.opts.Elapsed(), noBegan+1)}
}

// age estimates when the last batch of each segment was appended.
func (r *recovery) age(segments []*segment, next protocol.Offset) {
	o := &r.opened
	r.found.Store(int64(next))
	*o = opened{now: r.opts.Now().UnixMilli(), elapsed: r.opts.Elapsed()}
	latest := o.elapsed
	for _, s := range slices.Backward(segments) {
		if s.began > o.elapsed+lostClock.Milliseconds() {
			s.began = noBegan
		}
		s.newest.Store(min(r.appended(s, s.last.Load()), latest))
		if s.began != noBegan {
			latest = min(latest, s.began)
		}
	}
}

// appended estimates by the segment alone when a record of it was appended that is dated
// millis. It does not know what came after the segment.
func (l *Log) appended(s *segment, millis int64) int64 {
	if s.began == noBegan {
		return l.opened.elapsed + millis - l.opened.now
	}
	return max(s.began+millis-s.created, s.began)
}

// beganAt is when the segment began.
func (l *Log) beganAt(s *segment) int64 {
	if s.began == noBegan {
		return min(l.appended(s, s.created), l.opened.elapsed)
	}
	return s.began
}

// AppendedAt returns what the append clock showed when the record at offset o was
// appended, which is dated millis: as far as the log can tell, but never later than
// what came after it. It may be called from any goroutine.
func (l *Log) AppendedAt(o protocol.Offset, millis int64) int64 {
	segments := *l.segments.Load()
	s := segments[max(holding(segments, o), 0)]
	at := min(l.appended(s, millis), s.newest.Load())
	if int64(o) < l.found.Load() {
		at = min(at, l.opened.elapsed)
	}
	return at
}

// OffsetSince returns an offset below which no record was appended, as AppendedAt tells,
// when the append clock showed at or later; it is at most limit, or Next when that is
// lower. It may be called from any goroutine.
func (l *Log) OffsetSince(at int64, limit protocol.Offset) (protocol.Offset, error) {
	return l.firstOffset(limit, func(s *segment) (int64, bool) {
		switch {
		case s.newest.Load() < at:
			return 0, false
		case s.began == noBegan:
			return l.opened.now + at - l.opened.elapsed, true
		case at <= s.began:
			return minTime, true
		}
		return s.created + at - s.began, true
	})
}

// minTime is before every record.
const minTime = -1 << 63

// datedBack reports whether the first batch is dated before the end of the log.
func datedBack(c *chain, batches []byte) bool {
	h, err := protocol.ParseBatchHeader(batches)
	return err == nil && h.MaxTime < c.time
}

// parted reports whether the clocks have parted since the segment began.
func (l *Log) parted(s *segment, now int64) bool {
	created, began := s.created, s.began
	if began == noBegan {
		created, began = l.opened.now, l.opened.elapsed
	}
	if planted == agesByDates {
		return false
	}
	d := l.opts.Now().UnixMilli() - created - (now - began)
	return max(d, -d) > maxParted.Milliseconds()
}

// prepare makes the active segment the one that batches go to.
func (l *Log) prepare(batches []byte, now int64) error {
	s := l.active()
	back := datedBack(&l.w.chain, batches)
	parted := l.parted(s, now)
	if s.end.Load() == segmentHeaderSize {
		if parted {
			return l.replaceHeader(s)
		}
		return nil
	}
	if !back && !parted && !l.mustRoll(int64(len(batches)), now) {
		return nil
	}
	if back {
		l.opts.Logger.Warn("records are dated by the clock again: those before them are dated ahead of it",
			"dir", l.dir, "ahead", time.Duration(l.w.chain.time-l.opts.Now().UnixMilli())*time.Millisecond, "next", l.Next())
	}
	return l.roll()
}

// replaceHeader replaces the header of the active segment, which has no record yet: the
// clocks have parted since it was written. A crash leaves the one or the other.
func (l *Log) replaceHeader(s *segment) error {
	h := s.segmentHeader
	now := l.newHeader()
	h.created, h.began = now.created, now.began
	fresh := l.newSegment(h)
	l.closeWriter()
	<-s.retire() // the name is to change hands
	err := vfs.Publish(l.fs, l.dir, baseName(s.base)+segmentSuffix, func(w io.Writer) error {
		_, err := w.Write(fresh.encode())
		return err
	})
	if err != nil { // whichever it is by now, the next attempt writes it again
		fresh = l.newSegment(s.segmentHeader)
	}
	fresh.end.Store(segmentHeaderSize)
	fresh.last.Store(fresh.floor)
	fresh.newest.Store(fresh.began)
	fresh.bare.Store(true)
	segments := slices.Clone(*l.segments.Load())
	segments[len(segments)-1] = fresh
	l.segments.Store(&segments)
	l.w.dirty = 0
	if err != nil {
		return l.failUnlessRefused(diskError("write", fresh.path, fmt.Errorf("replace the header: %w", err)))
	}
	return l.openWriter()
}
