// Package zktest runs real ZooKeeper servers for tests: one, or an ensemble of three,
// on free loopback ports, with their data in a temporary directory.
//
// It needs Java and ZooKeeper's jars (test/zk/install.sh gets them; or name the class
// path in ZOOKEEPER_CLASSPATH) and fails when they are missing. Servers can be killed,
// frozen, continued and started again; all of it is undone when the test ends.
package zktest
