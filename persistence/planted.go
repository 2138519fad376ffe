package persistence

// defect is a bug that a test plants to prove that the suite would catch it.
// docs/durability.md lists them. Only builds with the tag "planted" can have one: in all
// others planted is a constant, and the compiler drops the branches.
type defect int

const (
	noDefect defect = iota
	ackBeforeSync
	ignoreFailedSync
	retryFailedSync
	skipDirSync
	rollWithoutSync
	cutOneBatchTooMany
	trustIndex
	keepGarbage
	keepPartialWrite
	believePageCache
	damageIsTear
	readUnchecked
	epochInMemory
	tailWithoutEpochs
	truncateUnannounced
	expireUnordered
	directOverNeighbours
	directBelievesTail
	directLeavesRubbish
	agesByDates
	evictUnsynced
	defects // their number
)

// String says what the defect does.
func (d defect) String() string {
	return [defects]string{
		noDefect:            "nothing is planted",
		ackBeforeSync:       "a sync does nothing",
		ignoreFailedSync:    "a failed sync counts as done",
		retryFailedSync:     "a failed sync is tried again and believed",
		skipDirSync:         "the name of a new segment is not made durable",
		rollWithoutSync:     "a new segment starts before the old one is durable",
		cutOneBatchTooMany:  "recovery drops the last good batch, too",
		trustIndex:          "index entries are written before their batches are durable",
		keepGarbage:         "recovery leaves what follows the cut",
		keepPartialWrite:    "a write that ran out of disk leaves its bytes",
		believePageCache:    "recovery does not write the unproven tail again",
		damageIsTear:        "recovery looks for no proof beyond bad bytes",
		readUnchecked:       "reads do not verify checksums",
		epochInMemory:       "an epoch is not made durable",
		tailWithoutEpochs:   "recovery does not look for epochs in the tail",
		truncateUnannounced: "a truncation leaves no word of its intent",
		expireUnordered:     "retention removes the newest file first",

		directOverNeighbours: "a write past the cache blanks what its first block had",
		directBelievesTail:   "a write past the cache takes the block before it for unchanged",
		directLeavesRubbish:  "a write past the cache leaves what lay behind it in memory",

		agesByDates: "a segment does not end when the clock is set",

		evictUnsynced: "a log that closes files for the sake of others counts as synced",
	}[d]
}
