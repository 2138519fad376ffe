package vfs

import (
	"io/fs"
	"os"

	pebble "github.com/cockroachdb/pebble/v2/vfs"
)

// Default is the operating system's file system.
var Default FS = system{pebble.Default}

// system is the library's file system but for opening files: the library asks
// the system for what it can do each time, with six calls more than the opening
// itself takes, and a start opens every partition.
type system struct{ FS }

// Open implements FS.
func (system) Open(name string, options ...OpenOption) (File, error) {
	return opened(name, os.O_RDONLY, options)
}

// OpenReadWrite implements FS.
func (system) OpenReadWrite(name string, _ DiskWriteCategory, options ...OpenOption) (File, error) {
	return opened(name, os.O_RDWR|os.O_CREATE, options)
}

func opened(name string, flags int, options []OpenOption) (File, error) {
	f, err := os.OpenFile(name, flags, 0o666)
	if err != nil {
		return nil, err
	}
	file := systemFile{f}
	for _, o := range options {
		o.Apply(file)
	}
	return file, nil
}

// systemFile is a file of the system's. It gives no hints: nothing here asks for
// them.
type systemFile struct{ *os.File }

func (systemFile) Prefetch(_, _ int64) error    { return nil }
func (systemFile) Preallocate(_, _ int64) error { return nil }

// SyncTo implements File: it may do nothing.
func (systemFile) SyncTo(int64) (bool, error) { return false, nil }

// Stat implements File.
func (f systemFile) Stat() (FileInfo, error) {
	i, err := f.File.Stat()
	if err != nil {
		return nil, err
	}
	return systemInfo{i}, nil
}

// systemInfo is a FileInfo that does not say which disk it is on.
type systemInfo struct{ fs.FileInfo }

func (systemInfo) DeviceID() DeviceID { return DeviceID{} }
