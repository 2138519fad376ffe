package zktest

import (
	"os/exec"
	"syscall"
)

// dieWithParent lets no server outlive a test program that crashed.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
