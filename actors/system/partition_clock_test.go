package system

import (
	"sync/atomic"
	"testing"
	"time"

	"metaq/actors"
	"metaq/actors/actorstest"
	"metaq/protocol"
)

// TestAClockThatIsSetForgetsNoIDAndKeepsNone has the clock ten years ahead for one message.
// Its id is remembered for the window, no shorter and no longer, and what comes after it
// is dated by the clock again.
func TestAClockThatIsSetForgetsNoIDAndKeepsNone(t *testing.T) {
	var wall, elapsed atomic.Int64
	wall.Store(1_700_000_000_000)
	elapsed.Store(1_700_000_000_000)
	r, l := startOne(t, func(d *Deps) {
		d.Now = func() time.Time { return time.UnixMilli(wall.Load()) }
		d.Elapsed = elapsed.Load
		d.Resolve = func(string, protocol.TopicConfig) (actors.Settings, error) {
			return actors.Settings{DuplicateWindow: time.Minute}, nil
		}
	})
	const tenYears = 87_600 * 3_600_000
	put := func(id string, want protocol.Offset, duplicate bool) {
		t.Helper()
		r.sendWithID(id)
		ack := r.probe.Next(t)
		if got := actorstest.OffsetOf(t, ack); got != want || ack.(protocol.PubAck).Duplicate != duplicate {
			t.Errorf("answer to %s is %+v, want offset %d, duplicate %t", id, ack, want, duplicate)
		}
	}
	put("first", 0, false)
	wall.Add(tenYears)
	put("first", 0, true)
	put("ahead", 1, false)
	wall.Add(-tenYears)
	put("ahead", 1, true)
	put("after", 2, false)
	elapsed.Add(61_000)
	wall.Add(61_000)
	put("ahead", 3, false)
	put("first", 4, false)
	var dates []int64
	l.Update(func(l *actorstest.Log) {
		for _, b := range l.Batches {
			dates = append(dates, b.Header.MaxTime-1_700_000_000_000)
		}
	})
	for i, want := range []int64{0, tenYears, 0, 61_000, 61_000} {
		if dates[i] != want {
			t.Errorf("message %d is dated %s from the begin, want %s", i, time.Duration(dates[i])*time.Millisecond, time.Duration(want)*time.Millisecond)
		}
	}
}
