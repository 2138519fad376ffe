package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"metaq/client/internal/group"
	"metaq/client/internal/link"
	"metaq/protocol"
)

func keysOf[V any](m map[protocol.TopicPartition]V) iter.Seq[protocol.TopicPartition] {
	return maps.Keys(m)
}

// Messages to a partition's actor.
type (
	proceed   struct{} // process what comes next
	retryDue  struct{ generation int }
	pausePart struct{ paused bool }
	seekPart  struct{ to Start }
)

// consumed is the actor of one partition of a Consumer. It processes one record,
// or one batch, for each message to itself, so that what else it is told comes in
// between.
type consumed struct {
	con  *Consumer
	at   protocol.TopicPartition
	from group.Place
	pid  *actor.PID // owned by the parent, as is ending

	ending bool
	ctx    context.Context // of the handler
	cancel context.CancelFunc
	next   atomic.Int64                    // offset of the next record to process
	mark   atomic.Pointer[group.EpochMark] // for next; replaced before next moves to where it matters

	mu       sync.Mutex // guards what follows
	wait     context.CancelFunc
	pending  bool // an interrupt came while nothing waited
	stopping bool // no further record

	reader     *Reader
	buf        []Record
	memory     []Record // that buf is in, and that the next fetch writes over
	paused     bool
	absent     bool  // the broker does not know the partition, and the program was told
	rolling    bool  // a proceed is on its way
	attempts   int   // failures of the record in hand
	dead       error // why it is given up, while it cannot be put away
	resting    bool  // until the retry
	generation int   // of the retry
}

func newConsumed(con *Consumer, at protocol.TopicPartition, from group.Place) *consumed {
	c := &consumed{con: con, at: at, from: from}
	c.ctx, c.cancel = context.WithCancel(con.ctx)
	c.mark.Store(&group.EpochMark{Epoch: from.Epoch})
	c.next.Store(int64(from.Offset))
	return c
}

// processed is the place that may be committed. It reads next first: a mark that is newer
// knows the epoch before it.
func (c *consumed) processed() group.Place {
	next := Offset(c.next.Load())
	return c.mark.Load().At(next)
}

// advance moves the place to next, behind a record of epoch.
func (c *consumed) advance(next Offset, epoch protocol.Epoch) {
	if m := c.mark.Load(); m.Epoch != epoch {
		c.mark.Store(&group.EpochMark{First: next, Epoch: epoch, Before: m.Epoch})
	}
	c.next.Store(int64(next))
}

// end ends the actor after the record in hand, whose context ends when cut.
func (c *consumed) end(ctx actor.Context, cut bool) {
	c.mu.Lock()
	c.stopping = true
	c.mu.Unlock()
	if cut {
		c.cancel()
	}
	c.interrupt()
	if !c.ending {
		c.ending = true
		ctx.Poison(c.pid)
	}
}

// interrupt ends the wait for records, so that the actor looks at its messages.
func (c *consumed) interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wait != nil {
		c.wait()
	} else {
		c.pending = true
	}
}

func (c *consumed) stopped() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stopping
}

// Receive is the actor.
func (c *consumed) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case proceed:
		c.rolling = false
		c.step(ctx)
	case retryDue:
		if m.generation == c.generation {
			c.resting = false
			c.roll(ctx)
		}
	case pausePart:
		c.paused = m.paused
		c.roll(ctx)
	case seekPart:
		c.Seek(ctx, m.to)
	case *actor.Stopping:
		c.cancel()
		if c.reader != nil {
			c.reader.Close()
		}
	}
}

// roll sends the message that processes the next record, unless it is on its way.
func (c *consumed) roll(ctx actor.Context) {
	if c.rolling || c.paused || c.resting || c.stopped() {
		return
	}
	c.rolling = true
	ctx.Send(ctx.Self(), proceed{})
}

func (c *consumed) Seek(ctx actor.Context, to Start) {
	if !c.Open() {
		c.roll(ctx)
		return
	}
	if err := c.reader.Seek(c.at.Partition, to); err != nil {
		c.con.o.onError(err)
		return
	}
	c.buf, c.attempts, c.dead, c.resting = nil, 0, nil, false
	c.generation++
	c.roll(ctx)
}

// Open makes the reader; false when that did not work.
func (c *consumed) Open() bool {
	if c.reader != nil {
		return true
	}
	opts := []ReaderOption{
		ReadPartitions(c.at.Partition), startAtPlace(c.from.Of(c.at)),
		WhenOutOfRange(c.con.o.outOfRange), WithPrefetch(c.con.o.prefetch),
		WhenMoved(func(m *MovedError) { c.con.o.onError(m) }),
	}
	if c.con.o.filter != nil {
		opts = append(opts, ReadFilter(*c.con.o.filter))
	}
	// Who assigned the partition knows that it exists: with a thousand of them, as many
	// questions for the topic's description would be refused.
	o, err := newReaderOptions(opts)
	var r *Reader
	if err == nil {
		r, err = c.con.c.newReader(c.ctx, c.at.Topic, o, []PartitionID{c.at.Partition}, time.Now())
	}
	if err != nil {
		if c.ctx.Err() == nil {
			c.con.o.onError(err)
		}
		return false
	}
	c.reader = r
	return true
}

