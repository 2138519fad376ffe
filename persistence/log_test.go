package persistence

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"metaq/internal/vfs"
	"metaq/internal/vfs/faultfs"
	"metaq/protocol"
)

// TestWhatIsAppendedCanBeRead goes over segments, positions, times and epochs,
// with a reopening in between, on both file systems.
func TestWhatIsAppendedCanBeRead(t *testing.T) {
	for name, o := range map[string]Options{
		"in memory": {FS: faultfs.New(0), Dir: "/data/t-0-0"},
		"on disk":   {FS: vfs.Default, Dir: vfs.Default.PathJoin(t.TempDir(), "data", "t-0-0")},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClock()
			o.SegmentSize, o.IndexInterval, o.Now = 2000, 200, c.now
			l, _ := openLog(t, o)
			if err := l.SetEpoch(3); err != nil {
				t.Fatal(err)
			}
			const n = 100
			var position protocol.Position
			for i := 0; i < n; i += 2 {
				c.advance(time.Second)
				put(t, l, c.ms, values(i, i+2)...)
				position += protocol.Position(40 + len(values(i, i+1)[0]) + len(values(i+1, i+2)[0]))
			}
			check := func(l *Log) {
				t.Helper()
				if l.Next() != n || l.Start() != 0 || l.NextPosition() != position || l.LastEpoch() != 3 || l.LastTime() != c.ms {
					t.Fatalf("start %d, next %d, position %d, epoch %d, time %d", l.Start(), l.Next(), l.NextPosition(), l.LastEpoch(), l.LastTime())
				}
				for _, maxBytes := range []int{0, 300, 1 << 20} {
					if d := cmp.Diff(values(0, n), readAll(t, l, 0, maxBytes)); d != "" {
						t.Fatal(d)
					}
				}
				for from := range protocol.Offset(n) {
					if d := cmp.Diff(values(int(from), n), readAll(t, l, from, 500)); d != "" {
						t.Fatal(d)
					}
				}
				for i := range int64(n / 2) {
					at := epochTime + (i+1)*1000
					for _, ms := range []int64{at, at - 999} {
						if o, err := l.OffsetAt(ms, n); err != nil || o != protocol.Offset(2*i) {
							t.Fatalf("offset at %d: %d, %v; want %d", ms, o, err, 2*i)
						}
					}
				}
				if o, err := l.OffsetAt(c.ms+1, n); err != nil || o != n {
					t.Fatalf("offset after the end: %d, %v", o, err)
				}
			}
			check(l)
			if err := l.Park(); err != nil {
				t.Fatal(err)
			}
			check(l)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			again, r := openLog(t, o)
			if !r.Clean || r.Segments < 2 {
				t.Fatalf("recovery: %+v", r)
			}
			check(again)
			put(t, again, c.ms, "more")
			if got := readAll(t, again, n, 100); !cmp.Equal(got, []string{"more"}) {
				t.Fatal(got)
			}
		})
	}
}

func TestReadsOutsideTheLogAreRefused(t *testing.T) {
	l, _ := openLog(t, Options{FS: faultfs.New(0), Dir: "/t-0-0"})
	put(t, l, epochTime, "a", "b")
	var r *protocol.RangeError
	if _, err := l.Read(nil, 3, 10, 100); !errors.As(err, &r) || r.EndOffset != 2 || !errors.Is(err, protocol.ErrRange) {
		t.Fatal(err)
	}
	if b, err := l.Read(nil, 2, 10, 100); err != nil || len(b) != 0 {
		t.Fatal(b, err)
	}
}
