package main

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestBallastFillsThePageCache(t *testing.T) {
	dir := t.TempDir()
	const size = 24 << 20
	b, err := newBallastOf(dir, size, 0)
	if err != nil {
		t.Fatal(err)
	}
	inMemory := func() (pages int) {
		t.Helper()
		m, err := unix.Mmap(int(b.file.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = unix.Munmap(m) }()
		there := make([]byte, size/os.Getpagesize())
		if _, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&m[0])), size, uintptr(unsafe.Pointer(&there[0]))); errno != 0 {
			t.Fatal(errno)
		}
		for _, page := range there {
			pages += int(page & 1)
		}
		return pages
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if err := b.fill(stopped); !errors.Is(err, context.Canceled) || inMemory() > 0 {
		t.Errorf("stopped at once: %v, %d pages", err, inMemory())
	}
	b.enough = 1 << 62
	if err := b.fill(t.Context()); err != nil || inMemory() > 0 {
		t.Errorf("little memory is free: %v, %d pages", err, inMemory())
	}
	b.enough = 0
	if err := b.fill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if pages, want := inMemory(), size/os.Getpagesize(); pages < want && !strings.HasPrefix(fileSystem(dir), "tmpfs") {
		t.Errorf("%d of %d pages are in memory", pages, want)
	}
	var s unix.Stat_t
	if err := unix.Fstat(int(b.file.Fd()), &s); err != nil || s.Blocks > 0 {
		t.Errorf("%d blocks on the disk: %v", s.Blocks, err)
	}
	if err := b.close(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%d files are left: %v", len(left), err)
	}
}
