// Package cluster knows who is a member, which topics exist, who leads what and
// at which epoch, and keeps the mirror of the consumers' offsets.
//
// It has two layers. Registry is the low one: a small tree of versioned nodes,
// with two implementations, Local (one process, a file in the data directory)
// and ZooKeeper. Both pass the suite in cluster/registrytest. Catalog is the
// high one: topics, partitions and their epochs, brokers, groups and offsets,
// as records in that tree; it works over any Registry. Member joins them: it
// keeps one broker registered through the loss of its sessions.
//
// The package never decides what a broker does with a partition, opens no log
// and sends no message. Everything that waits takes a context, and nothing here
// belongs inside an actor's Receive.
//
// Start at Registry, then Catalog, then Member.
package cluster
