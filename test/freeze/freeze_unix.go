//go:build unix

package freeze

import (
	"os"
	"syscall"
)

// Freeze stops a child process until Thaw: its connections stay open and nothing answers.
// The signal alone does not say when: each of the process's threads stops for itself, and
// may answer until then. On Linux it returns when all have stopped.
func Freeze(p *os.Process) error {
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	return awaitStop(p)
}

// Thaw lets a frozen process go on.
func Thaw(p *os.Process) error { return p.Signal(syscall.SIGCONT) }
