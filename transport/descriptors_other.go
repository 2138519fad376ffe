//go:build !unix

package transport

// Descriptors returns how many files and sockets the process may have open; 0 when that is
// not known.
func Descriptors() int { return 0 }
