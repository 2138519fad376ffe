package messagedir

import (
	"errors"
	"fmt"
)

// Compare with errors.Is; the errors that a caller gets say more.
var (
	// ErrFull is returned by Store.Keep when the kept records would take more than
	// Options.Limit. The record was not taken.
	ErrFull = errors.New("no room for another kept record")
	// ErrInUse is returned by Dir.OpenConsumer while another consumer, of this
	// process or of another one, has what was asked for.
	ErrInUse = errors.New("in use by another consumer")
)

// DamageError says that a file is not what this package wrote: bytes in the middle
// are wrong, or it is another consumer's. Nothing was changed.
type DamageError struct {
	Path string
	Pos  int64 // byte place of what is wrong
	Why  string
}

// Error names file and place and says what to do.
func (e *DamageError) Error() string {
	return fmt.Sprintf("%s is damaged at byte %d: %s; move it away to continue without its records", e.Path, e.Pos, e.Why)
}
