package persistence

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"metaq/internal/vfs"
	"metaq/internal/vfs/faultfs"
	"metaq/protocol"
)

// clocks are the clock of the machine, and the append clock, which nobody sets.
type clocks struct {
	clock
	elapsed int64
	logged  bytes.Buffer
}

func newClocks() *clocks { return &clocks{clock: *newClock(), elapsed: epochTime} }

func (c *clocks) pass(d time.Duration) {
	c.advance(d)
	c.elapsed += d.Milliseconds()
}

// options are of a log on fsys with these clocks. Its fields may be changed.
func (c *clocks) options(fsys vfs.FS) Options {
	return Options{
		FS: fsys, Dir: "/t-0-0", Now: c.now, Elapsed: func() int64 { return c.elapsed },
		Logger: slog.New(slog.NewTextHandler(&c.logged, nil)),
	}
}

// put appends a record dated by the clock, as an actor does.
func (c *clocks) put(t *testing.T, l *Log, value string) {
	t.Helper()
	put(t, l, protocol.HeldTime(c.ms, l.LastTime()), value)
}

// tenYears is how far the clock is ahead in these tests.
const tenYears = 87_600 * time.Hour

func requireAge(t *testing.T, l *Log, c *clocks, o protocol.Offset, millis int64, want time.Duration) {
	t.Helper()
	if got := time.Duration(c.elapsed-l.AppendedAt(o, millis)) * time.Millisecond; got != want {
		t.Errorf("record %d is %s old, want %s", o, got, want)
	}
}

// TestAClockThatWasAheadLeavesNothingBehind appends while the clock is ten years ahead:
// to a log that had records, and to one that was made then.
func TestAClockThatWasAheadLeavesNothingBehind(t *testing.T) {
	for name, before := range map[string]int{"a log with records": 2, "a new log": 0} {
		t.Run(name, func(t *testing.T) {
			c, fsys := newClocks(), faultfs.New(0)
			if before == 0 {
				c.advance(tenYears)
			}
			l, _ := openLog(t, c.options(fsys))
			for range before {
				c.put(t, l, "before")
				c.pass(time.Second)
			}
			if before > 0 {
				c.advance(tenYears)
			}
			ahead, o := c.ms, l.Next()
			c.put(t, l, "ahead")
			c.pass(time.Minute)
			c.advance(-tenYears)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			l, _ = openLog(t, c.options(fsys))
			if n := strings.Count(c.logged.String(), "ahead=87599h59m0s"); n != 1 {
				t.Errorf("%d lines say how far the log is ahead of the clock:\n%s", n, &c.logged)
			}
			requireAge(t, l, c, o, ahead, time.Minute)
			now := c.ms
			c.put(t, l, "after")
			if l.LastTime() != now {
				t.Errorf("a record of now is dated %s", time.UnixMilli(l.LastTime()))
			}
			// The lookup finds the first that is dated so, wherever it is.
			for want, millis := range map[protocol.Offset]int64{o: ahead, min(o, protocol.Offset(before)): now, o + 2: ahead + 1} {
				if got, err := l.OffsetAt(millis, l.Next()); err != nil || got != want {
					t.Errorf("offset of %s is %d (%v), want %d", time.UnixMilli(millis), got, err, want)
				}
			}
			c.pass(time.Minute)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			l, _ = openLog(t, c.options(fsys))
			requireAge(t, l, c, o, ahead, 2*time.Minute)
			requireAge(t, l, c, o+1, now, time.Minute)
			if _, err := l.Expire(Retention{Age: 90 * time.Second}); err != nil || l.Start() != o+1 {
				t.Errorf("the log starts at %d (%v): the record of %d is 2 minutes old", l.Start(), err, o)
			}
		})
	}
}

