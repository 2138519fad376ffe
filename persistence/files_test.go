package persistence

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"metaq/internal/vfs/faultfs"
	"metaq/protocol"
)

// openMany opens n logs that share a budget of limit files.
func openMany(t *testing.T, fsys *faultfs.FS, files *Files, n int) []*Log {
	t.Helper()
	logs := make([]*Log, n)
	for i := range logs {
		logs[i], _ = openLog(t, Options{
			FS: fsys, Dir: fmt.Sprintf("/data/t-0-%d", i), Now: newClock().now, Files: files, SegmentSize: 2000, IndexInterval: 200,
		})
	}
	return logs
}

// Logs keep to the budget however many there are, and those that were not used for
// longest close their files.
func TestManyLogsKeepToTheBudget(t *testing.T) {
	const n, limit = 40, 10
	fsys, files := faultfs.New(1), NewFiles(limit)
	logs := openMany(t, fsys, files, n)
	want := make([][]string, n)
	for round := range 20 {
		for i, l := range logs {
			v := fmt.Sprintf("%d-%d", i, round)
			put(t, l, epochTime, v)
			want[i] = append(want[i], v)
			if h, s := fsys.Handles(), files.Stats(); h > limit || h != s.Open {
				t.Fatalf("%d files are open and %d are counted, the limit is %d", h, s.Open, limit)
			}
		}
	}
	for i, l := range logs {
		if d := cmp.Diff(want[i], readAll(t, l, 0, 100)); d != "" {
			t.Fatalf("log %d: %s", i, d)
		}
	}
	if h := fsys.Handles(); h > limit {
		t.Fatalf("%d files are open after reads, the limit is %d", h, limit)
	}
	if files.Stats().Evicted == 0 {
		t.Fatal("no log closed its files")
	}
	put(t, logs[0], epochTime, "hot")
	opens := 0
	fsys.SetHook(func(op faultfs.Op) *faultfs.Fault {
		if op.Kind == faultfs.OpCreate && strings.HasPrefix(op.Path, logs[0].dir) && strings.HasSuffix(op.Path, segmentSuffix) {
			opens++
		}
		return nil
	})
	const puts = 10 // fit into its segment
	for i := range puts {
		put(t, logs[0], epochTime, "hot")
		put(t, logs[1+i], epochTime, "cold")
	}
	if opens > 1 {
		t.Errorf("a log that is used all the time opened its file %d times", opens)
	}
}

