// Package fetch is the machinery of client.Reader.
//
// Feeds has a feed for each partition (fetcher.go), which asks for batches ahead of the
// reader and queues them as chunks, at most as many bytes as the prefetch allows. A chunk
// stays encoded until the reader takes its records.
//
// Locks: Feeds.mu guards the queue and all feeds. The parts of a Chunk that decode it
// belong to the reader, which holds its own lock and takes mu after it.
//
// Goroutines: one for each partition, and one that looks for new partitions. Close joins
// them all.
package fetch
