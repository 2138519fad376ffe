package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"
)

// Bounds of settle.
const (
	settleMost  = 15 * time.Second       // the longest wait
	settleLook  = 300 * time.Millisecond // how long the disk has to be at rest
	settleLong  = 3 * time.Second        // the same before latencies are measured
	settleTimes = 20                     // a sync may take so many times its usual time
)

// rest brings the machine to rest before each measurement.
type rest struct {
	dir     string        // on the disk that is measured
	usual   time.Duration // of a small sync
	ballast *ballast      // may be nil
}

// before returns false when the disk was still busy in the end.
func (r *rest) before(ctx context.Context, row *row) (bool, error) {
	if err := r.ballast.fill(ctx); err != nil {
		return false, err
	}
	look := settleLook
	if row.Kind == kindFlow || row.Kind == kindSync {
		look = settleLong
	}
	return settle(ctx, r.dir, r.usual, look)
}

// settle waits until the disk below dir is at rest: else a measurement pays for what
// the one before it left behind, pages that are still to be written and blocks of
// removed files that are still to be discarded, which comes in waves. usual is the time of
// a small sync, look how long the disk has to be at rest. It returns false when the disk
// was still busy after settleMost.
func settle(ctx context.Context, dir string, usual, look time.Duration) (bool, error) {
	for began := time.Now(); time.Since(began) < settleMost && ctx.Err() == nil; {
		syncAll()
		slowest, err := slowestSync(dir, look)
		if err != nil || slowest <= max(settleTimes*usual, 10*time.Millisecond) {
			return true, err
		}
	}
	return false, ctx.Err()
}

// slowestSync is the longest of the small syncs within some time.
func slowestSync(dir string, within time.Duration) (slowest time.Duration, err error) {
	f, err := os.Create(filepath.Join(dir, "settle"))
	if err != nil {
		return 0, err
	}
	block := make([]byte, 4096)
	for start := time.Now(); time.Since(start) < within && err == nil; {
		at := time.Now()
		err = writeSync(f, block)
		slowest = max(slowest, time.Since(at))
	}
	return slowest, errors.Join(err, f.Close(), os.Remove(f.Name()))
}
