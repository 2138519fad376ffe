// Package store owns the data directories of one broker: their locks, the stamp that says
// whose they are, the partitions found in them, and how full their disks are.
//
//	datadir.go  the directories: lock, list, set aside
//	stamp.go    which broker and which cluster a directory belongs to
//	casefold.go names on file systems that do not tell upper from lower case
//	room.go     a full disk, from its first refusal until there is room again
//	elapsed.go  the append clock: how long this broker has run
//
// It opens no log and knows no registry. Room and Elapsed have a goroutine each, which their
// Close joins. Start at Open.
package store
