// Package system is the tree of a broker's actors: the root, which orders start and
// stop (broker_core.go), the cluster actor, which alone calls the registry, and the
// gateway's. It answers dead letters, so that no request is lost without a word.
//
// Start at system.go, then broker_core.go.
package system