// step processes the next record or batch.
func (c *consumed) step(ctx actor.Context) {
	if c.paused || c.resting || c.stopped() {
		return
	}
	if !c.con.m.InSession() {
		// The partition may be another's by now. Whether it is, the next answer tells.
		c.rest(ctx, link.BackoffFirst)
		return
	}
	if !c.Open() {
		c.rest(ctx, link.BackoffMost)
		return
	}
	if len(c.buf) == 0 {
		recs, err := c.fetch()
		if link.NotThere(err) && !c.seen() {
			c.lost(ctx, err)
			return
		}
		if err != nil {
			c.con.o.onError(err)
			return // until a seek
		}
		c.absent = false
		c.buf = recs
	}
	if len(c.buf) > 0 && !c.stopped() {
		c.process(ctx)
	}
	c.roll(ctx)
}

// seen reports whether a broker has answered the reader. A partition that is not there
// any more was deleted, and one of the same name is another.
func (c *consumed) seen() bool {
	return slices.ContainsFunc(c.reader.Positions(), func(p Position) bool { return p.Known })
}

// lost begins again later, with a new reader, in a partition that its broker does not know
// yet, though whoever assigned it did. The program is told once.
func (c *consumed) lost(ctx actor.Context, err error) {
	if !c.absent {
		c.absent = true
		c.con.o.onError(err)
	}
	c.reader.Close()
	c.reader, c.from = nil, c.processed()
	c.rest(ctx, link.BackoffMost)
}

// fetch waits for records. It returns none when it was interrupted.
func (c *consumed) fetch() ([]Record, error) {
	wait, cancel := context.WithCancel(c.ctx)
	if c.con.o.filter != nil {
		// Look from time to time how far the reader came without finding anything.
		wait, cancel = context.WithTimeout(c.ctx, c.con.o.commit)
	}
	defer cancel()
	c.mu.Lock()
	if c.pending || c.stopping {
		c.pending = false
		c.mu.Unlock()
		return nil, nil
	}
	c.wait = cancel
	c.mu.Unlock()
	if c.con.o.batch != nil {
		c.memory = nil // the handler may have kept the slice
	}
	recs, err := c.reader.AppendBatch(wait, c.memory[:0])
	c.memory = recs
	c.mu.Lock()
	c.wait = nil
	c.mu.Unlock()
	if wait.Err() != nil && len(recs) == 0 {
		// All that the reader handed out is processed, so its position is ours.
		for _, p := range c.reader.feeds.Positions() {
			if p.Known && int64(p.Offset) > c.next.Load() {
				c.advance(p.Offset, p.Epoch)
			}
		}
		return nil, nil
	}
	return recs, err
}

// process gives the handler what is next, and takes its verdict.
func (c *consumed) process(ctx actor.Context) {
	if c.dead != nil {
		c.bury(ctx, c.dead)
		return
	}
	n, err := 1, error(nil)
	if c.con.o.batch != nil {
		n = min(len(c.buf), c.con.o.batchMost)
		err = c.con.guarded(c.at, func() error { return c.con.o.batch(c.ctx, c.buf[:n]) })
		var b *BatchError
		if errors.As(err, &b) && b.Index >= 0 && b.Index < n {
			c.passed(b.Index)
			err = b.Err
		}
	} else {
		err = c.con.guarded(c.at, func() error { return c.con.o.handle(c.ctx, c.buf[0]) })
	}
	if err == nil {
		c.passed(n)
		return
	}
	if c.ctx.Err() != nil {
		return // taken away: whoever has it next begins with this record
	}
	c.failed(ctx, err)
}

// guarded makes a handler's panic over a record of p a failure like any other.
func (con *Consumer) guarded(p protocol.TopicPartition, handle func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			con.log.Error("handler panicked", "topic", p.Topic, "partition", p.Partition.String(),
				"reason", fmt.Sprint(r), "stack", string(debug.Stack()))
			err = fmt.Errorf("handler panicked: %v", r)
		}
	}()
	return handle()
}

// passed moves the position past n records.
func (c *consumed) passed(n int) {
	if n == 0 {
		return
	}
	last := &c.buf[n-1]
	c.advance(last.Offset+1, last.Epoch)
	c.buf = c.buf[n:]
	c.attempts, c.dead = 0, nil
}

// failed tries the first record again later, or gets rid of it.
func (c *consumed) failed(ctx actor.Context, err error) {
	c.attempts++
	o := &c.con.o
	if c.attempts <= o.retries {
		c.rest(ctx, min(o.backoff<<min(c.attempts-1, 20), o.backoffMax))
		return
	}
	c.bury(ctx, err)
}

// bury gets rid of the first record.
func (c *consumed) bury(ctx actor.Context, err error) {
	o, rec := &c.con.o, c.buf[0]
	var lost error
	switch o.failure {
	case DeadLetter:
		lost = c.con.dlq.Send(c.ctx, rec, c.attempts, err)
	case Keep:
		lost = c.con.kept.keep(rec, err)
	case Drop:
		c.con.log.Warn("record dropped", "topic", rec.Topic, "partition", rec.Partition.String(), "offset", int64(rec.Offset), "err", err)
	case StopConsumer:
		c.resting = true
		c.con.fail(&HandlerError{Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset, Attempts: c.attempts, Err: err})
		return
	}
	if lost != nil {
		// The record must not get lost: its partition waits.
		c.dead = err
		if c.ctx.Err() == nil {
			o.onError(lost)
			c.rest(ctx, o.backoffMax)
		}
		return
	}
	c.passed(1)
}

// rest waits before the record in hand is tried again.
func (c *consumed) rest(ctx actor.Context, d time.Duration) {
	c.resting = true
	c.generation++
	self, system, generation := ctx.Self(), c.con.system, c.generation
	time.AfterFunc(d, func() { system.Root.Send(self, retryDue{generation}) })
}
