package faultfs

import (
	"syscall"

	"metaq/internal/vfs"
)

// OpenDirect implements what vfs.OpenDirect looks for. A direct write is as little
// durable as any other until a sync.
func (y *FS) OpenDirect(name string) (vfs.DirectFile, error) {
	f, err := y.open(OpOpen, name, false, false)
	if err != nil {
		return nil, err
	}
	return &directFile{f, name}, nil
}

type directFile struct {
	vfs.File
	path string
}

// WriteAt refuses what a disk would refuse.
func (f *directFile) WriteAt(p []byte, at int64) (int, error) {
	if !vfs.IsAligned(p, at) {
		return 0, pathError(OpWrite, f.path, syscall.EINVAL)
	}
	return f.File.WriteAt(p, at)
}
