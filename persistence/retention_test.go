package persistence

import (
	"archive/zip"
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"metaq/internal/vfs"
	"metaq/internal/vfs/faultfs"
	"metaq/protocol"
)

func TestExpiredSegments(t *testing.T) {
	const now = 10_000
	four := []facts{{100, 1000}, {100, 3000}, {100, 5000}, {50, 9000}} // the last is active
	for name, c := range map[string]struct {
		segments []facts
		policy   Retention
		want     int
	}{
		"nothing is asked for":                     {four, Retention{}, 0},
		"a record as old as the policy stays":      {four, Retention{Age: 9 * time.Second}, 0},
		"one is older":                             {four, Retention{Age: 8 * time.Second}, 1},
		"all but the active one are older":         {four, Retention{Age: time.Second}, 3},
		"the active one stays whatever its age":    {[]facts{{10, 1}}, Retention{Age: time.Millisecond, Bytes: 1}, 0},
		"by size, the limit itself stays":          {four, Retention{Bytes: 250}, 1},
		"by size, not below the limit":             {four, Retention{Bytes: 251}, 0},
		"by size, all but the active one":          {four, Retention{Bytes: 1}, 3},
		"either reason is enough":                  {four, Retention{Age: 8 * time.Second, Bytes: 150}, 2},
		"a young one keeps the older ones behind":  {[]facts{{100, 9999}, {100, 9999}, {1, 9999}}, Retention{Age: time.Second}, 0},
		"what begins anew expires nothing":         {[]facts{{100, 20_000}, {100, 20_000}}, Retention{Age: time.Second}, 0},
		"an empty active segment is no segment":    {[]facts{{100, 1000}, {64, 1000}}, Retention{Age: time.Second}, 1},
		"size counts what other reasons took away": {four, Retention{Age: 6500 * time.Millisecond, Bytes: 150}, 2},
	} {
		if got := expired(c.segments, c.policy, now); got != c.want {
			t.Errorf("%s: %d segments expire, want %d", name, got, c.want)
		}
	}
}

// segmented returns a log of several segments and the clock that stamped them.
func segmented(t *testing.T, o Options) (*Log, *clock) {
	t.Helper()
	c := newClock()
	o.SegmentSize, o.IndexInterval, o.Now, o.Dir = 600, 200, c.now, "/t-0-0"
	l, _ := openLog(t, o)
	for i := range 20 {
		c.advance(time.Minute)
		put(t, l, c.ms, values(i, i+1)...)
	}
	if n := len(*l.segments.Load()); n < 3 {
		t.Fatalf("%d segments", n)
	}
	return l, c
}

// TestExpireMakesRoomOnAFullDisk has no byte reserved: the segment that should follow
// the active one finds room only where older ones were.
func TestExpireMakesRoomOnAFullDisk(t *testing.T) {
	fsys := faultfs.New(1)
	l, clk := segmented(t, Options{FS: fsys, Preallocate: -1})
	clk.advance(time.Hour)
	fsys.SetLimit(fsys.Used())
	all, active := Retention{Age: time.Minute}, l.active().base
	for _, want := range []protocol.Offset{active, l.Next()} {
		dispose, err := l.Expire(all)
		if err != nil || dispose == nil || l.Start() != want {
			t.Fatalf("the log starts at %d after %v, want %d", l.Start(), err, want)
		}
		// Nothing more can go until these files have gone, and that is no failure.
		if again, err := l.Expire(all); err != nil || again != nil {
			t.Fatal(err)
		}
		if err := dispose(); err != nil {
			t.Fatal(err)
		}
	}
	put(t, l, clk.ms, "new")
	if got := readAll(t, l, l.Start(), 100); !slices.Equal(got, []string{"new"}) {
		t.Fatal(got)
	}
	// An active segment alone cannot make room, and says so.
	fsys.SetLimit(fsys.Used())
	clk.advance(time.Hour)
	if _, err := l.Expire(all); !errors.Is(err, protocol.ErrDiskFull) {
		t.Fatalf("%v, want disk full", err)
	}
}