// TestAClockThatIsBehindMakesNothingOld starts a machine in 1970, as those without a
// battery do, until NTP corrects it.
func TestAClockThatIsBehindMakesNothingOld(t *testing.T) {
	c, fsys := newClocks(), faultfs.New(0)
	l, _ := openLog(t, c.options(fsys))
	c.put(t, l, "before")
	c.pass(time.Second)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	right := c.ms
	c.ms = 5000
	l, _ = openLog(t, c.options(fsys))
	c.put(t, l, "in 1970")
	c.pass(time.Second)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	c.ms = right
	l, _ = openLog(t, c.options(fsys))
	requireAge(t, l, c, 0, epochTime, 2*time.Second)
	requireAge(t, l, c, 1, 5000, time.Second)
	if _, err := l.Expire(Retention{Age: time.Hour}); err != nil || l.Start() != 0 {
		t.Errorf("the log starts at %d (%v), and all of it is young", l.Start(), err)
	}
	if got, err := l.OffsetSince(c.elapsed-1500, l.Next()); err != nil || got != 1 {
		t.Errorf("what is younger than 1.5 s begins at %d (%v)", got, err)
	}
}

// TestAClockThatGoesBackALittleKeepsTheOrder holds dates for as long as that takes.
func TestAClockThatGoesBackALittleKeepsTheOrder(t *testing.T) {
	c := newClocks()
	l, _ := openLog(t, c.options(faultfs.New(0)))
	c.put(t, l, "a")
	c.advance(-time.Second)
	c.put(t, l, "b")
	if l.LastTime() != epochTime || len(*l.segments.Load()) != 1 {
		t.Fatalf("dated %d in %d segments", l.LastTime(), len(*l.segments.Load()))
	}
}

// TestOldRecordsThatAreDatedAheadAgeFromTheFirstStart takes a log that an earlier release
// wrote while the clock was ahead.
func TestOldRecordsThatAreDatedAheadAgeFromTheFirstStart(t *testing.T) {
	c, fsys := newClocks(), faultfs.New(0)
	c.advance(tenYears)
	o := c.options(fsys)
	l, _ := openLog(t, o)
	c.put(t, l, "ahead")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	ahead := c.ms
	c.advance(-tenYears)
	rewriteHeader(t, fsys, l.active(), func(h *segmentHeader) { h.began = noBegan })
	policy := Retention{Age: time.Hour}
	// Nobody puts, and each run is shorter than the policy's age.
	for run := range 3 {
		l, _ = openLog(t, o)
		if run == 0 {
			requireAge(t, l, c, 0, ahead, 0)
		}
		if _, err := l.Expire(policy); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		c.pass(31 * time.Minute)
	}
	l, _ = openLog(t, o)
	if _, err := l.Expire(policy); err != nil || l.Start() != 1 {
		t.Fatalf("the log starts at %d (%v) when the record has been seen for 93 minutes", l.Start(), err)
	}
}

func rewriteHeader(t *testing.T, fsys vfs.FS, s *segment, change func(*segmentHeader)) {
	t.Helper()
	h := s.segmentHeader
	change(&h)
	f, err := fsys.OpenReadWrite(s.path)
	if err == nil {
		_, err = f.WriteAt(h.encode(), 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

// TestAnAppendClockThatBeganAnewHoldsNothingBack is for a data directory without its clock.
func TestAnAppendClockThatBeganAnewHoldsNothingBack(t *testing.T) {
	c, fsys := newClocks(), faultfs.New(0)
	c.elapsed += tenYears.Milliseconds()
	l, _ := openLog(t, c.options(fsys))
	c.put(t, l, "a")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	c.pass(time.Minute)
	c.elapsed -= tenYears.Milliseconds()
	l, _ = openLog(t, c.options(fsys))
	requireAge(t, l, c, 0, epochTime, time.Minute)
}

// TestSegmentsAreAsOldAsTheyAre rolls by age, which no clock that is set delays.
func TestSegmentsAreAsOldAsTheyAre(t *testing.T) {
	c := newClocks()
	o := c.options(faultfs.New(0))
	o.SegmentAge = time.Hour
	var rolled []protocol.Offset
	o.Events.Rolled = func(base protocol.Offset) { rolled = append(rolled, base) }
	l, _ := openLog(t, o)
	c.put(t, l, "a")
	c.pass(61 * time.Minute)
	c.advance(-61 * time.Minute)
	if _, err := l.Expire(Retention{}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(rolled, []protocol.Offset{1}) {
		t.Fatalf("segments begin at %v", rolled)
	}
}
