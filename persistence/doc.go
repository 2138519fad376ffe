// Package persistence remembers: it owns the bytes of a partition's log on
// disk, and of nothing else. It knows no network, decides no ownership, starts
// no goroutine and no timer.
//
// A Log is a list of segment files; a segment is a header and whole, stamped
// batches (metaq/protocol) one after the other, then blank space. Beside each
// segment lies a sparse index, and beside them all the state file "epochs".
// The index can always be made again from the segments; of the state only what
// the segments do not hold (an epoch that has no record yet) cannot.
// docs/format has the pictures.
//
// Log.Append, AppendIn, Lead, Sync, SetEpoch, AdoptEpoch, TruncateTo, Expire, Park
// and Close belong to one goroutine at a time, the owner's. Everything else may be called
// from any goroutine and waits for none of them.
//
// Logs may share a budget of open files (Files): whoever needs a place closes files of
// idle logs, in the owner's stead, which turn.go makes safe. A read or an append waits a
// little for a place when there is none.
//
// Start at Log.Append (append.go), then Open (recovery.go), then Log.Read
// (reader.go).
package persistence
