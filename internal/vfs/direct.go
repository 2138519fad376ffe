package vfs

import (
	"io"
	"unsafe"
)

// DirectBlock is what a DirectFile asks of each write: its place, its length and the
// address of its bytes are multiples of it. Disks have blocks of 512 or 4096 bytes.
const DirectBlock = 4096

// DirectFile is a file that is written past the system's cache. A write has reached the
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
	return at%DirectBlock == 0 && len(b)%DirectBlock == 0 && misaligned(b) == 0
}

// Aligned returns n zero bytes for a DirectFile.
func Aligned(n int) []byte {
	b := make([]byte, n+DirectBlock)
	from := (DirectBlock - misaligned(b)) % DirectBlock
	return b[from : from+n : from+n]
}

func misaligned(b []byte) int {
	return int(uintptr(unsafe.Pointer(unsafe.SliceData(b))) % DirectBlock)
}
