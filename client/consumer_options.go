package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"metaq/client/internal/link"
	"metaq/protocol"
)

// Handler processes one record. Its records of one partition come one after the
// other, in order; those of several partitions at the same time. ctx ends when the
// partition is taken away. An error means that the record is to be tried again,
// see OnFailure.
type Handler func(ctx context.Context, r Record) error

// BatchHandler processes records of one partition, in order. An error is that of
// the first record, unless it wraps a *BatchError.
type BatchHandler func(ctx context.Context, recs []Record) error

// BatchError tells how far a BatchHandler came: the records before Index are
// processed, the one at Index failed.
type BatchError struct {
	Index int
	Err   error
}

// Error returns the text of Err with the index.
func (e *BatchError) Error() string { return fmt.Sprintf("record %d of the batch: %v", e.Index, e.Err) }

// Unwrap returns Err.
func (e *BatchError) Unwrap() error { return e.Err }

// Failure is what happens to a record whose retries are exhausted.
type Failure uint8

// The policies.
const (
	// DeadLetter sends the record to the topic <topic>_dlq_<group>, with the reason in
	// its headers, and continues after it.
	DeadLetter Failure = iota
	// Drop logs the record's place and continues after it.
	Drop
	// StopConsumer ends the consumer, and Err returns the reason. The record is
	// delivered again to the next owner of its partition.
	StopConsumer
	// Keep stores the record in the Client's MessageDir, on disk before anything after it
	// is committed, and continues after it. The handler receives it again, on its own,
	// when the consumer starts and at every WithKeptInterval, until it returns nil. A
	// later process does the same, if its consumer has the same group and instance,
	// subscribes to the topic and uses Keep.
	//
	// Each record is processed at least once. A kept record is delivered out of order,
	// possibly at the same time as others of its partition, and even when the partition
	// has another owner by then. It is delivered twice when the process ends between
	// keeping it and the commit, or between processing it and removing it. When there is
	// no room for another record, its partition waits, and OnError reports it.
	//
	// Keep excludes ManualCommit: committing a record that is delivered late could move a
	// group that was reset past what it has not processed.
	Keep
)

// ConsumerOption changes a Consumer.
type ConsumerOption func(*consumerOptions)

type consumerOptions struct {
	join       protocol.GroupJoin
	handle     Handler
	batch      BatchHandler
	batchMost  int
	commit     time.Duration
	manual     bool
	retries    int
	backoff    time.Duration
	backoffMax time.Duration
	failure    Failure
	outOfRange OutOfRange
	prefetch   int64
	keptEvery  time.Duration
	filter     *protocol.Filter
	broadcast  bool
	store      OffsetStore // of a broadcast consumer; nil for that in the message directory
	onError    func(error)
	onAssign   func([]protocol.TopicPartition)
	onRevoke   func([]protocol.TopicPartition)
}

// WithInstance makes the consumer a static member: it keeps its partitions when it
// closes, or crashes, and when it is started again under the same name within its
// session, nobody else's partitions move. Should it not come back, Admin.GroupRemove
// frees them at once. Two consumers must not have one name at a time: the earlier one
// ends with ErrInstance when the later one joins.
func WithInstance(name string) ConsumerOption {
	return func(o *consumerOptions) { o.join.Instance = name }
}

// alone refuses a consumer in a group that has members, and others while it lasts.
func alone(o *consumerOptions) { o.join.Alone = true }

// WithClientName is shown by `metaq group info`.
func WithClientName(name string) ConsumerOption {
	return func(o *consumerOptions) { o.join.Client = name }
}

// WithStrategy divides the partitions. Default: that of the group, or
// StrategySticky. All members must say the same.
func WithStrategy(s string) ConsumerOption {
	return func(o *consumerOptions) { o.join.Strategy = s }
}

// WithSession is how long the consumer may be silent before its partitions go to
// others. Default 10 s. Short notices a crash soon; too short loses partitions to
// a pause of the process or the network.
func WithSession(d time.Duration) ConsumerOption {
	return func(o *consumerOptions) { o.join.SessionMs = int(d.Milliseconds()) }
}

// WithReleaseTime sets how long a handler may run after its context ended. Default
// 60 s; then the consumer is evicted from the group.
func WithReleaseTime(d time.Duration) ConsumerOption {
	return func(o *consumerOptions) { o.join.ReleaseMs = int(d.Milliseconds()) }
}

// ConsumeFrom is where the group begins in a partition in which it has committed
// nothing yet. Default: Earliest.
func ConsumeFrom(s Start) ConsumerOption {
	return func(o *consumerOptions) { o.join.Start = s.place() }
}

// WithBatchHandler takes records in batches of at most most, as they were fetched.
func WithBatchHandler(h BatchHandler, most int) ConsumerOption {
	return func(o *consumerOptions) { o.batch, o.batchMost = h, most }
}

// WithCommitInterval is how often the positions of processed records are
// committed. Default 1 s. They are also committed when a partition is released and
// at Close. Long means more records twice after a crash.
func WithCommitInterval(d time.Duration) ConsumerOption {
	return func(o *consumerOptions) { o.commit = d }
}

// ManualCommit commits nothing but what Consumer.Commit says.
func ManualCommit() ConsumerOption { return func(o *consumerOptions) { o.manual = true } }

