//go:build !unix

package broker

// descriptors returns how many files and sockets the process may have open; 0 when that is
// not known.
func descriptors() int { return 0 }
