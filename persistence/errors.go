package persistence

import (
	"errors"
	"fmt"

	"metaq/internal/vfs"
	"metaq/protocol"
)

// ErrClosed is returned by every use of a log after Close.
var ErrClosed = errors.New("log is closed")

// ErrRefused is wrapped by the error of an Append whose batches do not continue
// the log, and of a TruncateTo whose offset is no boundary of a batch. The log is
// as before.
var ErrRefused = errors.New("refused")

// DamageError says that bytes which had been on disk are not what was written,
// or are gone. It is never a torn tail. The log cannot be used from Offset on
// until an operator has looked; nothing was changed on disk.
type DamageError struct {
	Path     string          // file, or directory when a file is missing
	Position int64           // byte place in the file
	Offset   protocol.Offset // first record that is concerned
	Why      string
}

// Error names the file, the position and the record.
func (e *DamageError) Error() string {
	return fmt.Sprintf("damage in %s at byte %d (record %d): %s; look with `metaq log check` and restore the file from a copy",
		e.Path, e.Position, e.Offset, e.Why)
}

// Damaged tells those who do not know this type what the error means.
func (e *DamageError) Damaged() bool { return true }

// diskError wraps err with what was done, and with protocol.ErrDiskFull when
// that is the reason, or as refusedOpen does.
func diskError(verb, path string, err error) error {
	if vfs.IsDiskFull(err) {
		return fmt.Errorf("%s %s: %w: %w", verb, path, protocol.ErrDiskFull, err)
	}
	return fmt.Errorf("%s %s: %w", verb, path, refusedOpen(err))
}

// refusedOpen makes err wrap protocol.ErrUnavailable when the process had no descriptor
// for a file. Only opening a file fails so: nothing was read or written.
func refusedOpen(err error) error {
	if vfs.IsTooManyOpen(err) {
		return fmt.Errorf("%w: %w", protocol.ErrUnavailable.With("raise the descriptor limit of the broker (ulimit -n), or lower maxOpenLogFiles"), err)
	}
	return err
}

// isRefusal reports whether err means that the log is as it was.
func isRefusal(err error) bool {
	return vfs.IsDiskFull(err) || errors.Is(err, protocol.ErrUnavailable)
}