// WithRetries sets how often a failing record is retried, with a pause that doubles from
// first to most. Default 5 times, 100 ms to 10 s. Other partitions are not held up.
func WithRetries(n int, first, most time.Duration) ConsumerOption {
	return func(o *consumerOptions) { o.retries, o.backoff, o.backoffMax = n, first, most }
}

// OnFailure sets what happens to a record whose retries are exhausted. Default: DeadLetter.
func OnFailure(f Failure) ConsumerOption { return func(o *consumerOptions) { o.failure = f } }

// WhenGroupOutOfRange says what happens when a committed offset is not in the log
// any more. Default: OutOfRangeAsBroker. An error stops the partition and tells
// OnError; metaq group reset gives the group another offset.
func WhenGroupOutOfRange(p OutOfRange) ConsumerOption {
	return func(o *consumerOptions) { o.outOfRange = p }
}

// WithPartitionPrefetch bounds the bytes that are held for each partition. Default
// 2 MiB.
func WithPartitionPrefetch(bytes int64) ConsumerOption {
	return func(o *consumerOptions) { o.prefetch = bytes }
}

// WithKeptInterval is how long kept records rest between two rounds in which the
// handler gets each of them again, see Keep. Default 5 minutes.
func WithKeptInterval(d time.Duration) ConsumerOption {
	return func(o *consumerOptions) { o.keptEvery = d }
}

// Broadcast delivers every record of the topics to the consumer, regardless of other
// consumers. It stores its own offsets, in s or, when s is nil, in the Client's
// MessageDir under the names of group and instance. No broker coordinates it: the
// group's name only serves as a directory and in the name of the dead-letter topic.
func Broadcast(s OffsetStore) ConsumerOption {
	return func(o *consumerOptions) { o.broadcast, o.store = true, s }
}

// WithFilter takes only the records that f selects; the broker leaves out the
// others. The group's offsets move past them, so all members should filter alike.
func WithFilter(f protocol.Filter) ConsumerOption {
	return func(o *consumerOptions) { o.filter = &f }
}

// OnError is told of problems that no call returns: a partition that cannot be
// read, a commit that failed. It is called from any goroutine and must not block.
func OnError(f func(error)) ConsumerOption { return func(o *consumerOptions) { o.onError = f } }

// OnPartitions is told of partitions that come and go, before the first record of
// one that comes and after the last one of one that goes. It must not block.
func OnPartitions(assigned, revoked func([]protocol.TopicPartition)) ConsumerOption {
	return func(o *consumerOptions) { o.onAssign, o.onRevoke = assigned, revoked }
}

func newConsumerOptions(group string, topics []string, h Handler, opts []ConsumerOption) (consumerOptions, error) {
	o := consumerOptions{
		join: protocol.GroupJoin{Topics: topics}, handle: h, batchMost: 1000,
		commit: time.Second, retries: 5, backoff: 100 * time.Millisecond, backoffMax: 10 * time.Second, prefetch: 2 << 20,
		keptEvery: 5 * time.Minute,
		onError:   func(error) {}, outOfRange: OutOfRangeAsBroker,
		onAssign: func([]protocol.TopicPartition) {}, onRevoke: func([]protocol.TopicPartition) {},
	}
	for _, opt := range opts {
		opt(&o)
	}
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	if err := errors.Join(link.CheckGroup(group), o.join.Check()); err != nil {
		errs = append(errs, err)
	}
	check((o.handle == nil) != (o.batch == nil), "give either a handler or WithBatchHandler")
	check(o.batchMost > 0, "batches of %d records are not above 0", o.batchMost)
	check(o.commit > 0, "commit interval %v must be above 0", o.commit)
	check(o.retries >= 0, "%d retries must not be negative", o.retries)
	check(o.backoff > 0 && o.backoffMax >= o.backoff, "retry pauses %v to %v are not a range above 0", o.backoff, o.backoffMax)
	check(o.failure <= Keep, "failure policy %d is not known", o.failure)
	check(o.failure != Keep || !o.manual, "OnFailure(Keep) and ManualCommit exclude one another: a kept record is not to be committed when it is processed at last")
	check(o.keptEvery > 0, "interval %v of kept records must be above 0", o.keptEvery)
	switch o.outOfRange {
	case OutOfRangeError:
		o.join.WhenDiverged = protocol.DivergedStop
	case OutOfRangeEarliest, OutOfRangeLatest:
		o.join.WhenDiverged = protocol.DivergedRealign
	case OutOfRangeAsBroker:
	}
	check(o.outOfRange <= OutOfRangeAsBroker, "out-of-range policy %d is not known", o.outOfRange)
	check(o.prefetch > 0, "prefetch of %d bytes must be above 0", o.prefetch)
	if o.filter != nil {
		if err := o.filter.Check(); err != nil {
			errs = append(errs, err)
		}
	}
	if o.failure == DeadLetter {
		for _, t := range topics {
			name := DeadLetterTopic(t, group)
			check(len(name) <= protocol.MaxNameLen, "dead-letter topic %s has %d characters, more than %d: use shorter names, or OnFailure(Drop)",
				name, len(name), protocol.MaxNameLen)
		}
	}
	return o, errors.Join(errs...)
}

// persistent reports whether the consumer stores anything in a MessageDir.
func (o *consumerOptions) persistent() bool {
	return o.failure == Keep || o.broadcast && o.store == nil
}
