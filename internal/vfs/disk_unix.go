//go:build unix

package vfs

import (
	"os"

	"golang.org/x/sys/unix"
)

func diskUsage(path string) (DiskUsage, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return DiskUsage{}, os.NewSyscallError("statfs", err)
	}
	// The types of these fields differ between systems.
	block := uint64(s.Bsize)
	return DiskUsage{Available: block * uint64(s.Bavail), Total: block * uint64(s.Blocks)}, nil
}

func openDir(path string) (File, error) { return opened(path, os.O_RDONLY) }
