// Package durability does to real broker processes what one machine can do to
// them: kill -9 under load, SIGTERM, a freeze, a full disk, ten thousand
// partitions. What it cannot do, a power cut, the crash simulation in persistence
// does.
package durability
