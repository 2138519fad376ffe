package vfs

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"metaq/internal/aligned"
)

// SyncData makes the bytes durable, and of what the file system notes about the
// file only what is needed to read them again.
func (f systemFile) SyncData() error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := c.Control(func(fd uintptr) {
		for {
			if failed = unix.Fdatasync(int(fd)); !errors.Is(failed, unix.EINTR) {
				return
			}
		}
	}); err != nil {
		return err
	}
	return os.NewSyscallError("fdatasync", failed)
}

// OpenDirect opens the file with O_DIRECT, where a page of the cache is one block: with
// several, older kernels let who reads at the end keep a page that is half new.
func (system) OpenDirect(path string) (DirectFile, error) {
	var about unix.Statfs_t
	if err := unix.Statfs(path, &about); err != nil {
		return nil, os.NewSyscallError("statfs", err)
	}
	if page := os.Getpagesize(); page > aligned.Block || about.Bsize < int64(page) {
		return nil, fmt.Errorf("%w: a page has %d bytes and a block %d", ErrUnsupported, page, about.Bsize)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|unix.O_DIRECT, 0)
	if errors.Is(err, unix.EINVAL) {
		return nil, fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}
