// Package local is the registry of a broker that runs alone: a tree in memory, and a file
// in the data directory that holds its persistent nodes.
//
//	store.go   the registry, and the one goroutine that owns tree and file
//	session.go a session with it, which is a registry.Registry
//	tree.go    the pure tree
//	file.go    the file's bytes
//
// Store.Close ends the goroutine and joins it. Start at Open.
package local
