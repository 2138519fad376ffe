//go:build unix

package broker

import "golang.org/x/sys/unix"

// descriptors returns how many files and sockets the process may have open; 0 when that is
// not known.
func descriptors() int {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return int(min(uint64(limit.Cur), 1<<30)) //nolint:unconvert // it is signed on some systems
}
