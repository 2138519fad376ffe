package persistence

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"metaq/internal/aligned"
	"metaq/protocol"
)

// BenchmarkScaleOpen opens 10,000 partitions after an unclean stop, as a
// broker does at its start, so many at once, and reports the time for all.
func BenchmarkScaleOpen(b *testing.B) {
	const n = 10_000
	dir := b.TempDir()
	options := func(i int) Options {
		return Options{Dir: filepath.Join(dir, DirName("t", protocol.PartitionID{N: i}))}
	}
	for i := range n {
		l, _, err := Open(options(i))
		if err != nil {
			b.Fatal(err)
		}
		put(b, l, epochTime, strings.Repeat("x", 1000))
		l.letGo() // as a crash does: nothing is noted
	}
	for _, workers := range []int{1, 16} {
		b.Run(fmt.Sprint(workers), func(b *testing.B) {
			for b.Loop() {
				began := time.Now()
				var next atomic.Int64
				var wg sync.WaitGroup
				for range workers {
					wg.Go(func() {
						for i := next.Add(1); i <= n; i = next.Add(1) {
							l, _, err := Open(options(int(i - 1)))
							if err != nil || l.Next() != 1 {
								b.Error(err)
							}
						}
					})
				}
				wg.Wait()
				b.ReportMetric(time.Since(began).Seconds(), "s/10000")
			}
		})
	}
}

// BenchmarkScaleTails opens 100 partitions of 1 GiB after an unclean stop, and
// reports the time for all. The segments are holes up to their last index entry,
// which must not be read; as much as a tail can be lies behind it.
func BenchmarkScaleTails(b *testing.B) {
	const n, size, first = 100, 1 << 30, protocol.Offset(1_000_000)
	dir := b.TempDir()
	options := func(i int) Options {
		return Options{Dir: filepath.Join(dir, DirName("t", protocol.PartitionID{N: i})), SegmentSize: 2 * size}
	}
	var end []byte
	next := first
	for ; len(end) < defaultIndexInterval; next++ {
		end = append(end, stampedAt(b, next, protocol.Position(next)*1020, 0, 1, epochTime, strings.Repeat("x", 1000))...)
	}
	entry := indexEntry{offset: first, at: size - int64(len(end)), time: epochTime}
	for i := range n {
		l, _, err := Open(options(i))
		if err != nil {
			b.Fatal(err)
		}
		l.letGo() // as a crash does: nothing is noted
		s := l.active()
		f, err := l.fs.OpenReadWrite(s.path)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := f.WriteAt(end, entry.at); err != nil {
			b.Fatal(err)
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			b.Fatal(err)
		}
		if err := writeIndex(l.fs, l.dir, s.base, []indexEntry{entry}); err != nil {
			b.Fatal(err)
		}
	}
	took, runs := time.Duration(0), 0
	for b.Loop() {
		began := time.Now()
		for i := range n {
			l, r, err := Open(options(i))
			if err != nil || r.Next != next || r.Clean || r.TornFile != "" {
				b.Fatalf("%+v, %v; want the log to end at %d", r, err, next)
			}
			l.letGo()
		}
		took += time.Since(began)
		runs++
	}
	b.ReportMetric(took.Seconds()/float64(runs), "s/100GiB")
}

// BenchmarkAppendSync appends and syncs groups of records of 1 KB, as group commit
// does for so many producers: large ones past the system's cache, and all through it, as
// when somebody reads.
func BenchmarkAppendSync(b *testing.B) {
	for _, c := range []struct {
		name  string
		least int
		group int
	}{
		{"1", 0, 1},
		{"16", 0, 16},
		{"16-cached", -1, 16},
		{"256", 0, 256},
		{"256-cached", -1, 256},
		{"1024", 0, 1024},
		{"1024-cached", -1, 1024},
	} {
		b.Run(c.name, func(b *testing.B) {
			group := c.group
			l, _ := openLog(b, Options{Dir: b.TempDir(), DirectLeast: c.least})
			values := make([]string, group)
			for i := range values {
				values[i] = strings.Repeat("x", 1000)
			}
			batch := stamped(b, l, epochTime, values...)
			around := aligned.New(aligned.Up(len(batch)) + aligned.Block)
			h, err := protocol.ParseBatchHeader(batch)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(group) * 1000)
			for b.Loop() {
				protocol.StampBatch(batch, protocol.Stamp{Base: l.Next(), Position: l.NextPosition(), MaxTime: epochTime, MetaqLen: h.MetaqLen})
				in := around[l.Lead():] // a copy, as when messages are collected
				if err := errors.Join(l.AppendIn(in[:copy(in, batch)], around), l.Sync()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(group)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

// BenchmarkRead reads a log in order, 1 MB at a time.
func BenchmarkRead(b *testing.B) {
	l, _ := openLog(b, Options{Dir: b.TempDir()})
	for range 64 {
		var values []string
		for range 1000 {
			values = append(values, strings.Repeat("x", 1000))
		}
		if err := l.Append(stamped(b, l, epochTime, values...)); err != nil {
			b.Fatal(err)
		}
	}
	var buf []byte
	at := protocol.Offset(0)
	for b.Loop() {
		out, err := l.Read(buf[:0], at, l.Next(), 1<<20)
		if err != nil {
			b.Fatal(err)
		}
		buf = out
		b.SetBytes(int64(len(out)))
		for len(out) > 0 {
			h, err := protocol.ParseBatchHeader(out)
			if err != nil {
				b.Fatal(err)
			}
			at, out = h.Next(), out[h.Length:]
		}
		if at == l.Next() {
			at = 0
		}
	}
}
