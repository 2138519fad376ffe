package cli

import (
	"errors"
	"syscall"
)

// Windows' errors for a pipe whose other end is closed, or about to be.
const (
	errBrokenPipe = syscall.Errno(109)
	errNoData     = syscall.Errno(232)
)

func isClosedPipe(err error) bool { return errors.Is(err, errBrokenPipe) || errors.Is(err, errNoData) }

// KeepClosedPipes does nothing: there is no signal for a closed pipe.
func KeepClosedPipes() {}
