package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"metaq/protocol"
)

// Producer sends records of any number of topics. Its methods may be called from
// any goroutine.
//
// Order: the records of one partition are stored in the order of their SendAsync
// calls. Once: every batch carries the producer's id and the place of its records
// in the producer's sequence for the partition, by which the broker recognises a
// batch that it has stored already; so a batch whose answer was lost is simply
// sent again. A record is given up only after the delivery timeout, a final
// refusal, or in Close; its error says whether it may be stored.
//
// While a batch of a partition is in flight the next one fills; up to five that
// are full are in flight at once. A batch that has to be repeated is not overtaken:
// the broker refuses those behind it until it is there, and they are repeated, too.
type Producer struct {
	c      *Client
	o      producerOptions
	id     atomic.Int64 // granted by a broker; 0 until the first topic is looked up
	buffer *budget
	limits atomic.Pointer[limits]

	ctx     context.Context // of what is handed over; ends when Close gives up
	cancel  context.CancelFunc
	asking  context.Context // of asking for topics; ends when Close begins
	hush    context.CancelFunc
	stale   chan struct{}         // has a token when a topic should be asked for at once
	topics  sync.Map              // string -> *topic
	recent  atomic.Pointer[topic] // the last that was looked up in topics
	batches sync.Pool             // *batch

	mu     sync.Mutex
	closed bool           // guarded by mu; Invariant: no goroutine is added to work once it is set
	work   sync.WaitGroup // lookups, and partitions that hand over; added to with mu held
	loop   sync.WaitGroup // refreshLoop
}

// limits are what the broker and the connection allow, in bytes.
type limits struct {
	message int // payload, key and headers of one record
	batch   int // one encoded batch
}

// NewProducer returns a producer. Topics are looked up when they are first used.
func (c *Client) NewProducer(opts ...ProducerOption) (*Producer, error) {
	o, err := newProducerOptions(opts)
	if err != nil {
		return nil, fmt.Errorf("new producer: %w", err)
	}
	p := &Producer{
		c: c, o: o,
		buffer: newBudget(o.bufferBytes, o.bufferRecords),
		stale:  make(chan struct{}, 1),
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.asking, p.hush = context.WithCancel(p.ctx)
	p.batches.New = func() any { return new(batch) }
	p.loop.Go(p.refreshLoop)
	return p, nil
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
	for {
		if p.asking.Err() != nil {
			return fmt.Errorf("send to %s: the producer is %w", r.Topic, ErrClosed)
		}
		t, list, err := p.lookup(ctx, r.Topic)
		if err != nil {
			return err
		}
		if err := p.check(&r); err != nil {
			return err
		}
		to, next, err := t.pick(list, &r)
		if err != nil {
			return err
		}
		if err := p.reserve(ctx, int64(r.size())); err != nil {
			return err
		}
		err = to.add(&r, done, next)
		if err == nil {
			return nil
		}
		p.buffer.release(int64(r.size()), 1)
		if !errors.Is(err, errGone) {
			return fmt.Errorf("send to %s %s: %w", r.Topic, to.id, err)
		}
	}
}

// check refuses what the broker would refuse, with all that is in its batch.
func (p *Producer) check(r *Record) error {
	for i := range r.Headers {
		if err := protocol.RefusedInBatch(r.Headers[i].Name); err != nil {
			return err
		}
	}
	l := p.limits.Load()
	size := r.size()
	limit := min(int64(l.message+protocol.Added(r.Headers)), p.o.bufferBytes)
	if room := l.batch - protocol.BatchHeaderSize; r.encodedBound() > room {
		limit = min(limit, int64(room-(r.encodedBound()-size)))
	}
	if int64(size) > limit {
		return protocol.ErrTooLarge.With("message of %d bytes is larger than the limit of %d: make it smaller or raise the broker's limit", size, limit)
	}
	return nil
}

func (p *Producer) reserve(ctx context.Context, bytes int64) error {
	if p.buffer.tryAcquire(bytes) {
		return nil
	}
	if p.o.refuse {
		return fmt.Errorf("%w: %d bytes and %d records are the limit; wait for results, or raise it with WithBuffer",
			ErrBufferFull, p.o.bufferBytes, p.o.bufferRecords)
	}
	if err := p.buffer.acquire(ctx, p.asking.Done(), bytes); err != nil {
		return fmt.Errorf("wait for room in the producer's buffer: %w", err)
	}
	return nil
}

// Flush waits until every record that was taken before the call has been
// reported, without waiting for linger. When ctx ends before it returns ctx's
// error; the records stay on their way.
func (p *Producer) Flush(ctx context.Context) error {
	var waits []<-chan struct{}
	p.eachPartition(func(q *partition) {
		if done := q.hurry(); done != nil {
			waits = append(waits, done)
		}
	})
	for _, done := range waits {
		select {
		case <-done:
		case <-ctx.Done():
			return fmt.Errorf("flush: %w", ctx.Err())
		}
	}
	return nil
}

// Close takes no more records, hands over those that were taken, and returns when
// all have been reported. When ctx ends before, the rest is reported as failed:
// with ErrClosed where it was never sent, with ErrOutcomeUnknown where it was;
// Close then returns ctx's error. It may be called twice.
func (p *Producer) Close(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.hush() // also ends every linger and every wait for room
	idle := make(chan struct{})
	go func() {
		p.work.Wait()
		close(idle)
	}()
	var err error
	select {
	case <-idle:
	case <-ctx.Done():
		select {
		case <-idle: // ctx had ended, and there was nothing to wait for
		default:
			err = fmt.Errorf("close the producer: %w; the records left were reported as failed", ctx.Err())
		}
	}
	p.cancel()
	<-idle
	p.loop.Wait()
	return err
}

// Buffered is what the producer holds: records taken and not yet reported, and
// their bytes of payload, key and headers.
func (p *Producer) Buffered() (records int, bytes int64) {
	return int(p.buffer.records.Load()), p.buffer.bytes.Load()
}

// start runs f on a goroutine that Close waits for; it returns false, and does
// not, once the producer is closed.
func (p *Producer) start(f func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.work.Go(f)
	return true
}

func (p *Producer) eachPartition(f func(*partition)) {
	p.topics.Range(func(_, v any) bool {
		if t, ok := v.(*topic); ok {
			for _, q := range t.all() {
				f(q)
			}
		}
		return true
	})
}

// now is the producer's clock.
func (p *Producer) now() time.Time { return time.Now() }
