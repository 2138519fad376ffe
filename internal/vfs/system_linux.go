package vfs

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
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
