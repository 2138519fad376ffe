// Package cluster runs clusters of real broker processes over a real ZooKeeper
// ensemble, and breaks both.
package cluster
