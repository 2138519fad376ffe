// Command tutorial is `make tutorial`: MetaQ's tutorial on one machine. It starts three
// ZooKeeper servers on 2181 to 2183 and two brokers from the shipped server.ini files,
// publishes twice, consumes from both brokers, kills one ZooKeeper server, does it once
// more, and cleans up after itself.
//
// Everything that it starts are processes of its own, ended by their ids, with files in
// a temporary directory.
package main
