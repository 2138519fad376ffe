package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// The exit codes of every command.
const (
	ExitOK      = 0 // done
	ExitProblem = 1 // a problem was met or found
	ExitUsage   = 2 // the command was not written as it should be
)

// UsageError says that the command line is wrong, not what it met.
type UsageError struct{ Err error }

// Error returns the text of Err.
func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *UsageError) Unwrap() error { return e.Err }

// Usage marks err as wrong usage; nil stays nil.
func Usage(err error) error {
	if err == nil {
		return nil
	}
	return &UsageError{Err: err}
}

// Usagef returns a UsageError with the text given.
func Usagef(format string, args ...any) error {
	return &UsageError{Err: fmt.Errorf(format, args...)}
}

// ExitCode returns the exit code that tells err.
func ExitCode(err error) int {
	var usage *UsageError
	switch {
	case err == nil, errors.Is(err, ErrOutputClosed):
		return ExitOK
	case errors.As(err, &usage):
		return ExitUsage
	default:
		return ExitProblem
	}
}

// Report writes err to w, "metaq: " before each of its lines, and returns the
// exit code that tells it.
func Report(w io.Writer, err error) int {
	if err != nil && !errors.Is(err, ErrReported) && !errors.Is(err, ErrOutputClosed) {
		for line := range strings.Lines(err.Error()) {
			// What cannot be written to stderr cannot be told anywhere.
			_, _ = fmt.Fprintf(w, "metaq: %s\n", strings.TrimRight(line, "\r\n"))
		}
	}
	return ExitCode(err)
}

// ErrReported is a problem that the user has been told of already: Report
// writes nothing and the exit code is ExitProblem.
var ErrReported = errors.New("reported")

// Advise adds to err what to do next, if it is target.
func Advise(err, target error, format string, args ...any) error {
	if !errors.Is(err, target) {
		return err
	}
	return fmt.Errorf("%w; "+format, append([]any{err}, args...)...)
}
