package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// diskBlocks are the sizes of a write that the ceiling is tried with.
var diskBlocks = []int{256 << 10, 1 << 20, 4 << 20}

// disk is the ceiling of a log on this disk: a file that grows by plain writes,
// each followed by fdatasync. One message a write for kindSync; else the block
// size that is the fastest, counted in messages of the row's size.
func (l *load) disk(ctx context.Context) (*loadResult, error) {
	f, err := os.Create(filepath.Join(l.spec.Dir, "ceiling"))
	if err != nil {
		return nil, err
	}
	res, err := l.diskOn(ctx, f)
	return res, errors.Join(err, f.Close(), os.Remove(f.Name()))
}

func (l *load) diskOn(ctx context.Context, f *os.File) (*loadResult, error) {
	if l.spec.Kind == kindSync {
		return l.oneByOne(ctx, func(payload []byte) error { return writeSync(f, payload) })
	}
	best, most := 0, 0.0
	for _, block := range diskBlocks {
		_, rate, err := writeBlocks(ctx, f, block, l.spec.Warmup/time.Duration(len(diskBlocks)))
		if err != nil {
			return nil, err
		}
		if rate > most {
			best, most = block, rate
		}
	}
	if err := l.begin(); err != nil {
		return nil, err
	}
	bytes, rate, err := writeBlocks(ctx, f, best, l.spec.Duration)
	if err = errors.Join(err, l.end()); err != nil {
		return nil, err
	}
	size := float64(l.spec.Size)
	return &loadResult{
		Messages: int64(float64(bytes) / size), Seconds: float64(bytes) / rate, Rate: rate / size,
		How: fmt.Sprintf("blocks of %d KiB", best>>10),
	}, nil
}

// writeBlocks returns the bytes that it wrote and synced, and bytes a second.
func writeBlocks(ctx context.Context, f *os.File, block int, d time.Duration) (bytes int64, rate float64, err error) {
	const limit = 1 << 30 // then the file begins anew, as a segment would
	p := newPayloads(block)
	start := time.Now()
	for at := int64(0); bytes == 0 || time.Since(start) < d && ctx.Err() == nil; at += int64(block) {
		if at >= limit {
			at = 0
			if err := restart(f); err != nil {
				return 0, 0, err
			}
		}
		if err := writeSync(f, p.take(start)); err != nil {
			return 0, 0, err
		}
		bytes += int64(block)
	}
	return bytes, float64(bytes) / time.Since(start).Seconds(), errors.Join(ctx.Err(), restart(f))
}

func restart(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.Seek(0, 0)
	return err
}

func writeSync(f *os.File, b []byte) error {
	if _, err := f.Write(b); err != nil {
		return err
	}
	return fdatasync(f)
}
