//go:build unix

package zktest

import (
	"os"
	"syscall"
)

var (
	pause  os.Signal = syscall.SIGSTOP
	resume os.Signal = syscall.SIGCONT
)
