package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"metaq/client"
	"metaq/internal/cli"
)

// Source is what Consume needs from a reader; *client.Reader is one.
type Source interface {
	// AppendBatch appends the next messages to dst, at least one, and waits for them
	// until ctx ends.
	AppendBatch(ctx context.Context, dst []client.Record) ([]client.Record, error)
}

// ConsumeOptions is what Consume reads. Count and Timeout are positive.
type ConsumeOptions struct {
	Topic    string
	Count    int64         // messages to read
	Timeout  time.Duration // longest wait for the next ones
	Progress *cli.Progress
}

// Consume reads messages as fast as they come. Time counts from the call.
func Consume(ctx context.Context, from Source, o ConsumeOptions) (Report, error) {
	var (
		ages         Histogram
		batch        []client.Record
		count, bytes int64
		start        = time.Now()
	)
	if o.Progress != nil {
		defer o.Progress.Done()
	}
	for count < o.Count {
		var err error
		if batch, err = nextWithin(ctx, from, batch[:0], o.Timeout); err != nil {
			return Report{}, fmt.Errorf("after %d of %d messages: %w", count, o.Count, err)
		}
		now := time.Now()
		for i := range batch[:min(int64(len(batch)), o.Count-count)] {
			ages.Add(now.Sub(batch[i].Time))
			bytes += int64(len(batch[i].Value))
			count++
		}
		if o.Progress != nil && o.Progress.Due() {
			o.Progress.Show("read %s of %s messages, %s a second", cli.Count(count), cli.Count(o.Count), cli.Rate(count, now.Sub(start)))
		}
	}
	return newReport("consume", o.Topic, count, bytes, time.Since(start), &ages), nil
}

func nextWithin(ctx context.Context, from Source, dst []client.Record, timeout time.Duration) ([]client.Record, error) {
	waiting, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	batch, err := from.AppendBatch(waiting, dst)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return nil, fmt.Errorf("no message came for %s", timeout)
	}
	return batch, err
}
