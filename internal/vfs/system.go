package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
)

// Default is the operating system's file system.
var Default FS = system{}

type system struct{}

// Create implements FS. A file that others have open keeps its content.
func (system) Create(path string) (File, error) {
	const flags = os.O_RDWR | os.O_CREATE | os.O_EXCL
	f, err := opened(path, flags)
	if errors.Is(err, fs.ErrExist) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		f, err = opened(path, flags)
	}
	return f, err
}

// Open implements FS.
func (system) Open(path string) (File, error) { return opened(path, os.O_RDONLY) }

// OpenReadWrite implements FS.
func (system) OpenReadWrite(path string) (File, error) { return opened(path, os.O_RDWR|os.O_CREATE) }

// OpenDir implements FS.
func (system) OpenDir(path string) (File, error) { return openDir(path) }

// opened returns a nil File with an error, not a File that holds nothing.
func opened(path string, flags int) (File, error) {
	f, err := os.OpenFile(path, flags, fileMode)
	if err != nil {
		return nil, err
	}
	return systemFile{f}, nil
}

func (system) Remove(path string) error     { return os.Remove(path) }
func (system) RemoveAll(path string) error  { return os.RemoveAll(path) }
func (system) Rename(from, to string) error { return os.Rename(from, to) }
func (system) MkdirAll(dir string) error    { return os.MkdirAll(dir, dirMode) }

// Lock implements FS. The lock belongs to the open file, so a second one in the same process
// is refused as well.
func (system) Lock(path string) (io.Closer, error) {
	l := flock.New(path, flock.SetPermissions(fileMode))
	switch locked, err := l.TryLock(); {
	case err != nil:
		return nil, fmt.Errorf("lock %s: %w", path, err)
	case !locked:
		return nil, fmt.Errorf("lock %s: %w", path, ErrHeld)
	}
	return l, nil
}

// List implements FS.
func (system) List(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	names, err := d.Readdirnames(-1)
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return names, err
}

func (system) Stat(path string) (FileInfo, error)       { return os.Stat(path) }
func (system) DiskUsage(path string) (DiskUsage, error) { return diskUsage(path) }
func (system) PathBase(path string) string              { return filepath.Base(path) }
func (system) PathJoin(elem ...string) string           { return filepath.Join(elem...) }
func (system) PathDir(path string) string               { return filepath.Dir(path) }

// systemFile is a file of the system's.
type systemFile struct{ *os.File }
