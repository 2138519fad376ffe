package client

import (
	"errors"
	"fmt"
	"time"

	"metaq/client/internal/produce"
	"metaq/protocol"
)

// ProducerOption changes a Producer.
type ProducerOption func(*producerOptions)

type producerOptions produce.Options

// WithLinger is how long a batch waits for more records before it is sent.
// Default 0: a batch is sent as soon as it is full or its partition has none in
// flight, so that batches grow under load and a lone record does not wait. Longer
// makes bigger batches of sparse records; the wait ends early when the batch is full.
func WithLinger(d time.Duration) ProducerOption { return func(o *producerOptions) { o.Linger = d } }

// WithBatchBytes is the size at which a batch is full, in bytes before
// compression. Default 1 MiB. A record that is larger goes alone. Small batches
// cost throughput; large ones memory.
func WithBatchBytes(n int) ProducerOption { return func(o *producerOptions) { o.BatchBytes = n } }

// WithCompression packs batches. Default CompressionNone. S2 is cheap, zstd small.
func WithCompression(c Compression) ProducerOption {
	return func(o *producerOptions) { o.Compression = c }
}

// WithBuffer bounds what the producer holds: records that were taken and not yet
// reported, in bytes of payload, key and headers, and in number. Default 32 MiB
// and 1,000,000.
func WithBuffer(bytes int64, records int) ProducerOption {
	return func(o *producerOptions) { o.BufferBytes, o.BufferRecords = bytes, int64(records) }
}

// RefuseWhenFull makes Send and SendAsync return ErrBufferFull while the buffer
// is full. Default: they wait for room until their ctx ends.
func RefuseWhenFull() ProducerOption { return func(o *producerOptions) { o.Refuse = true } }

// WithDeliveryTimeout is how long a batch is tried, from its first record on,
// before its records fail. Default 2 min.
func WithDeliveryTimeout(d time.Duration) ProducerOption {
	return func(o *producerOptions) { o.DeliveryTimeout = d }
}

// WithRequestTimeout is how long one request may take before it is repeated. The
// repetition is recognised by the broker and stores nothing twice. Default 10 s.
func WithRequestTimeout(d time.Duration) ProducerOption {
	return func(o *producerOptions) { o.RequestTimeout = d }
}

// WithRefresh is how often the partitions of topics in use are asked for, besides
// after failures. Default 1 min. It is how soon new partitions are used.
func WithRefresh(d time.Duration) ProducerOption { return func(o *producerOptions) { o.Refresh = d } }

func newProducerOptions(opts []ProducerOption) (producerOptions, error) {
	o := producerOptions{
		BatchBytes:      1 << 20,
		BufferBytes:     32 << 20,
		BufferRecords:   1_000_000,
		DeliveryTimeout: 2 * time.Minute,
		RequestTimeout:  10 * time.Second,
		Refresh:         time.Minute,
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
	check(o.Linger >= 0, "linger %v is negative", o.Linger)
	check(o.BatchBytes > 0 && o.BatchBytes <= protocol.MaxRawSize, "batch bytes %d are not within 1..%d", o.BatchBytes, protocol.MaxRawSize)
	check(o.Compression <= CompressionS2, "compression %d is not known", o.Compression)
	check(o.BufferBytes > 0, "buffer of %d bytes must be above 0", o.BufferBytes)
	check(o.BufferRecords > 0, "buffer of %d records must be above 0", o.BufferRecords)
	check(o.DeliveryTimeout > 0, "delivery timeout %v must be above 0", o.DeliveryTimeout)
	check(o.Linger < o.DeliveryTimeout, "linger %v is not below the delivery timeout %v", o.Linger, o.DeliveryTimeout)
	check(o.RequestTimeout > 0, "request timeout %v must be above 0", o.RequestTimeout)
	check(o.Refresh > 0, "refresh %v must be above 0", o.Refresh)
	return o, errors.Join(errs...)
}