func TestExpireDropsOldSegmentsAndArchivesThem(t *testing.T) {
	for name, c := range map[string]struct {
		policy Retention
		suffix string
	}{
		"delete":           {Retention{Age: 5 * time.Minute}, ""},
		"archive":          {Retention{Age: 5 * time.Minute, Archive: true}, archiveSuffix},
		"archive and pack": {Retention{Age: 5 * time.Minute, Archive: true, Compress: true}, zipSuffix},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := faultfs.New(0)
			l, _ := segmented(t, Options{FS: fsys})
			first, err := vfs.ReadFile(fsys, "/t-0-0/"+baseName(0)+segmentSuffix, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			dispose, err := l.Expire(c.policy)
			if err != nil || dispose == nil {
				t.Fatal(err)
			}
			start := l.Start()
			if start == 0 || start > 15 {
				t.Fatalf("the log starts at %d; records from 15 on are young", start)
			}
			var r *protocol.RangeError
			if _, err := l.Read(nil, 0, 20, 100); !errors.As(err, &r) || r.LogStart != start {
				t.Fatalf("read below the start: %v", err)
			}
			if err := dispose(); err != nil {
				t.Fatal(err)
			}
			if again, err := l.Expire(c.policy); err != nil || again != nil {
				t.Fatal("there is more to do", err)
			}
			if d := cmp.Diff(values(int(start), 20), readAll(t, l, start, 1000)); d != "" {
				t.Fatal(d)
			}
			names, err := fsys.List("/t-0-0")
			if err != nil {
				t.Fatal(err)
			}
			if slices.Contains(names, baseName(0)+segmentSuffix) || slices.Contains(names, baseName(0)+indexSuffix) {
				t.Fatal(names)
			}
			if c.suffix != "" {
				if d := cmp.Diff(first, archived(t, fsys, "/t-0-0/"+baseName(0)+c.suffix)); d != "" {
					t.Fatal(d)
				}
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if again, _ := openLog(t, Options{FS: fsys, Dir: "/t-0-0"}); again.Start() != start {
				t.Fatalf("the log starts at %d", again.Start())
			}
		})
	}
}

// archived returns the bytes of an archived segment.
func archived(t *testing.T, fsys vfs.FS, path string) []byte {
	t.Helper()
	b, err := vfs.ReadFile(fsys, path, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if fsys.PathBase(path) == baseName(0)+archiveSuffix {
		return b
	}
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	f, err := z.Open(baseName(0) + segmentSuffix)
	if err != nil {
		t.Fatal(err)
	}
	if b, err = io.ReadAll(f); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAQuietLogIsTrimmed(t *testing.T) {
	c := newClock()
	l, _ := openLog(t, Options{FS: faultfs.New(0), Dir: "/t-0-0", Now: c.now})
	put(t, l, c.ms, "a", "b")
	c.advance(time.Hour)
	for _, age := range []time.Duration{time.Hour, 59 * time.Minute} {
		dispose, err := l.Expire(Retention{Age: age})
		if err != nil {
			t.Fatal(err)
		}
		if dispose != nil {
			if err := dispose(); err != nil {
				t.Fatal(err)
			}
		}
		if want := protocol.Offset(map[bool]int{true: 2}[age < time.Hour]); l.Start() != want {
			t.Fatalf("after %s the log starts at %d", age, l.Start())
		}
	}
	position := l.NextPosition()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	again, _ := openLog(t, l.opts)
	if again.Next() != 2 || again.NextPosition() != position || again.LastTime() != epochTime {
		t.Fatalf("an emptied log forgot where it was: next %d, position %d, time %d", again.Next(), again.NextPosition(), again.LastTime())
	}
	put(t, again, c.ms, "c")
}

func TestAReadInADeletedSegmentGoesOn(t *testing.T) {
	fsys := faultfs.New(0)
	l, _ := segmented(t, Options{FS: fsys})
	s := (*l.segments.Load())[0]
	h, err := l.acquire(s, true) // a read that is under way
	if err != nil {
		t.Fatal(err)
	}
	dispose, err := l.Expire(Retention{Bytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- dispose() }()
	sc := (&region{segment: s, handle: h}).scanner()
	if _, _, err := sc.next(); err != nil {
		t.Fatalf("the read breaks: %v", err)
	}
	sc.close()
	s.release(h)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if _, err := s.acquire(fsys); !errors.Is(err, errRetired) {
		t.Fatalf("a retired segment opens: %v", err)
	}
}
