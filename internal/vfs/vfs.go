package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"

	pebble "github.com/cockroachdb/pebble/v2/vfs"
)

// FS is a file system. Paths are made with its PathJoin. It may be used from
// any goroutine.
type FS = pebble.FS

// File is an open file or directory. ReadAt may be called from any goroutine,
// also during writes; Write, WriteAt and the syncs from one at a time.
type File = pebble.File

// FileInfo describes a file.
type FileInfo = pebble.FileInfo

// The types that an implementation of FS mentions.
type (
	// DiskWriteCategory labels writes for statistics; nobody here reads it.
	DiskWriteCategory = pebble.DiskWriteCategory
	// OpenOption changes an open file, for example its read-ahead.
	OpenOption = pebble.OpenOption
	// DiskUsage says how full a disk is.
	DiskUsage = pebble.DiskUsage
	// DeviceID names a disk.
	DeviceID = pebble.DeviceID
)

// ErrUnsupported is returned for what a file system cannot tell.
var ErrUnsupported = pebble.ErrUnsupported

// InvalidFd is what File.Fd returns when there is no file of the system's.
const InvalidFd = pebble.InvalidFd

// NewMem returns an empty file system in memory, for tests.
func NewMem() FS { return pebble.NewMem() }

// Create makes the file anew for reading and writing, and removes a file that
// was there.
func Create(fsys FS, path string) (File, error) {
	return fsys.Create(path, pebble.WriteCategoryUnspecified)
}

// OpenReadWrite opens the file for reading and writing, and makes it when it is
// not there.
func OpenReadWrite(fsys FS, path string) (File, error) {
	return fsys.OpenReadWrite(path, pebble.WriteCategoryUnspecified)
}

// IsNotExist says whether err means that a file or directory is not there.
func IsNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// IsHeld says whether err, of FS.Lock, means that somebody holds the lock; if not,
// its file cannot be opened.
func IsHeld(err error) bool {
	var open *fs.PathError // of the systems that open and lock in two steps
	if err == nil || errors.Is(err, fs.ErrPermission) {
		return false
	}
	return !errors.As(err, &open) || errors.Is(err, syscall.EAGAIN)
}

// SyncDir makes the names in dir durable: creations, renames and removals.
func SyncDir(fsys FS, dir string) error {
	d, err := fsys.OpenDir(dir)
	if err != nil {
		return fmt.Errorf("open directory %s: %w", dir, err)
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return nil
}

// MakeDir makes dir and its parents, durably. It does nothing when dir is
// there: whoever puts the first file into dir syncs dir's parent once more, in
// case an earlier MakeDir failed there.
func MakeDir(fsys FS, dir string) error {
	_, err := fsys.Stat(dir)
	if err == nil {
		return nil
	}
	if !IsNotExist(err) {
		return fmt.Errorf("look at directory %s: %w", dir, err)
	}
	parent := fsys.PathDir(dir)
	if parent != dir {
		if err := MakeDir(fsys, parent); err != nil {
			return err
		}
		// The parent may be there and not be durable, for the same reason; a
		// directory that we may not read is not one in which we made it.
		if err := SyncDir(fsys, fsys.PathDir(parent)); err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
	}
	if err := fsys.MkdirAll(dir, dirMode); err != nil {
		return fmt.Errorf("make directory %s: %w", dir, err)
	}
	return SyncDir(fsys, parent)
}

// ReadFile returns the content of a file of at most limit bytes; a longer one
// is refused before anything is allocated.
func ReadFile(fsys FS, path string, limit int64) ([]byte, error) {
	f, err := fsys.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	b, err := readAll(f, path, limit)
	if cerr := f.Close(); err == nil && cerr != nil {
		return nil, fmt.Errorf("close %s: %w", path, cerr)
	}
	return b, err
}

func readAll(f File, path string, limit int64) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", path, err)
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("read %s: it has %d bytes, more than the %d that it may have", path, info.Size(), limit)
	}
	b := make([]byte, info.Size())
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return b[:n], nil
}

// Cut makes everything from byte at on blank: it shortens the file where that
// is possible, and else overwrites up to size, the file's size, with zeros. It
// does not sync.
func Cut(f File, at, size int64) error {
	if t, ok := f.(interface{ Truncate(size int64) error }); ok {
		return t.Truncate(at)
	}
	return Zero(f, at, size)
}

// zeros is what Zero writes from. Nobody writes to it.
var zeros [64 << 10]byte

// Zero overwrites the bytes from at up to end with zeros. It does not sync.
func Zero(f File, at, end int64) error {
	for at < end {
		n, err := f.WriteAt(zeros[:min(end-at, int64(len(zeros)))], at)
		if err != nil {
			return err
		}
		at += int64(n)
	}
	return nil
}
