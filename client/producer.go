package client

import (
	"context"
	"fmt"

	"metaq/client/internal/produce"
)

// Producer sends records of any number of topics. Its methods may be called from
// any goroutine.
//
// Order: the records of one partition are stored in the order of their SendAsync
// calls. Once: every batch carries the producer's id and the place of its records
// in the producer's sequence for the partition, by which the broker recognises a
// batch that it has stored already; so a batch whose answer was lost is simply
// sent again. A record is given up only after the delivery timeout, a final
// refusal, or in Close; its error tells whether it may be stored.
//
// While a batch of a partition is in flight the next one fills; up to five that
// are full are in flight at once. A batch that has to be repeated is not overtaken:
// the broker refuses those behind it until it has arrived, and they are repeated as well.
type Producer struct {
	engine *produce.Engine
}

// NewProducer returns a producer. Topics are looked up when they are first used.
func (c *Client) NewProducer(opts ...ProducerOption) (*Producer, error) {
	o, err := newProducerOptions(opts)
	if err != nil {
		return nil, fmt.Errorf("new producer: %w", err)
	}
	return &Producer{engine: produce.NewEngine(c.calls, c.log, produce.Options(o))}, nil
}

// Send sends one record and waits until it is stored. An error that wraps
// ErrOutcomeUnknown says that it may be stored; that is also what a ctx that ends
// during the wait gives, since a record that was taken is still delivered. With
// any other error the record is not stored.
func (p *Producer) Send(ctx context.Context, r Record) (Result, error) {
	type report struct {
		res Result
		err error
	}
	done := make(chan report, 1)
	if err := p.SendAsync(ctx, r, func(res Result, err error) { done <- report{res, err} }); err != nil {
		return Result{}, err
	}
	select {
	case d := <-done:
		return d.res, d.err
	case <-ctx.Done():
		return Result{}, fmt.Errorf("send to %s: %w: %w", r.Topic, ErrOutcomeUnknown, ctx.Err())
	}
}

// SendAsync takes a record, whose bytes it copies, and returns; done, which may be
// nil, is called once with what became of it. When SendAsync returns an error the
// record was not taken and done is not called: the record is too large or has a
// header that a batch must not have (at once, see Passed), the buffer is full, ctx ended, the topic or partition does not exist, or the
// producer is closed.
//
// It waits only for room in the buffer and, the first time that a topic is used,
// for its partitions: until ctx ends, and for those not beyond the delivery
// timeout.
//
// done is called on the partition's goroutine: one at a time and in order for one
// partition, concurrently for several. While it runs the partition hands nothing
// over, so it should be short; it must not wait for the producer (Send, Flush,
// Close, or SendAsync into a full buffer).
func (p *Producer) SendAsync(ctx context.Context, r Record, done func(Result, error)) error {
	if done == nil {
		return p.engine.Send(ctx, (*produce.Record)(&r), nil)
	}
	return p.engine.Send(ctx, (*produce.Record)(&r), onResult(done))
}

// onResult is a program's callback in the form that the engine calls. It is a function and
// no struct, so that no record allocates one.
type onResult func(Result, error)

// Report calls f.
func (f onResult) Report(topic string, id PartitionID, offset Offset, err error) {
	f(Result{Topic: topic, Partition: id, Offset: offset}, err)
}

// Flush waits until every record that was taken before the call has been
// reported, without waiting for linger. When ctx ends before it returns ctx's
// error; the records stay on their way.
func (p *Producer) Flush(ctx context.Context) error { return p.engine.Flush(ctx) }

// Close takes no more records, hands over those that were taken, and returns when
// all have been reported. When ctx ends before, the rest is reported as failed:
// with ErrClosed where it was never sent, with ErrOutcomeUnknown where it was;
// Close then returns ctx's error. It may be called twice.
func (p *Producer) Close(ctx context.Context) error { return p.engine.Close(ctx) }

// Buffered is what the producer holds: records taken and not yet reported, and
// their bytes of payload, key and headers.
func (p *Producer) Buffered() (records int, bytes int64) { return p.engine.Buffered() }
