package persistence

// defect is a bug that a test plants to prove that the suite would catch it.
// docs/durability.md lists them. Nothing but a test of this package sets it.
type defect int

const (
	noDefect            defect = iota
	ackBeforeSync              // Sync does not sync
	ignoreFailedSync           // a failed sync counts as done
	retryFailedSync            // a failed sync is tried again and believed
	skipDirSync                // the name of a new segment is not made durable
	rollWithoutSync            // a new segment starts before the old one is durable
	cutOneBatchTooMany         // recovery drops the last good batch, too
	trustIndex                 // index entries are written early and believed unseen
	keepGarbage                // recovery leaves what follows the cut
	keepPartialWrite           // a write that ran out of disk leaves its bytes
	believePageCache           // recovery does not write the unproven tail again
	damageIsTear               // recovery looks for no proof beyond bad bytes
	readUnchecked              // reads do not verify checksums
	epochInMemory              // SetEpoch does not make the epoch durable
	truncateUnannounced        // a truncation leaves no word of its intent
	expireUnordered            // retention removes the newest file first
	defects                    // their number
)

var planted = noDefect
