package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

func osText() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "linux"
	}
	return "Linux " + unix.ByteSliceToString(u.Release[:]) + " " + unix.ByteSliceToString(u.Machine[:])
}

func cpuModel() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(b)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func memoryGiB() float64 {
	total, _, err := memory()
	if err != nil {
		return 0
	}
	return float64(total) / (1 << 30)
}

// memory is all of it, and what nothing uses, in bytes.
func memory() (total, free int64, err error) {
	var i unix.Sysinfo_t
	if err := unix.Sysinfo(&i); err != nil {
		return 0, 0, fmt.Errorf("read how much memory there is: %w", err)
	}
	unit := int64(i.Unit)
	return int64(i.Totalram) * unit, int64(i.Freeram) * unit, nil
}

// fileSystem names the kind of file system that dir is on. In memory there is no
// sync to measure, so a report from there says so.
func fileSystem(dir string) string {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return "unknown"
	}
	switch int64(s.Type) {
	case unix.EXT4_SUPER_MAGIC:
		return "ext4"
	case unix.XFS_SUPER_MAGIC:
		return "xfs"
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs"
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlay"
	case unix.TMPFS_MAGIC:
		return "tmpfs: in memory, figures with a sync mean nothing"
	}
	return fmt.Sprintf("type %#x", s.Type)
}
