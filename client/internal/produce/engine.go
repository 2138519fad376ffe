package produce

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"metaq/client/internal/link"
	"metaq/protocol"
)

// Errors that records are reported with; package client documents them.
var (
	ErrBufferFull     = errors.New("the producer's buffer is full")
	ErrOutcomeUnknown = errors.New("outcome unknown")
	ErrNotDelivered   = errors.New("not delivered within the timeout")
)

// Options are those of a producer; package client documents and checks them.
type Options struct {
	Linger          time.Duration
	BatchBytes      int
	Compression     protocol.Compression
	BufferBytes     int64
	BufferRecords   int64
	Refuse          bool
	DeliveryTimeout time.Duration
	RequestTimeout  time.Duration
	Refresh         time.Duration
}

// Record is a record to be sent. Its fields are those of client.Record, so that one
// converts to the other without a copy.
type Record struct {
	Topic     string
	Partition protocol.PartitionID
	Pinned    bool
	Epoch     protocol.Epoch
	Offset    protocol.Offset
	Time      time.Time
	Key       []byte
	Value     []byte
	Headers   []protocol.Header
}

// size is what limits and buffers count: payload, key and headers in bytes.
func (r *Record) size() int {
	n := len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += len(r.Headers[i].Name) + len(r.Headers[i].Value)
	}
	return n
}

// encodedBound is an upper bound of the bytes that the record takes in a batch:
// what size counts, and up to 20 bytes of lengths and time, and 10 a header.
func (r *Record) encodedBound() int { return r.size() + 20 + 10*len(r.Headers) }

// Reporter learns what became of a record: its offset, or -1 and why it failed.
type Reporter interface {
	Report(topic string, id protocol.PartitionID, offset protocol.Offset, err error)
}

// Engine is the machinery of a client.Producer: it owns the topics in use, their
// partitions with the batches, and the buffer's budget.
type Engine struct {
	c      *link.Caller
	log    *slog.Logger
	o      Options
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

// NewEngine returns a running engine. Topics are looked up when they are first used.
func NewEngine(c *link.Caller, log *slog.Logger, o Options) *Engine {
	p := &Engine{
		c: c, log: log, o: o,
		buffer: newBudget(o.BufferBytes, o.BufferRecords),
		stale:  make(chan struct{}, 1),
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.asking, p.hush = context.WithCancel(p.ctx)
	p.batches.New = func() any { return new(batch) }
	p.loop.Go(p.refreshLoop)
	return p
}

// Send takes r, whose bytes it copies, and calls done, which may be nil, once r is
// stored or given up. An error means that r was not taken and done is not called.
func (p *Engine) Send(ctx context.Context, r *Record, done Reporter) error {
	for {
		if p.asking.Err() != nil {
			return fmt.Errorf("send to %s: the producer is %w", r.Topic, link.ErrClosed)
		}
		t, list, err := p.lookup(ctx, r.Topic)
		if err != nil {
			return err
		}
		if err := p.check(r); err != nil {
			return err
		}
		to, next, err := t.pick(list, r)
		if err != nil {
			return err
		}
		if err := p.reserve(ctx, int64(r.size())); err != nil {
			return err
		}
		err = to.add(r, done, next)
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
func (p *Engine) check(r *Record) error {
	for i := range r.Headers {
		if err := protocol.RefusedInBatch(r.Headers[i].Name); err != nil {
			return err
		}
	}
	l := p.limits.Load()
	size := r.size()
	limit := min(int64(l.message+protocol.Added(r.Headers)), p.o.BufferBytes)
	if room := l.batch - protocol.BatchHeaderSize; r.encodedBound() > room {
		limit = min(limit, int64(room-(r.encodedBound()-size)))
	}
	if int64(size) > limit {
		return protocol.ErrTooLarge.With("message of %d bytes is larger than the limit of %d: make it smaller or raise the broker's limit", size, limit)
	}
	return nil
}

func (p *Engine) reserve(ctx context.Context, bytes int64) error {
	if p.buffer.tryAcquire(bytes) {
		return nil
	}
	if p.o.Refuse {
		return fmt.Errorf("%w: %d bytes and %d records are the limit; wait for results, or raise it with WithBuffer",
			ErrBufferFull, p.o.BufferBytes, p.o.BufferRecords)
	}
	if err := p.buffer.acquire(ctx, p.asking.Done(), bytes); err != nil {
		return fmt.Errorf("wait for room in the producer's buffer: %w", err)
	}
	return nil
}

// Flush waits until every record that was taken before the call has been reported,
// and ends the linger of their batches.
func (p *Engine) Flush(ctx context.Context) error {
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

// Close takes no more records, hands over those that were taken, and returns when all
// have been reported. When ctx ends first it fails the rest.
func (p *Engine) Close(ctx context.Context) error {
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

// Buffered returns how many records and bytes the producer holds.
func (p *Engine) Buffered() (records int, bytes int64) {
	return int(p.buffer.records.Load()), p.buffer.bytes.Load()
}

// start runs f on a goroutine that Close waits for; it returns false, and does
// not, once the producer is closed.
func (p *Engine) start(f func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.work.Go(f)
	return true
}

func (p *Engine) eachPartition(f func(*partition)) {
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
func (p *Engine) now() time.Time { return time.Now() }
