//go:build unix

package cli

import (
	"errors"
	"os"
	"os/signal"
	"syscall"
)

func isClosedPipe(err error) bool { return errors.Is(err, syscall.EPIPE) }

// KeepClosedPipes makes a write to a closed stdout or stderr an error, in place of
// the process's end in the middle of its work: a consumer still leaves its group,
// and a broker does not die with the reader of its log.
func KeepClosedPipes() {
	// Not Ignore, which the processes that this one starts would inherit.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
}
