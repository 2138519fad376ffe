package vfs

import (
	"os"

	"golang.org/x/sys/windows"
)

func diskUsage(path string) (DiskUsage, error) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return DiskUsage{}, err
	}
	var u DiskUsage
	if err := windows.GetDiskFreeSpaceEx(name, &u.Available, &u.Total, nil); err != nil {
		return DiskUsage{}, os.NewSyscallError("GetDiskFreeSpaceEx", err)
	}
	return u, nil
}

// directory is an open directory: names need no sync on this system, which has none for
// directories.
type directory struct{ systemFile }

func openDir(path string) (File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return directory{systemFile{f}}, nil
}

func (directory) Sync() error     { return nil }
func (directory) SyncData() error { return nil }
