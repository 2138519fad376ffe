package persistence

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"metaq/internal/vfs"
	"metaq/internal/vfs/faultfs"
	"metaq/protocol"
)

// TestReadsGoOnDuringEverything reads at random places while the owner appends,
// syncs, rolls, expires, truncates and parks.
func TestReadsGoOnDuringEverything(t *testing.T) {
	c := newClock()
	var elapsed atomic.Int64 // dispose reads it beside us
	elapsed.Store(epochTime)
	l, _ := openLog(t, Options{
		Dir: vfs.Default.PathJoin(t.TempDir(), "t-0-0"), SegmentSize: 4000, IndexInterval: 300, Now: c.now, Elapsed: elapsed.Load, Files: NewFiles(3),
	})
	stop := make(chan struct{})
	var readers sync.WaitGroup
	var reads [4]int
	for i := range reads {
		readers.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 0))
			for at := protocol.Offset(0); ; {
				select {
				case <-stop:
					return
				default:
				}
				reads[i]++
				at = readSome(t, l, rng, at)
			}
		})
	}
	rng := rand.New(rand.NewPCG(99, 0))
	var workers sync.WaitGroup
	for i := range 600 {
		c.advance(time.Second)
		elapsed.Store(c.ms)
		put(t, l, c.ms, valueAt(l.Next()), valueAt(l.Next()+1))
		switch {
		case i%40 == 39:
			dispose, err := l.Expire(Retention{Bytes: 12000})
			if err != nil {
				t.Fatal(err)
			}
			if dispose != nil {
				workers.Go(func() {
					if err := dispose(); err != nil {
						t.Error(err)
					}
				})
			}
		case i%50 == 49:
			if err := l.Park(); err != nil {
				t.Fatal(err)
			}
		case i%60 == 59:
			back := min(2*rng.Int64N(20), int64(l.Next()-l.Start()))
			if err := l.TruncateTo(l.Next() - protocol.Offset(back)); err != nil {
				t.Fatal(err)
			}
		}
	}
	close(stop)
	readers.Wait()
	workers.Wait()
	for i, n := range reads {
		if n == 0 {
			t.Errorf("reader %d read nothing", i)
		}
	}
}

// valueAt is the value of every record that has this offset.
func valueAt(o protocol.Offset) string { return values(int(o), int(o)+1)[0] }

// readSome reads at, or anywhere, and returns where the next read begins.
func readSome(t *testing.T, l *Log, rng *rand.Rand, at protocol.Offset) protocol.Offset {
	start, next := l.Start(), l.Next()
	if at < start || at >= next || rng.IntN(5) == 0 {
		at = start + protocol.Offset(rng.Int64N(int64(max(1, next-start))))
	}
	if rng.IntN(10) == 0 {
		if _, err := l.OffsetAt(epochTime+rng.Int64N(600_000), next); err != nil {
			t.Errorf("look up a time: %v", err)
		}
	}
	b, err := l.Read(nil, at, next, rng.IntN(2000))
	var r *protocol.RangeError
	if err != nil && !errors.As(err, &r) {
		t.Errorf("read at %d: %v", at, err)
	}
	for len(b) > 0 {
		h, err := protocol.CheckBatch(b, 0)
		if err != nil {
			t.Errorf("read at %d: %v", at, err)
			return at
		}
		for r, err := range protocol.DecodeRecords(&h, b) {
			if err != nil || string(r.Value) != valueAt(r.Offset) {
				t.Errorf("record %d is %q, %v", r.Offset, r.Value, err)
			}
		}
		at, b = h.Next(), b[h.Length:]
	}
	return at
}

// stalling is a file system whose files wait in a sync.
type stalling struct {
	vfs.FS
	stalled chan struct{} // gets a value when a sync begins
	goOn    chan struct{} // closed when it may end
}

type stallingFile struct {
	vfs.File
	fs *stalling
}

func (s *stalling) OpenReadWrite(name string) (vfs.File, error) {
	f, err := s.FS.OpenReadWrite(name)
	if err != nil {
		return nil, err
	}
	return stallingFile{f, s}, nil
}

func (f stallingFile) SyncData() error {
	f.fs.stalled <- struct{}{}
	<-f.fs.goOn
	return f.File.SyncData()
}

func TestAReadDoesNotWaitForASync(t *testing.T) {
	fsys := &stalling{FS: faultfs.New(0), stalled: make(chan struct{}), goOn: make(chan struct{})}
	l, _ := openLog(t, Options{FS: fsys, Dir: "/t-0-0"})
	if err := l.Append(stamped(t, l, epochTime, "a", "b")); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- l.Sync() }()
	<-fsys.stalled
	if got := readAll(t, l, 0, 100); len(got) != 2 {
		t.Fatal(got)
	}
	if o, err := l.OffsetAt(epochTime, 2); err != nil || o != 0 {
		t.Fatal(o, err)
	}
	select {
	case err := <-done:
		t.Fatalf("the sync did not stall: %v", err)
	default:
	}
	close(fsys.goOn)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestAParkedLogCostsLittle holds the memory of an idle partition's log, and that
// it has no open file.
func TestAParkedLogCostsLittle(t *testing.T) {
	const n, most = 200, 2 << 10
	fsys := faultfs.New(1)
	logs := make([]*Log, n)
	for i := range logs {
		l, _, err := Open(Options{FS: fsys, Dir: fsys.PathJoin("/data", DirName("t", protocol.PartitionID{N: i}))})
		if err != nil {
			t.Fatal(err)
		}
		put(t, l, epochTime, "a")
		readAll(t, l, 0, 100)
		if err := l.Park(); err != nil {
			t.Fatal(err)
		}
		logs[i] = l
	}
	if h := fsys.Handles(); h > 0 {
		t.Fatalf("%d files are open", h)
	}
	with := heap()
	for i, l := range logs {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		logs[i] = nil
	}
	cost := (int64(with) - int64(heap())) / n
	t.Logf("%d bytes for each parked log", cost)
	if cost > most {
		t.Fatalf("a parked log holds %d bytes, more than %d", cost, most)
	}
	runtime.KeepAlive(fsys)
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
