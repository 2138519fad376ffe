// Package produce is the machinery of client.Producer.
//
// An Engine owns a topic for each name in use, which owns a partition for each log. A
// record goes to a partition (partitioner.go), into a batch (accumulator.go), and is
// handed over by the partition's goroutine (sender.go). What is repeated, renumbered or
// given up is decided by pure cores: flight_core.go and delivery_core.go.
//
// Goroutines: an Engine has one that refreshes topics, one for each lookup, and one for
// each partition that has records. Close joins them all.
package produce
