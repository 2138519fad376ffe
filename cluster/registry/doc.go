// Package registry declares what the cluster needs of ZooKeeper: one session with a small,
// strongly ordered tree of versioned nodes, its operations, errors and watches.
//
// Two packages implement it: cluster/zookeeper over an ensemble, and cluster/local in a
// file. Both pass the suite in cluster/registrytest, which is the contract in Go. The
// package holds no goroutine. Start at Registry.
package registry
