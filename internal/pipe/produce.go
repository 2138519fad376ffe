package pipe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"metaq/client"
	"metaq/internal/cli"
	"metaq/internal/lines"
)

// Sender is what Produce needs from a producer; *client.Producer is one.
type Sender interface {
	// SendAsync takes a record, and calls done once with what became of it, from
	// any goroutine; after an error it has not taken it and does not call done.
	SendAsync(ctx context.Context, r client.Record, done func(client.Result, error)) error
	// Flush returns nil when done has been called for all records.
	Flush(ctx context.Context) error
}

// ProduceOptions says how lines become messages.
type ProduceOptions struct {
	Topic     string
	Partition *client.PartitionID // nil: the key decides, or the producer
	// Separator stands between key and message; "" means that there is no key. A
	// line without it has no key.
	Separator string
	Headers   []client.Header // of every message
	// Acks takes the number of every line that was acknowledged, one a line, as
	// soon as it was; nil for none.
	Acks     io.Writer
	Progress *cli.Progress // nil for none
}

// Produced is what became of the lines.
type Produced struct {
	Lines   int64 // that were read, or refused for their length
	Acked   int64
	Bytes   int64 // of the acknowledged messages' payloads and keys
	Keyless int64 // lines that have no separator
	// CutShort says that the stream ended in the middle of a line, which was sent
	// like any other.
	CutShort bool
	Elapsed  time.Duration
}

// String returns a summary in one line. It has a rate from one second on: below that,
// connecting and the creation of the topic take most of the time, and a rate misleads.
func (p Produced) String() string {
	s := fmt.Sprintf("acknowledged %d of %d messages, %s MB in %s", p.Acked, p.Lines, cli.Megabytes(p.Bytes), cli.Short(p.Elapsed))
	if p.Elapsed >= time.Second {
		s += fmt.Sprintf(" (%s a second)", cli.Rate(p.Acked, p.Elapsed))
	}
	return s
}

// Produce sends each line to the topic and waits until all were acknowledged or
// have failed. It stops reading at the first line that fails; its error names
// that line. Produced is right in any case.
//
// A Read of a terminal or a pipe cannot be interrupted: when Produce returns
// early, from may still be in use until its stream gives something or ends.
func Produce(ctx context.Context, to Sender, from *lines.Reader, o ProduceOptions) (Produced, error) {
	c := &collector{o: o, start: time.Now(), results: make(chan result, 1024), done: make(chan struct{})}
	c.failed, c.fail = context.WithCancelCause(ctx)
	defer c.fail(nil)
	go c.run()

	var pending sync.WaitGroup
	err := c.send(to, from, &pending)
	// What was taken is finished also when ctx has ended: the producer gives each
	// record up by itself after its delivery timeout.
	flushErr := to.Flush(context.WithoutCancel(ctx))
	pending.Wait()
	close(c.results)
	<-c.done

	c.sum.Elapsed = time.Since(c.start)
	c.sum.Lines, c.sum.Keyless, c.sum.CutShort = c.read, c.keyless, c.cut
	switch {
	case c.err != nil: // the line that failed stands before the one that was read last
		return c.sum, c.err
	case err != nil:
		return c.sum, err
	case c.ackErr != nil:
		return c.sum, fmt.Errorf("write the numbers of acknowledged lines: %w", c.ackErr)
	}
	return c.sum, flushErr
}

// result is what became of one line.
type result struct {
	line  int64
	bytes int
	err   error
}

// collector sends, and counts what comes back. Its goroutine run owns sum, err
// and ackErr until done is closed; send owns read, keyless and cut.
type collector struct {
	o       ProduceOptions
	start   time.Time
	results chan result
	done    chan struct{}
	failed  context.Context // ends when a line fails
	fail    context.CancelCauseFunc

	read    int64
	keyless int64
	cut     bool

	sum    Produced
	err    error // of the first line, in the file's order, that failed
	errAt  int64
	ackErr error
}

func (c *collector) send(to Sender, from *lines.Reader, pending *sync.WaitGroup) error {
	next := make(chan input, 256)
	go read(c.failed, from, next)
	for {
		var in input
		select {
		case <-c.failed.Done(): // an earlier line failed, or the caller has left
			return context.Cause(c.failed)
		case in = <-next:
		}
		var long *lines.TooLongError
		switch {
		case errors.Is(in.err, io.EOF):
			c.cut = from.CutShort()
			return nil
		case errors.As(in.err, &long):
			c.read++
			return in.err
		case in.err != nil:
			return fmt.Errorf("read line %d: %w", in.number+1, in.err)
		}
		c.read++
		r := c.record(in.line)
		pending.Add(1)
		err := to.SendAsync(c.failed, r, func(_ client.Result, err error) {
			c.results <- result{line: in.number, bytes: len(r.Key) + len(r.Value), err: err}
			pending.Done()
		})
		if err != nil {
			pending.Done()
			if c.failed.Err() != nil {
				return context.Cause(c.failed)
			}
			return fmt.Errorf("line %d: %w", in.number, err)
		}
	}
}

// input is one line, or the error that ended the stream.
type input struct {
	line   []byte
	number int64
	err    error
}

// read reads ahead of send until the stream or ctx ends.
func read(ctx context.Context, from *lines.Reader, next chan<- input) {
	for {
		line, err := from.Next()
		select {
		case next <- input{line, from.Number(), err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

func (c *collector) record(line []byte) client.Record {
	r := client.Record{Topic: c.o.Topic, Value: line, Headers: c.o.Headers}
	if c.o.Partition != nil {
		r.Partition, r.Pinned = *c.o.Partition, true
	}
	if c.o.Separator != "" {
		if key, value, found := bytes.Cut(line, []byte(c.o.Separator)); found {
			r.Key, r.Value = key, value
		} else {
			c.keyless++
		}
	}
	return r
}

func (c *collector) run() {
	defer close(c.done)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case r, ok := <-c.results:
			if !ok {
				if c.o.Progress != nil {
					c.o.Progress.Done()
				}
				return
			}
			c.count(r)
		case <-tick.C:
			if p := c.o.Progress; p != nil && p.Due() {
				p.Show("acknowledged %s messages, %s a second", cli.Count(c.sum.Acked), cli.Rate(c.sum.Acked, time.Since(c.start)))
			}
		}
	}
}

func (c *collector) count(r result) {
	if r.err != nil {
		if c.err == nil || r.line < c.errAt {
			c.err, c.errAt = fmt.Errorf("line %d: %w", r.line, r.err), r.line
		}
		c.fail(c.err)
		return
	}
	c.sum.Acked++
	c.sum.Bytes += int64(r.bytes)
	if c.o.Acks != nil && c.ackErr == nil {
		if _, c.ackErr = fmt.Fprintln(c.o.Acks, r.line); c.ackErr != nil {
			c.fail(c.ackErr)
		}
	}
}
