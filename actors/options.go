package actors

import (
	"errors"
	"fmt"
	"time"

	"metaq/protocol"
)

// Options tunes the actors. The zero value of each field takes its default.
type Options struct {
	// AutoCreate lets a put create the topic that it names. Off by default: a
	// misspelt name is then an error, on it becomes a topic.
	AutoCreate bool
	// AutoCreateLimit is the number of topics, however made, from which on a put
	// creates none. Default 1000: whoever may publish could fill the disk with
	// topics otherwise.
	AutoCreateLimit int
	// AutoCreateRate is the number of topics a minute that one address, and as many at once,
	// may create by first uses. Default 100.
	AutoCreateRate int
	// MaxTopicSubjects and MaxSubjects are how many filters one topic, and all topics, may have
	// when a request asks for them. Default 64 and 4096.
	MaxTopicSubjects, MaxSubjects int
	// Partitions is the number of partitions, on each broker, of a topic that does
	// not say. Default 4. More let more consumers of a group share the work; each
	// costs a directory.
	Partitions int
	// JumpToEnd tells a consumer group whose offset is out of range to go on at the
	// end. Off by default: it skips messages, so the group is to hear of it.
	JumpToEnd bool
	// MaxTransferSize is the most bytes of one get. Default 1 MiB. Small means
	// more round trips, large more memory for each reader.
	MaxTransferSize int
	// MaxMessages is the number of messages of a get that does not say. Default
	// 1000.
	MaxMessages int
	// MaxWait bounds the long poll of a get. Default 30 s.
	MaxWait time.Duration
	// MaxParked is the number of gets that may wait at one partition; the next one
	// is refused as busy. Default 10,000.
	MaxParked int
	// FlushBytes and FlushCount bound what one sync covers. Default 4 MiB and
	// 10,000 requests. Small bounds cost throughput, large ones latency.
	FlushBytes int
	FlushCount int
	// ProducerTail is how many bytes of the log's end are read to know the
	// idempotent producers again after a start. Default 64 MiB, which covers what
	// one partition may have in flight when it crashes. Less reads faster and may
	// store a retried batch twice.
	ProducerTail int64
	// MaxProducers is the number of idempotent producers that a partition
	// remembers. Default 10,000; one that was quiet for 150 s is forgotten for a new one,
	// and while there is none, a new one is refused.
	MaxProducers int
	// MaxMessageIDs is the number of message ids that all partitions of this broker
	// remember together; a message with one more is refused. Default 2,000,000.
	MaxMessageIDs int
	// MaxPartitions is the number of partitions of this broker from which on no topic is
	// created and none grows. Default 10,000.
	MaxPartitions int
	// Sweep is the time between two looks for idle partitions, which give up open
	// files, buffers and readers. Default 1 min.
	Sweep time.Duration
	// Workers is the number of logs that are opened, closed or disposed of at a
	// time. Default 16: most of that is waiting for the disk. Syncs is the number of
	// writes and syncs at a time; each holds a thread. Default 256.
	Workers int
	Syncs   int
	// Retry and MaxRetry are the first and the longest wait before a failed log or
	// claim is tried again. Defaults 100 ms and 30 s.
	Retry    time.Duration
	MaxRetry time.Duration
	// Linger is how long a deleted partition stays to refuse requests that were
	// on their way. Default 5 s.
	Linger time.Duration
	// CallTimeout bounds one call of the registry. Default 30 s.
	CallTimeout time.Duration
	// AnswerTimeout bounds the wait for the answer to a request about a topic. Default 4 s:
	// clients give up by themselves after 5 s.
	AnswerTimeout time.Duration
}

// WithDefaults returns o with its zero fields filled in.
func (o Options) WithDefaults() Options {
	SetDefault(&o.AutoCreateLimit, 1000)
	SetDefault(&o.AutoCreateRate, 100)
	SetDefault(&o.MaxTopicSubjects, 64)
	SetDefault(&o.MaxSubjects, 4096)
	SetDefault(&o.Partitions, 4)
	SetDefault(&o.MaxTransferSize, 1<<20)
	SetDefault(&o.MaxMessages, 1000)
	SetDefault(&o.MaxWait, 30*time.Second)
	SetDefault(&o.MaxParked, 10_000)
	SetDefault(&o.FlushBytes, 4<<20)
	SetDefault(&o.FlushCount, 10_000)
	SetDefault(&o.ProducerTail, 64<<20)
	SetDefault(&o.MaxProducers, 10_000)
	SetDefault(&o.MaxMessageIDs, 2_000_000)
	SetDefault(&o.MaxPartitions, 10_000)
	SetDefault(&o.Sweep, time.Minute)
	SetDefault(&o.Workers, 16)
	SetDefault(&o.Syncs, 256)
	SetDefault(&o.Retry, 100*time.Millisecond)
	SetDefault(&o.MaxRetry, 30*time.Second)
	SetDefault(&o.Linger, 5*time.Second)
	SetDefault(&o.CallTimeout, 30*time.Second)
	SetDefault(&o.AnswerTimeout, 4*time.Second)
	return o
}

// SetDefault gives a field that is zero its default.
func SetDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Validate names every field that is out of its range.
func (o Options) Validate() error {
	var errs []error
	check := func(name string, value, least, most int64) {
		if value != 0 && (value < least || value > most) {
			errs = append(errs, fmt.Errorf("%s is %d: use %d to %d", name, value, least, most))
		}
	}
	const large = 1 << 40
	check("AutoCreateLimit", int64(o.AutoCreateLimit), 1, large)
	check("AutoCreateRate", int64(o.AutoCreateRate), 1, large)
	check("MaxTopicSubjects", int64(o.MaxTopicSubjects), 1, large)
	check("MaxSubjects", int64(o.MaxSubjects), 1, large)
	check("Partitions", int64(o.Partitions), 1, protocol.MaxPartitions)
	check("MaxTransferSize", int64(o.MaxTransferSize), 1, protocol.MaxBatchSize)
	check("MaxMessages", int64(o.MaxMessages), 1, large)
	check("MaxWait", int64(o.MaxWait), 1, int64(24*time.Hour))
	check("MaxParked", int64(o.MaxParked), 1, large)
	check("FlushBytes", int64(o.FlushBytes), 1, protocol.MaxBatchSize)
	check("FlushCount", int64(o.FlushCount), 1, protocol.MaxBatchRecords)
	check("ProducerTail", o.ProducerTail, 1, large)
	check("MaxProducers", int64(o.MaxProducers), 1, large)
	check("MaxMessageIDs", int64(o.MaxMessageIDs), 1, large)
	check("MaxPartitions", int64(o.MaxPartitions), 1, large)
	check("Workers", int64(o.Workers), 1, 10_000)
	check("Syncs", int64(o.Syncs), 1, 10_000)
	for name, d := range map[string]time.Duration{
		"Sweep": o.Sweep, "Retry": o.Retry, "MaxRetry": o.MaxRetry, "Linger": o.Linger, "CallTimeout": o.CallTimeout,
		"AnswerTimeout": o.AnswerTimeout,
	} {
		if d < 0 {
			errs = append(errs, fmt.Errorf("%s is %s: use a positive time", name, d))
		}
	}
	return errors.Join(errs...)
}
