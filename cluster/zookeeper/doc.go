// Package zookeeper is the registry over a ZooKeeper ensemble.
//
// The client library, go-zookeeper/zk, opens a new session silently when the old one has
// expired, has calls without deadlines and drops events. This package turns it into what
// registry.Registry promises: a session that ends once and for good, calls that end with
// their context, and hints that are never lost.
//
//	ensemble.go how to reach the servers, and one session
//	calls.go    one call, with its deadline and its outcome
//	watch.go    watches
//	conn.go     the connection under the library: silence, limits
//	frames.go   what is checked of the frames on it
//	dial.go, hosts.go, resume.go  which server, when, and with which watches
//	acl.go      who may read and write the nodes
//	setback.go  whether an ensemble is older than what this broker has seen
//
// Each session has a goroutine for its events and one for each call under way; Close joins
// them. Start at New.
package zookeeper