// The files of a log with unsynced writes are closed only after their sync, and only when
// no other log can close any.
func TestUnsyncedWritesAreSyncedBeforeTheirFileIsClosed(t *testing.T) {
	fsys, files := faultfs.New(1), NewFiles(2)
	logs := openMany(t, fsys, files, 4)
	for i, l := range logs {
		if err := l.Append(stamped(t, l, epochTime, fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	synced := 0
	for _, l := range logs {
		if l.Synced() == l.Next() {
			synced++
		}
	}
	if synced < 2 || synced == len(logs) || fsys.Handles() > 2 {
		t.Fatalf("%d of %d logs were synced, %d files are open", synced, len(logs), fsys.Handles())
	}
	after := fsys.Crash(0)
	for i, l := range logs {
		again, _, err := Open(Options{FS: after, Dir: l.dir})
		if err != nil {
			t.Fatal(err)
		}
		if again.Next() < l.Synced() {
			t.Errorf("log %d: a crash left %d records of %d", i, again.Next(), l.Synced())
		}
		if err := again.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A failed sync that was done for the sake of others fails the log: it acknowledges nothing
// any more.
func TestAFailedSyncForOthersFailsTheLog(t *testing.T) {
	fsys, files := faultfs.New(1), NewFiles(1)
	logs := openMany(t, fsys, files, 2)
	if err := logs[0].Append(stamped(t, logs[0], epochTime, "a")); err != nil {
		t.Fatal(err)
	}
	fsys.SetHook(func(op faultfs.Op) *faultfs.Fault {
		if op.Kind == faultfs.OpSync && strings.HasPrefix(op.Path, logs[0].dir) {
			return &faultfs.Fault{Err: syscall.EIO}
		}
		return nil
	})
	files.evict(true)
	fsys.SetHook(nil)
	if err := logs[0].Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("sync: %v", err)
	}
}

// While every file is in use an append waits for one, is refused in the end, and the log
// is as it was.
func TestAnAppendWaitsForAFileThenIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys, files := faultfs.New(1), NewFiles(1)
		logs := openMany(t, fsys, files, 2)
		put(t, logs[0], epochTime, "a")
		logs[0].enter() // in the middle of an append
		err := logs[1].Append(stamped(t, logs[1], epochTime, "b"))
		if !errors.Is(err, protocol.ErrUnavailable) || !strings.Contains(err.Error(), "maxOpenLogFiles") {
			t.Fatalf("append: %v", err)
		}
		done := make(chan error)
		go func() { done <- logs[1].Append(stamped(t, logs[1], epochTime, "c")) }()
		synctest.Wait()
		began := time.Now()
		logs[0].leave()
		if err := errors.Join(<-done, logs[1].Sync()); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(began); waited > 0 {
			t.Errorf("the append waited %s after the file was free", waited)
		}
		if got := readAll(t, logs[1], 0, 100); !cmp.Equal(got, []string{"c"}) {
			t.Fatal(got)
		}
	})
}

// A descriptor that the system does not have fails no log, at whatever open it is missing:
// what is refused is taken later.
func TestNoOpenThatLacksADescriptorFailsTheLog(t *testing.T) {
	for _, budget := range []bool{false, true} {
		for at := 1; ; at++ {
			fsys := faultfs.New(uint64(at))
			o := Options{FS: fsys, Dir: "/t-0-0", Now: newClock().now, SegmentSize: 2000, IndexInterval: 200}
			if budget {
				o.Files = NewFiles(3)
			}
			l, _ := openLog(t, o)
			opens, missing := 0, 0
			fsys.SetHook(func(op faultfs.Op) *faultfs.Fault {
				switch op.Kind {
				case faultfs.OpOpen, faultfs.OpOpenDir, faultfs.OpCreate:
					if opens++; opens >= at && missing < 5 { // it takes a while until others close theirs
						missing++
						return &faultfs.Fault{Err: syscall.EMFILE}
					}
				default:
				}
				return nil
			})
			var want []string
			for i := 0; i < 60; i++ {
				v := fmt.Sprintf("%0100d", i)
				switch err := l.Append(stamped(t, l, epochTime, v)); {
				case errors.Is(err, protocol.ErrUnavailable):
					continue
				case err != nil:
					t.Fatalf("open %d: append %d: %v", at, i, err)
				}
				if err := l.Sync(); err != nil {
					t.Fatalf("open %d: sync %d: %v", at, i, err)
				}
				want = append(want, v)
				if i%7 == 0 {
					if err := l.Park(); err != nil {
						t.Fatalf("open %d: park %d: %v", at, i, err)
					}
				}
				_, err := l.Read(nil, protocol.Offset(i/2), l.Next(), 100)
				if out := new(protocol.RangeError); err != nil && !errors.Is(err, protocol.ErrUnavailable) && !errors.As(err, &out) {
					t.Fatalf("open %d: read %d: %v", at, i, err)
				}
			}
			fsys.SetHook(nil)
			if d := cmp.Diff(want, readAll(t, l, 0, 500)); d != "" {
				t.Fatalf("open %d: %s", at, d)
			}
			if missing == 0 {
				break
			}
		}
	}
}

// TestLogsThatShareTooFewFiles appends to many logs at once, and reads them, with too few
// files for all: nothing that was acknowledged is lost by a crash in the end, and no file
// stays open.
func TestLogsThatShareTooFewFiles(t *testing.T) {
	const n, each, limit = 12, 60, 6
	fsys, files := faultfs.New(1), NewFiles(limit)
	logs := openMany(t, fsys, files, n)
	acked := make([]int, n)
	var wg sync.WaitGroup
	for i, l := range logs {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 0))
			for acked[i] < each {
				err := l.Append(stamped(t, l, epochTime, fmt.Sprintf("value-%d", l.Next())))
				if err == nil && rng.IntN(3) > 0 {
					if err = l.Sync(); err == nil {
						acked[i] = int(l.Next())
					}
				}
				if err != nil && !errors.Is(err, protocol.ErrUnavailable) {
					t.Errorf("log %d: %v", i, err)
					return
				}
			}
		})
		wg.Go(func() {
			for rng := rand.New(rand.NewPCG(uint64(i), 1)); l.Next() < each; {
				if _, err := l.Read(nil, protocol.Offset(rng.Int64N(int64(l.Next())+1)), each, 200); err != nil && !errors.Is(err, protocol.ErrUnavailable) {
					t.Errorf("log %d: read: %v", i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	after := fsys.Crash(0)
	for i := range logs {
		l, _ := openLog(t, Options{FS: after, Dir: logs[i].dir})
		got := readAll(t, l, 0, 1000)
		if len(got) < acked[i] || !cmp.Equal(got, values(0, len(got))) {
			t.Errorf("log %d: %d records are left of %d", i, len(got), acked[i])
		}
	}
	for _, l := range logs {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	if h, s := fsys.Handles(), files.Stats(); h > 0 || s.Open > 0 {
		t.Errorf("%d files are open, %d are counted", h, s.Open)
	}
}
