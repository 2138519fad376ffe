//go:build !windows

package vfs

import "syscall"

// diskFull are the errors of a disk without room.
var diskFull = []error{syscall.ENOSPC, syscall.EDQUOT}

// tooManyOpen are the errors of a process, or a system, without a free descriptor.
var tooManyOpen = []error{syscall.EMFILE, syscall.ENFILE}
