package actors

import (
	"errors"
	"time"

	"metaq/protocol"
)

// Log is what a partition needs from storage; metaq/persistence.Log is one.
// Append, Sync, SetEpoch, Expire, Park and Close are called from one goroutine at a
// time. The others may be called from any goroutine, also during an Append or Sync, and do
// not wait for it.
type Log interface {
	// Append writes whole, stamped batches that continue the log. They are
	// written when it returns, not yet durable. An error that wraps ErrDiskFull, or
	// ErrUnavailable where too many files are open, means that nothing was kept and
	// the log is as before; every other error is final: close the log and open it again. They are a part of around up to its end,
	// or around is nil; of what lies beside them the log may make what it likes until
	// it returns.
	Append(batches, around []byte) error
	// Lead is where in memory the next batches should begin, which is written from
	// most cheaply: so many bytes, less than aligned.Block, behind the border of a
	// block. It is called when nothing is appended.
	Lead() int
	// Sync makes all that was appended durable. Its errors are final.
	Sync() error
	// SetEpoch takes an epoch that the registry granted, which has made it durable;
	// batches appended from now on carry it, and the log never goes below it.
	SetEpoch(protocol.Epoch) error
	// Read appends to dst whole batches that begin below limit, the first of
	// which holds the record at from, up to maxBytes but at least one. Below the
	// log start it returns a *protocol.RangeError.
	Read(dst []byte, from, limit protocol.Offset, maxBytes int) ([]byte, error)
	// OffsetAt returns the offset of the first record below limit whose time is
	// unixMilli or later, or limit when there is none.
	OffsetAt(unixMilli int64, limit protocol.Offset) (protocol.Offset, error)
	// OffsetSince returns an offset, at most limit, below which no record was appended
	// when Deps.Elapsed showed at or later.
	OffsetSince(at int64, limit protocol.Offset) (protocol.Offset, error)
	// AppendedAt returns what Deps.Elapsed showed when the record at o was appended,
	// which is dated unixMilli; as far as the log can tell.
	AppendedAt(o protocol.Offset, unixMilli int64) int64
	Start() protocol.Offset          // log start
	Next() protocol.Offset           // end offset, synced or not
	NextPosition() protocol.Position // MetaQ position of the next record
	LastTime() int64                 // time of the last record in Unix milliseconds, or 0
	Size() int64                     // bytes on disk
	// GoneIDs returns the ids of records below the log start that were dropped when they
	// were younger than Retention.IDs, oldest first. It may block.
	GoneIDs() ([]protocol.GoneID, error)
	// Expire drops what the retention policy no longer keeps from the log, by the age
	// that Deps.Elapsed tells, and returns the slow rest of the work, which may run on any
	// goroutine, or nil.
	Expire(r Retention) (dispose func() error, err error)
	// Park gives up open files and caches until the next use.
	Park() error
	// LastEpoch is the newest epoch that the log knows, or 0.
	LastEpoch() protocol.Epoch
	// Epochs returns where the epochs of the log's records begin, oldest first; both fields
	// rise. The slice is not to be changed.
	Epochs() []protocol.EpochStart
	// Close syncs and marks a clean end. A Read that runs meanwhile returns its
	// batches or an error, and so does every later one.
	Close() error
}

// KeptNothing reports whether err, of Append or SetEpoch, left the log as it was.
func KeptNothing(err error) bool {
	return errors.Is(err, protocol.ErrDiskFull) || errors.Is(err, protocol.ErrUnavailable)
}

// ReadRefusal answers who wanted something that could not be read. That no file can be
// opened now is no fault of the partition's.
func ReadRefusal(what string, err error) *protocol.Error {
	if errors.Is(err, protocol.ErrUnavailable) {
		return protocol.ErrUnavailable.With("%s%v", what, err)
	}
	return protocol.ErrPartition.With("%s%v", what, err)
}

// NewestEpochs are those of a log's epochs that an answer has room for.
func NewestEpochs(l Log) []protocol.EpochStart {
	all := l.Epochs()
	return all[max(len(all)-protocol.MaxLineage, 0):]
}

// Damaged says whether an error of LogStore.Open or Log.Read means that bytes on
// disk are not what was written, so that trying again is of no use: the error is
// or wraps one of the codec's complaints about a batch, or has a method
// Damaged() bool that returns true.
func Damaged(err error) bool {
	var d interface{ Damaged() bool }
	if errors.As(err, &d) && d.Damaged() {
		return true
	}
	return errors.Is(err, protocol.ErrBadBatch) || errors.Is(err, protocol.ErrNoBatch) || errors.Is(err, protocol.ErrShortBatch)
}

// Retention says what a log may drop.
type Retention struct {
	Age      time.Duration // older records may go; 0 keeps all
	Bytes    int64         // oldest segments may go above this size; 0 means no limit
	IDs      time.Duration // ids of younger records are kept for GoneIDs
	Archive  bool          // keep dropped segments beside the log
	Compress bool          // and compress them
}

// LogStore opens and removes the logs of partitions. Its calls may block, so
// actors make them on workers; they come from several goroutines, but for one
// partition from one at a time.
type LogStore interface {
	// Open recovers the partition's log, or creates it. All that the log holds is
	// durable when it returns. An error for which Damaged reports true is final,
	// and its text names file and position; after any other it is tried again.
	Open(topic string, id protocol.PartitionID, s Settings) (Log, error)
	// SetAside takes the partition's closed log out of the way, so that a topic
	// of the same name starts empty. It returns nil when there is no log.
	SetAside(topic string, id protocol.PartitionID) error
}
