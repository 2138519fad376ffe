// Package registrytest holds the one suite of tests that every implementation of
// cluster.Registry passes. It is the contract of that interface, in Go.
//
// Run it with a factory; see Suite.
package registrytest
