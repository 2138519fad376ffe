// Package cluster knows who is a member, which topics exist, who leads what and
// at which epoch, and keeps the mirror of the consumers' offsets.
//
// Catalog is topics, partitions and their epochs, brokers, groups and offsets, as records
// in a tree of nodes; it works over any registry.Registry, of which cluster/zookeeper and
// cluster/local are the two. Member keeps one broker registered through the loss of its
// sessions. Witness keeps the highest epochs that were ever seen.
//
// The package never decides what a broker does with a partition, opens no log
// and sends no message. Everything that waits takes a context, and nothing here
// belongs inside an actor's Receive.
//
// Start at Catalog, then Member.
package cluster
