package client

import (
	"errors"
	"fmt"
	"maps"
	"time"
	"unsafe"

	"metaq/client/internal/fetch"
	"metaq/protocol"
)

// OutOfRange is what a Reader does when the offset that it wants to read is below
// the log start (retention was faster) or beyond the end (data was lost). In a log that
// has lost its end and has grown again, the position is on another branch: then it is also
// the error, or reading continues where the logs part, whichever end was asked for.
type OutOfRange uint8

// The policies.
const (
	OutOfRangeError    OutOfRange = iota // stop the partition; Next returns a *protocol.RangeError
	OutOfRangeEarliest                   // continue at the log start
	OutOfRangeLatest                     // continue at the end
	OutOfRangeAsBroker                   // as updateConsumerOffsets of the partition's broker says: the error, or the end
)

// ReaderOption changes a Reader.
type ReaderOption func(*readerOptions)

type readerOptions fetch.Options

// ReadPartitions reads these partitions only. Default: all of the topic, also
// those that come later, which are read from their start.
func ReadPartitions(ids ...PartitionID) ReaderOption {
	return func(o *readerOptions) { o.Partitions = append(o.Partitions, ids...) }
}

// StartAt begins there in every partition. Default: Earliest.
func StartAt(s Start) ReaderOption { return func(o *readerOptions) { o.Start = s.s } }

// StartAtOffsets begins at the given offsets in the partitions that m names, for
// example where an earlier Reader stopped. It comes before StartAt.
func StartAtOffsets(m map[PartitionID]Offset) ReaderOption {
	return func(o *readerOptions) { o.Offsets = maps.Clone(m) }
}

// startAtPlace begins at a place of the one partition that is read.
func startAtPlace(p protocol.GroupPosition) ReaderOption {
	return func(o *readerOptions) { o.Place = &p }
}

// WithPrefetch bounds the bytes of records that are held for Next. Default
// 16 MiB. Each partition may hold one batch, and one answer of at most 256 KiB, beyond it.
func WithPrefetch(bytes int64) ReaderOption { return func(o *readerOptions) { o.Prefetch = bytes } }

// WithMaxWait is how long one request waits at a broker for new records. Default
// 5 s. Records are delivered as soon as they are there; a shorter wait only makes
// an idle partition ask more often.
func WithMaxWait(d time.Duration) ReaderOption { return func(o *readerOptions) { o.MaxWait = d } }

// ReadFilter leaves out, at the broker, the records that f does not select. The
// position still moves past them. Records then come as JSON, whose headers are
// sorted by name.
func ReadFilter(f protocol.Filter) ReaderOption {
	return func(o *readerOptions) { o.Filter = &f }
}

// WhenOutOfRange sets the policy. Default: OutOfRangeError.
func WhenOutOfRange(p OutOfRange) ReaderOption {
	return func(o *readerOptions) { o.Policy = fetch.OutOfRange(p) }
}

// WhenMoved is called when the log turns out not to be the one that was read, and reading
// continues elsewhere: the topic was deleted and made again, which is read from its
// beginning, or a log has lost its end. It is called from the Reader's goroutines and must
// not block.
func WhenMoved(f func(*MovedError)) ReaderOption {
	return func(o *readerOptions) {
		if o.Moved = nil; f != nil {
			o.Moved = func(m *fetch.Moved) { f((*MovedError)(m)) }
		}
	}
}

// RecordBytes is what a record takes in memory besides its key, value and headers.
const recordBytes = int64(unsafe.Sizeof(Record{}))

func newReaderOptions(opts []ReaderOption) (readerOptions, error) {
	o := readerOptions{RecordBytes: recordBytes, Prefetch: 16 << 20, MaxWait: 5 * time.Second, Refresh: time.Minute}
	for _, opt := range opts {
		opt(&o)
	}
	var errs []error
	if o.Prefetch <= 0 {
		errs = append(errs, fmt.Errorf("prefetch of %d bytes must be above 0", o.Prefetch))
	}
	if o.MaxWait < time.Millisecond {
		errs = append(errs, fmt.Errorf("max wait %v is below 1 ms", o.MaxWait))
	}
	if o.Filter != nil {
		if err := o.Filter.Check(); err != nil {
			errs = append(errs, err)
		}
	}
	if o.Policy > fetch.OutOfRangeAsBroker {
		errs = append(errs, fmt.Errorf("out-of-range policy %d is not known", o.Policy))
	}
	return o, errors.Join(errs...)
}
