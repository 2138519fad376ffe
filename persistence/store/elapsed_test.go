package store

import (
	"log/slog"
	"testing"
	"time"

	"metaq/internal/vfs/faultfs"
)

// TestTheAppendClockCountsOn starts a broker's clock again after the machine's clock was set.
func TestTheAppendClockCountsOn(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for name, c := range map[string]struct {
		set  time.Duration // the machine's clock between the runs
		want time.Duration // that the append clock counts
	}{
		"an hour passes":                       {time.Hour, time.Hour},
		"the clock was years ahead":            {-9 * year, 0},
		"the machine starts in 1970":           {-50 * year, 0},
		"the clock is years ahead":             {9 * year, maxOutage},
		"the broker was stopped for a week":    {7 * 24 * time.Hour, maxOutage},
		"it is the same moment by every clock": {0, 0},
	} {
		fs := faultfs.New(1)
		d := &Dirs{FS: fs, Main: "/a"}
		if err := fs.MkdirAll("/a"); err != nil {
			t.Fatal(err)
		}
		now := time.Now().Round(0) // without its monotonic reading
		start := func() *Elapsed {
			e, err := StartElapsed(d, func() time.Time { return now }, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			return e
		}
		e := start()
		now = now.Add(time.Minute)
		before := e.Now()
		if err := e.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		now = now.Add(c.set)
		again := start()
		if got := again.Now() - before; got != c.want.Milliseconds() {
			t.Errorf("%s: it counts %s, want %s", name, time.Duration(got)*time.Millisecond, c.want)
		}
		if err := again.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestADamagedAppendClockBeginsAnew flips every bit of the file.
func TestADamagedAppendClockBeginsAnew(t *testing.T) {
	s := savedElapsed{Elapsed: 1_700_000_000_000, At: 1_800_000_000_000}
	good := []byte(`{"elapsed_ms":1700000000000,"at_ms":1800000000000,"crc32c":"` + s.sum() + `"}`)
	want, err := parseElapsed(good)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 8 * len(good) {
		bad := append([]byte(nil), good...)
		bad[i/8] ^= 1 << (i % 8)
		if got, err := parseElapsed(bad); err == nil && got != want {
			t.Errorf("bit %d: %s reads as %+v", i, bad, got)
		}
	}
}
