package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ballast is a file without data whose pages fill the page cache, as those of other files
// do on a machine that has run for a while.
//
// In a virtual machine that gives free memory back to its host, the first use of a page
// waits for the host: 9 us for 4 KiB were seen, 40 times what taking one from another file
// costs. A file of 4 GB was written and synced at 0.4 GB/s in fresh memory and at 1.3 GB/s
// in such, so that it was the host that was measured, and whatever the measurement before
// had left.
type ballast struct {
	file   *os.File
	size   int64
	enough int64 // bytes of memory that may stay free
	at     int64 // where the next step begins
}

const (
	ballastSize = 64 << 30
	ballastStep = 8 << 20
	ballastPart = 64 // of all memory may stay free: the system keeps about as much
)

// newBallast returns nil where the machine is not a virtual one, or dir is in memory.
func newBallast(dir string) (*ballast, error) {
	cpu, err := os.ReadFile("/proc/cpuinfo")
	if err != nil || !strings.Contains(string(cpu), " hypervisor") || strings.HasPrefix(fileSystem(dir), "tmpfs") {
		return nil, err
	}
	total, _, err := memory()
	if err != nil {
		return nil, err
	}
	return newBallastOf(dir, ballastSize, total/ballastPart)
}

func newBallastOf(dir string, size, enough int64) (*ballast, error) {
	f, err := os.Create(filepath.Join(dir, "ballast"))
	if err != nil {
		return nil, err
	}
	b := &ballast{file: f, size: size, enough: enough}
	if err := f.Truncate(size); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

// fill takes most of the memory that is free now. Its pages count as used once, so they
// are the first to go when a system that is measured wants some. Each call goes on where
// the one before it ended: those pages are most often still there.
func (b *ballast) fill(ctx context.Context) error {
	if b == nil {
		return nil
	}
	for filled := int64(0); filled < b.size && ctx.Err() == nil; filled += ballastStep {
		_, free, err := memory()
		if err != nil {
			return err
		}
		if free <= b.enough {
			break
		}
		if err := unix.Fadvise(int(b.file.Fd()), b.at, ballastStep, unix.FADV_WILLNEED); err != nil {
			return fmt.Errorf("fill the page cache: %w", err)
		}
		b.at = (b.at + ballastStep) % b.size
	}
	return ctx.Err()
}

func (b *ballast) close() error {
	if b == nil {
		return nil
	}
	return errors.Join(b.file.Close(), os.Remove(b.file.Name()))
}
