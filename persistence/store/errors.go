package store

import (
	"fmt"

	"metaq/internal/vfs"
)

// DirError wraps err with what can be done about a data directory that cannot be used.
func DirError(dir string, err error) error {
	switch {
	case err == nil:
		return nil
	case vfs.IsDiskFull(err):
		return fmt.Errorf("no room on the disk of data directory %s: %w: make room there, or choose another directory with --data or dataPath=", dir, err)
	default:
		return fmt.Errorf("cannot use data directory %s: %w: make it writable for this user, or choose another one with --data or dataPath=", dir, err)
	}
}

// Exists reports whether there is a file or directory of that name.
func Exists(fsys vfs.FS, path string) (bool, error) {
	_, err := fsys.Stat(path)
	if vfs.IsNotExist(err) {
		return false, nil
	}
	return err == nil, err
}
