package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// The modes of what is made. Data is for the broker's own user: messages, committed offsets
// and secrets of the registry lie in these files, and the umask of whoever started the
// broker must not decide who reads them.
const (
	fileMode fs.FileMode = 0o600
	dirMode  fs.FileMode = 0o700
)

// FS is a file system. It may be used from any goroutine. Paths are made with its PathJoin.
// Its errors are found with IsNotExist, IsDiskFull, IsTooManyOpen and IsHeld.
type FS interface {
	// Create creates the file for reading and writing, and removes a file of that name.
	Create(path string) (File, error)
	// Open opens a file for reading.
	Open(path string) (File, error)
	// OpenReadWrite opens the file for reading and writing, and creates it when it is
	// missing.
	OpenReadWrite(path string) (File, error)
	// OpenDir opens a directory, to sync it.
	OpenDir(path string) (File, error)

	// Remove removes a file or an empty directory; RemoveAll a directory with all that is
	// in it, and nothing is no error.
	Remove(path string) error
	RemoveAll(path string) error
	// Rename replaces a file of the new name in one step.
	Rename(from, to string) error
	// MkdirAll creates the directory and its parents, not durably: see MakeDir.
	MkdirAll(dir string) error
	// Lock creates the file and locks it until Close, or the end of the process. An error
	// for which IsHeld reports true means that it is locked.
	Lock(path string) (io.Closer, error)

	// List returns the names in a directory, in no order.
	List(dir string) ([]string, error)
	// Stat describes a file or directory.
	Stat(path string) (FileInfo, error)
	// DiskUsage reports how full the disk is on which the path lies.
	DiskUsage(path string) (DiskUsage, error)

	// PathBase, PathJoin and PathDir are those of package path/filepath for this file
	// system.
	PathBase(path string) string
	PathJoin(elem ...string) string
	PathDir(path string) string
}

// File is an open file or directory. ReadAt may be called from any goroutine, also during
// writes; Write, WriteAt and the syncs from one at a time.
type File interface {
	io.ReadWriteCloser
	io.ReaderAt
	io.WriterAt
	Stat() (FileInfo, error)
	// Sync makes all of the file durable: bytes, size and times; of a directory its names.
	Sync() error
	// SyncData makes the bytes durable, and of the rest what is needed to read them.
	SyncData() error
}

// FileInfo describes a file.
type FileInfo = fs.FileInfo

// DiskUsage is how full a disk is, in bytes.
type DiskUsage struct {
	Available uint64 // for this process: what is kept for root is not in it
	Total     uint64
}

// ErrUnsupported is returned for what a file system cannot do.
var ErrUnsupported = errors.New("not supported by this file system")

// ErrHeld is returned by FS.Lock for a file that somebody holds locked.
var ErrHeld = errors.New("the file is locked by another process, or by this one")

// IsNotExist says whether err means that a file or directory is not there.
func IsNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// IsHeld reports whether err, of FS.Lock, means that somebody holds the lock; if not, its
// file cannot be opened.
func IsHeld(err error) bool { return errors.Is(err, ErrHeld) }

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
	if err := fsys.MkdirAll(dir); err != nil {
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
