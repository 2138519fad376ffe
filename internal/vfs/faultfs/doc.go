// Package faultfs is the file system for tests that doubt: it is in memory,
// stops the machine at any operation, tears writes at any byte, fails any
// operation, and runs full.
//
// It is as strict as a log must expect. What was not synced survives a crash in
// pieces of any length. A failed sync forgets which bytes
// were dirty, as Linux does: they can still be read, but no later sync writes
// them. And names behave as bytes do: a creation, rename or removal is durable
// only after a sync of its directory.
//
// A test sets a hook that sees every operation before it is done and may fail
// it; Crash returns the file system that is found after the machine has stopped.
// An FS may be used from any goroutine and starts none. Start at FS.
package faultfs
