// Package vfs is the one seam between this project and the file system: an
// interface of the dozen calls that are used, so that a test can put memory, a
// crash or a fault in the system's place, and the few steps that every durable
// file needs. Publish makes a file visible whole or
// not at all, SetAside renames what must not be used but must not be lost, Cut
// makes the end of a file blank, SyncDir makes names durable.
//
// The package has no goroutine and no state. Package faultfs beside it is the
// file system for tests: it crashes at any operation and tears writes at any
// byte. Start at Publish.
package vfs
