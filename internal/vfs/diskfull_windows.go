package vfs

import (
	"syscall"

	"golang.org/x/sys/windows"
)

// diskFull are the errors of a disk without room. Go's own ENOSPC is what tests
// inject.
var diskFull = []error{windows.ERROR_DISK_FULL, windows.ERROR_HANDLE_DISK_FULL, windows.ERROR_DISK_QUOTA_EXCEEDED, syscall.ENOSPC}

// tooManyOpen are the errors of a process without a free handle.
var tooManyOpen = []error{windows.ERROR_TOO_MANY_OPEN_FILES, syscall.EMFILE, syscall.ENFILE}
