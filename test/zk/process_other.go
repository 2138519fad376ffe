//go:build !linux

package zktest

import "os/exec"

// dieWithParent can only be had from Linux.
func dieWithParent(*exec.Cmd) {}
