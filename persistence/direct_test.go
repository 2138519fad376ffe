package persistence

import (
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"metaq/internal/aligned"
	"metaq/internal/vfs"
	"metaq/internal/vfs/faultfs"
	"metaq/protocol"
)

// directFS counts the writes that go past the cache, or lets them fail.
type directFS struct {
	vfs.FS
	fail   error
	opens  int
	writes int
	last   []byte // what was written last
}

func (f *directFS) OpenDirect(path string) (vfs.DirectFile, error) {
	f.opens++
	file, err := vfs.OpenDirect(f.FS, path)
	return &directFile{file, f}, err
}

type directFile struct {
	vfs.DirectFile
	fs *directFS
}

func (f *directFile) WriteAt(b []byte, at int64) (int, error) {
	f.fs.writes++
	f.fs.last = b
	if f.fs.fail != nil {
		return 0, f.fs.fail
	}
	return f.DirectFile.WriteAt(b, at)
}

var large = strings.Repeat("l", directLeast)

// What nobody reads goes past the cache when it is large. A read brings the log back to
// the cache, until enough has been appended that nobody has asked for.
func TestOnlyLargeAppendsThatNobodyReadsGoPastTheCache(t *testing.T) {
	fsys := &directFS{FS: faultfs.New(1)}
	l, _ := openLog(t, Options{FS: fsys, Dir: "/t-0-0", Now: newClock().now, DirectUnread: 2 * directLeast})
	for _, step := range []struct {
		what   string
		value  string
		direct bool
	}{
		{"a small one", "small", false},
		{"a large one", large, true},
		{"a small one behind it", "small", false},
		{"another large one", large, true},
		{"read", "", false},
		{"a large one after the read", large, false},
		{"a second one", large, false},
		{"a third one", large, true},
	} {
		if step.what == "read" {
			readAll(t, l, l.Next()-1, 1)
			continue
		}
		before := fsys.writes
		put(t, l, epochTime, step.value)
		if got := fsys.writes > before; got != step.direct {
			t.Errorf("%s went past the cache: %t", step.what, got)
		}
	}
	if fsys.opens != 1 {
		t.Errorf("the file was opened %d times", fsys.opens)
	}
	want := []string{"small", large, "small", large, large, large, large}
	if got := readAll(t, l, 0, 1<<20); strings.Join(got, ",") != strings.Join(want, ",") {
		t.Errorf("%d records came back, or others", len(got))
	}
}

// Where there is room for an append, but not for the blank space behind it, it is taken.
func TestTheRoomBehindAnAppendMayBeMissing(t *testing.T) {
	fsys := faultfs.New(1)
	l, _ := openLog(t, Options{FS: fsys, Dir: "/t-0-0", Now: newClock().now})
	put(t, l, epochTime, large)
	for l.w.size-l.active().end.Load() > int64(len(large)) { // the next one grows the file
		put(t, l, epochTime, large)
	}
	fsys.SetLimit(fsys.Used() + int64(len(large)) + 1000)
	before := l.Next()
	put(t, l, epochTime, large)
	if got := readAll(t, l, before, 1<<20); len(got) != 1 || got[0] != large {
		t.Errorf("%d records came back", len(got))
	}
	if err := l.Append(stamped(t, l, epochTime, large+large)); !errors.Is(err, protocol.ErrDiskFull) {
		t.Errorf("without any room: %v", err)
	}
	fsys.SetLimit(0)
	put(t, l, epochTime, large)
	if got := readAll(t, l, before, 1<<20); len(got) != 2 || got[1] != large {
		t.Errorf("%d records came back when there was room again", len(got))
	}
}

// inPlace appends a value from memory of which a disk fetches it without a copy, with rubbish
// beside it.
func inPlace(t *testing.T, l *Log, value string) (around []byte) {
	t.Helper()
	batch, lead := stamped(t, l, epochTime, value), l.Lead()
	around = aligned.New(aligned.Up(lead + len(batch)))
	for i := range around {
		around[i] = 0xa5
	}
	b := around[lead:]
	if err := errors.Join(l.AppendIn(b[:copy(b, batch)], around), l.Sync()); err != nil {
		t.Fatal(err)
	}
	return around
}

