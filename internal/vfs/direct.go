package vfs

import (
	"io"

	"metaq/internal/aligned"
)

// DirectFile is a file that is written past the system's cache, in blocks of package aligned. A write has reached the
// disk, but perhaps not its medium, when WriteAt returns: SyncData of the same file,
// opened as usual, comes after it. Other reads of the file see what was written.
type DirectFile interface {
	io.WriterAt
	io.Closer
}

// OpenDirect opens a file that is there for writes past the system's cache. The error
// wraps ErrUnsupported where there is no such thing.
func OpenDirect(fsys FS, path string) (DirectFile, error) {
	d, ok := fsys.(interface {
		OpenDirect(path string) (DirectFile, error)
	})
	if !ok {
		return nil, ErrUnsupported
	}
	return d.OpenDirect(path)
}

// IsAligned says whether a DirectFile takes b at byte at.
func IsAligned(b []byte, at int64) bool {
	return at%aligned.Block == 0 && len(b)%aligned.Block == 0 && aligned.Misaligned(b) == 0
}
