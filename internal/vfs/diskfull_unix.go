//go:build !windows

package vfs

import "syscall"

// diskFull are the errors of a disk without room.
var diskFull = []error{syscall.ENOSPC, syscall.EDQUOT}
