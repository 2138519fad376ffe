package client

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"metaq/client/internal/link"
	"metaq/protocol"
)

// Headers of a record in a dead-letter topic, besides its own (see Passed).
const (
	HeaderDeadReason    = "Metaq-Dead-Reason"    // text of the handler's last error
	HeaderDeadAttempts  = "Metaq-Dead-Attempts"  // how often it was tried
	HeaderDeadGroup     = "Metaq-Dead-Group"     // whose handler it was
	HeaderDeadTopic     = "Metaq-Dead-Topic"     // where it was read
	HeaderDeadPartition = "Metaq-Dead-Partition" // for example 0-3
	HeaderDeadOffset    = "Metaq-Dead-Offset"
	HeaderDeadTime      = "Metaq-Dead-Time" // of the record, RFC 3339
)

// maxReason is how many bytes of the handler's error a dead letter has: what is more
// would take room from the record itself.
const maxReason = 1000

// DeadLetterTopic is where a group's failing records of a topic go.
func DeadLetterTopic(topic, group string) string { return topic + "_dlq_" + group }

// HandlerError says which record a consumer could not process.
type HandlerError struct {
	Topic     string
	Partition PartitionID
	Offset    Offset
	Attempts  int
	Err       error
}

// Error names the record and the reason.
func (e *HandlerError) Error() string {
	return fmt.Sprintf("offset %d of %s %s failed %d times: %v", e.Offset, e.Topic, e.Partition, e.Attempts, e.Err)
}

// Unwrap returns Err.
func (e *HandlerError) Unwrap() error { return e.Err }

// deadLetters sends records to dead-letter topics. Its methods may be called from
// any goroutine.
type deadLetters struct {
	c     *Client
	group string

	mu       sync.Mutex
	producer *Producer       // guarded by mu; nil until the first record
	known    map[string]bool // guarded by mu; topics that exist
}

// Send returns when the record is stored.
func (d *deadLetters) Send(ctx context.Context, r Record, attempts int, reason error) error {
	topic := DeadLetterTopic(r.Topic, d.group)
	p, err := d.prepare(ctx, topic)
	if err != nil {
		return fmt.Errorf("dead letter to %s: %w", topic, err)
	}
	headers := append(Passed(r.Headers),
		Header{Name: HeaderDeadReason, Value: protocol.ValidText(reason.Error(), maxReason)},
		Header{Name: HeaderDeadAttempts, Value: strconv.Itoa(attempts)},
		Header{Name: HeaderDeadGroup, Value: d.group},
		Header{Name: HeaderDeadTopic, Value: r.Topic},
		Header{Name: HeaderDeadPartition, Value: r.Partition.String()},
		Header{Name: HeaderDeadOffset, Value: strconv.FormatInt(int64(r.Offset), 10)},
		Header{Name: HeaderDeadTime, Value: r.Time.Format("2006-01-02T15:04:05.999Z07:00")},
	)
	if _, err := p.Send(ctx, Record{Topic: topic, Key: r.Key, Value: r.Value, Headers: headers}); err != nil {
		return fmt.Errorf("dead letter to %s: %w", topic, err)
	}
	return nil
}

// prepare makes the producer, and the topic where it is not there.
func (d *deadLetters) prepare(ctx context.Context, topic string) (*Producer, error) {
	d.mu.Lock()
	known := d.known[topic]
	d.mu.Unlock()
	for attempt := 0; !known; attempt++ {
		_, err := d.c.Admin().CreateTopic(ctx, protocol.TopicCreate{Topic: topic})
		switch {
		case err == nil || errors.Is(err, ErrExists):
			known = true
		case !link.Retriable(err) || link.Pause(ctx, link.Backoff(attempt)) != nil:
			return nil, err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.known[topic] = true
	if d.producer != nil {
		return d.producer, nil
	}
	p, err := d.c.NewProducer()
	d.producer = p
	return p, err
}

func (d *deadLetters) Close(ctx context.Context) error {
	d.mu.Lock()
	p := d.producer
	d.mu.Unlock()
	if p == nil {
		return nil
	}
	return p.Close(ctx)
}
