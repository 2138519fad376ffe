// Package partition owns one log: the actor that writes it, its reader, and the pure
// cores that decide about offsets, syncs, repeated messages and waiting gets.
//
// The partition's actor (partition.go) is the only one that appends, syncs, expires and
// closes the log. Its reader (reader.go) reads below the committed offset, which it
// learns from the Status that both share with the topic; Status has a lock of its own
// and outlives a crash of the actor.
//
// Start at core.go, then partition.go and life.go.
package partition
