// Package discovery finds a cluster's brokers through its ZooKeeper ensemble, for
// client.WithResolver. It reads once, when a client connects: from then on NATS
// itself tells the client which servers there are, and ZooKeeper may be gone.
//
// It writes nothing and keeps nothing open. It is apart from package client, so that
// programs which name their servers need no ZooKeeper library.
//
// Start at Resolver.
package discovery