// What lies where the disk can fetch it is written from there, in one write; with another
// Lead, with nothing around it, and where the file grows ahead it is copied.
func TestWhatLiesRightIsNotCopied(t *testing.T) {
	fsys := &directFS{FS: faultfs.New(1)}
	l, _ := openLog(t, Options{FS: fsys, Dir: "/t-0-0", Now: newClock().now, SegmentSize: 10 * int64(len(large)), Preallocate: -1})
	var want []string
	for i := range 30 { // over several segments
		value := strings.Repeat(string(rune('a'+i)), directLeast+i*37)
		want = append(want, value)
		before, base := fsys.writes, l.active().base
		around := inPlace(t, l, value)
		rolled := l.active().base != base
		if same := &fsys.last[0] == &around[0]; same == rolled || fsys.writes != before+1 {
			t.Errorf("append %d: from where it lies %t, a new segment %t, %d writes", i, same, rolled, fsys.writes-before)
		}
	}
	if base := l.active().base; base == 0 {
		t.Error("there is one segment only")
	}
	if got := readAll(t, l, 0, 1<<20); strings.Join(got, ",") != strings.Join(want, ",") {
		t.Errorf("%d records came back, or others", len(got))
	}

	grows, _ := openLog(t, Options{FS: fsys, Dir: "/g-0-0", Now: newClock().now})
	if around := inPlace(t, grows, large); &fsys.last[0] == &around[0] || grows.w.size <= grows.active().end.Load() {
		t.Errorf("the file has %d bytes and its end is %d", grows.w.size, grows.active().end.Load())
	}
}

// A disk that does not take such a write gets the same bytes in the usual way, and is not
// asked again.
func TestADiskWithoutDirectWrites(t *testing.T) {
	fsys := &directFS{FS: faultfs.New(1), fail: syscall.EINVAL}
	l, _ := openLog(t, Options{FS: fsys, Dir: "/t-0-0", Now: newClock().now})
	for range 3 {
		put(t, l, epochTime, large)
	}
	if fsys.opens != 1 || fsys.writes != 1 {
		t.Errorf("%d times opened and %d times written, want 1 and 1", fsys.opens, fsys.writes)
	}
	if got := readAll(t, l, 0, 1<<20); len(got) != 3 || got[2] != large {
		t.Errorf("%d records came back", len(got))
	}
}

// TestDirectWritesOnADisk appends all kinds of sizes on the system's own disk, past the
// cache and through it in turn, while somebody reads what was there before: what comes
// back, then and after a restart, is what was appended.
func TestDirectWritesOnADisk(t *testing.T) {
	dir := vfs.Default.PathJoin(t.TempDir(), "t-0-0")
	o := Options{Dir: dir, Now: newClock().now, DirectLeast: 2000, DirectUnread: 100_000, SegmentSize: 8 << 20}
	l, _, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(7, 0))
	value := func(i, size int) string { return strings.Repeat(string(rune('a'+i%26)), size) }
	var want []string
	var readable atomic.Int64
	var reader sync.WaitGroup
	stop := make(chan struct{})
	reader.Go(func() {
		for rng := rand.New(rand.NewPCG(8, 0)); ; {
			select {
			case <-stop:
				return
			default:
			}
			end := readable.Load()
			if end == 0 || rng.IntN(20) > 0 {
				continue
			}
			// The newest is where reads and writes meet in one block.
			at := max(0, end-1-rng.Int64N(3))
			b, err := l.Read(nil, protocol.Offset(at), protocol.Offset(end), 1<<20)
			if err != nil || len(b) == 0 {
				t.Errorf("read at %d of %d: %v", at, end, err)
				return
			}
		}
	})
	for i := range 400 {
		size := []int{rng.IntN(3000), rng.IntN(30_000), rng.IntN(300_000)}[rng.IntN(3)]
		if i%97 == 0 {
			size = 3 << 20 // in several pieces
		}
		want = append(want, value(i, size))
		if i%2 == 0 {
			inPlace(t, l, want[i])
		} else {
			put(t, l, epochTime, want[i])
		}
		readable.Store(int64(i + 1))
	}
	close(stop)
	reader.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l, r := openLog(t, o)
	if !r.Clean || l.Next() != protocol.Offset(len(want)) {
		t.Fatalf("%+v", r)
	}
	for i, got := range readAll(t, l, 0, 1<<20) {
		if got != want[i] {
			t.Fatalf("record %d has %d bytes, want %d, or others", i, len(got), len(want[i]))
		}
	}
}
