package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	pebble "github.com/cockroachdb/pebble/v2/vfs"
)

// Default is the operating system's file system.
var Default FS = system{pebble.Default}

// system is the library's file system but for opening and making files: the library
// asks the system for what it can do each time, with six calls more than the opening
// itself takes, and a start opens every partition; and it makes files that everybody
// may read.
type system struct{ FS }

// What is made is for the user alone that the process runs as: messages, and what a
// registry keeps. What exists already keeps its mode.
const (
	fileMode = 0o600
	dirMode  = 0o700
)

// Create implements FS: it makes the file anew.
func (system) Create(name string, _ DiskWriteCategory) (File, error) {
	const flags = os.O_RDWR | os.O_CREATE | os.O_EXCL
	f, err := os.OpenFile(name, flags, fileMode)
	if errors.Is(err, fs.ErrExist) {
		// A new file, not the old one emptied: who has that open goes on reading it.
		if err = os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		f, err = os.OpenFile(name, flags, fileMode)
	}
	if err != nil {
		return nil, err
	}
	return systemFile{f}, nil
}

// MkdirAll implements FS. No directory is made for others, whatever perm says.
func (s system) MkdirAll(dir string, perm fs.FileMode) error {
	return s.FS.MkdirAll(dir, perm&dirMode)
}

// Lock implements FS.
func (s system) Lock(name string) (io.Closer, error) {
	// The library would make the file for everybody. Only one that is not there is opened
	// here: to close a second descriptor of a locked file gives the lock up.
	if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
		if err == nil {
			err = f.Close()
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("make lock file: %w", err)
		}
	}
	return s.FS.Lock(name)
}

// Open implements FS.
func (system) Open(name string, options ...OpenOption) (File, error) {
	return opened(name, os.O_RDONLY, options)
}

// OpenReadWrite implements FS.
func (system) OpenReadWrite(name string, _ DiskWriteCategory, options ...OpenOption) (File, error) {
	return opened(name, os.O_RDWR|os.O_CREATE, options)
}

func opened(name string, flags int, options []OpenOption) (File, error) {
	f, err := os.OpenFile(name, flags, fileMode)
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
