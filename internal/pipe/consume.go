package pipe

import (
	"bufio"
	"context"
	"io"
	"time"

	"metaq/client"
	"metaq/internal/cli"
	"metaq/protocol"
)

// Source is what Consume needs from a reader; *client.Reader is one.
type Source interface {
	// NextBatch returns the next messages, at least one, and waits for them until
	// ctx ends. It is called from one goroutine.
	NextBatch(ctx context.Context) ([]client.Record, error)
}

// ConsumeOptions says what to write and when to end.
type ConsumeOptions struct {
	Count   int64         // end after so many messages; 0 = never
	Timeout time.Duration // end when no new message came for so long; 0 = never
	JSON    bool          // an object a line in place of payloads
}

// Consume writes messages to a stream, each with a newline behind it, and
// returns how many it wrote. It ends without an error when ctx does, after Count
// messages, or after Timeout. Whatever it has got is written before it waits.
func Consume(ctx context.Context, from Source, to io.Writer, o ConsumeOptions) (written int64, err error) {
	ahead, cancel := context.WithCancel(ctx)
	records := make(chan []client.Record, 4)
	var sourceErr error // set before records is closed
	go func() {
		defer close(records)
		for {
			batch, err := from.NextBatch(ahead)
			if err != nil {
				sourceErr = err
				return
			}
			select {
			case records <- batch:
			case <-ahead.Done():
				return
			}
		}
	}()
	defer func() {
		cancel()
		for range records { // until the goroutine has gone
		}
	}()

	out := bufio.NewWriterSize(to, 64<<10)
	for o.Count == 0 || written < o.Count {
		batch, state, err := next(ctx, records, out, o.Timeout)
		switch {
		case err != nil:
			return written, err
		case state == ended && ctx.Err() == nil:
			return written, sourceErr
		case state != got:
			return written, nil
		}
		if o.Count > 0 {
			batch = batch[:min(int64(len(batch)), o.Count-written)]
		}
		for i := range batch {
			if err := write(out, &batch[i], o.JSON); err != nil {
				return written, err
			}
			written++
		}
	}
	return written, out.Flush()
}

// What next found.
type found uint8

const (
	got   found = iota // records
	idle               // none within the timeout, or ctx ended
	ended              // the source has failed
)

// next returns the next records. It flushes before it waits; its error is that of
// the flush.
func next(ctx context.Context, records <-chan []client.Record, out *bufio.Writer, timeout time.Duration) ([]client.Record, found, error) {
	select {
	case batch, more := <-records:
		if more {
			return batch, got, nil
		}
		return nil, ended, out.Flush()
	default:
	}
	if err := out.Flush(); err != nil {
		return nil, idle, err
	}
	var late <-chan time.Time
	if timeout > 0 {
		timer := time.NewTimer(timeout)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case batch, more := <-records:
		if more {
			return batch, got, nil
		}
		return nil, ended, nil
	case <-late:
	case <-ctx.Done():
	}
	return nil, idle, nil
}

func write(out *bufio.Writer, r *client.Record, asJSON bool) error {
	if asJSON {
		return cli.WriteJSONLine(out, message(r))
	}
	if _, err := out.Write(r.Value); err != nil {
		return err
	}
	return out.WriteByte('\n')
}

// message gives the record the form that JSON readers know from the protocol.
func message(r *client.Record) protocol.Message {
	m := protocol.NewMessage(&protocol.Record{
		Offset: r.Offset, Time: r.Time.UnixMilli(), Key: r.Key, Headers: r.Headers, Value: r.Value,
	})
	m.Topic, m.Partition = r.Topic, &r.Partition
	return m
}
