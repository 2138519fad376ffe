package fetch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"metaq/client/internal/link"
	"metaq/protocol"
)

const (
	fetchLeast   = 64 << 10  // bytes of one answer, when many partitions share the prefetch
	fetchMost    = 256 << 10 // stays in a core's cache on its way through server and client
	existsChecks = 8         // failures in a row after which the topic is asked for
)

// feed fetches one partition for a Reader. Its goroutine is run.
type feed struct {
	r       *Feeds
	id      protocol.PartitionID
	subject string

	// Guarded by r.mu.
	ctx      context.Context // ends at Seek and Close; replaced at Seek
	cancel   context.CancelFunc
	start    Start
	known    bool            // fetch is the offset to fetch; else start says what it will be
	fetch    protocol.Offset // Invariant: all before it are in the queue or were returned
	epoch    protocol.Epoch  // of the record before fetch; 0: not known
	placed   bool            // epoch was asked for, if it was not known
	position protocol.Offset // of the next record that Next returns
	passed   protocol.Epoch  // of the record before position; 0: not known
	seen     bool            // a broker answered: LogStart and end mean something
	logStart protocol.Offset
	end      protocol.Offset
	problem  error // of the last attempt
	stopped  error // final until Seek
}

func newFeed(r *Feeds, id protocol.PartitionID, start Start) *feed {
	f := &feed{r: r, id: id, subject: r.c.Subjects.Partition(protocol.OpGet, r.topic, id)}
	f.resetLocked(start)
	return f
}

// resetLocked restarts at start.
func (f *feed) resetLocked(start Start) {
	if f.cancel != nil {
		f.cancel()
	}
	f.ctx, f.cancel = context.WithCancel(f.r.ctx)
	f.start, f.known, f.problem, f.stopped = start, false, nil, nil
	if start.Kind == StartOffset {
		f.setFetch(start.Offset, start.epoch)
	}
}

// setFetch fixes where fetching begins: behind a record of epoch, or 0 when that is not
// known. Wants r.mu, but in NewReader.
func (f *feed) setFetch(from protocol.Offset, epoch protocol.Epoch) {
	f.known, f.fetch, f.position = true, from, from
	f.epoch, f.passed, f.placed = epoch, epoch, epoch > 0 || from == 0
}

// run fetches until Close.
func (f *feed) run() {
	failures := 0
	for f.r.ctx.Err() == nil {
		f.r.mu.Lock()
		ctx, stopped := f.ctx, f.stopped
		f.r.mu.Unlock()
		if stopped != nil {
			<-ctx.Done() // until Seek or Close
			continue
		}
		if f.r.waitRoom(ctx) != nil {
			continue
		}
		err := f.fetchOnce(ctx)
		switch {
		case ctx.Err() != nil:
			failures = 0
			continue
		case err == nil:
			failures = 0
			continue
		case link.Retriable(err) || link.NotThere(err):
			f.note(ctx, err)
			failures++
			// A topic that was deleted has no leader either, for ever.
			if failures%existsChecks == 0 || link.NotThere(err) {
				err = f.exists(ctx)
			} else {
				err = nil
			}
			if err == nil {
				_ = link.Pause(ctx, link.Backoff(failures-1)) // its end is seen above
				continue
			}
		}
		f.stop(ctx, err)
	}
}

// waitRoom waits until less than the prefetch is held.
func (r *Feeds) waitRoom(ctx context.Context) error {
	for {
		r.mu.Lock()
		held, freed := r.held, r.freed
		r.mu.Unlock()
		if held < r.o.Prefetch {
			return ctx.Err()
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// resolve asks for the offset of a start, and for the epoch of the record before it.
func (f *feed) resolve(ctx context.Context, s Start) (protocol.Offset, protocol.Epoch, error) {
	var at time.Time
	if s.Kind == StartTime {
		at = s.At
	}
	reply, err := f.r.c.Lineage(ctx, f.r.topic, f.id, at)
	log := reply.Lineage()
	return reply.Offset, log.EpochBefore(reply.Offset), err
}

// place learns the epoch of the record before from, which a caller named. Without it a log
// that lost its end could not be told from this one until a record was read.
func (f *feed) place(ctx context.Context, from protocol.Offset) error {
	reply, err := f.r.c.Lineage(ctx, f.r.topic, f.id, time.Time{})
	if err != nil {
		return err
	}
	return f.update(ctx, func() {
		f.placed = true
		if log := reply.Lineage(); from <= log.EndOffset {
			f.epoch = log.EpochBefore(from)
		}
	})
}

// fetchOnce makes one request and queues what it gave. ctx is f.ctx as it was:
// once it has ended, nothing may be changed.
func (f *feed) fetchOnce(ctx context.Context) error {
	f.r.mu.Lock()
	start, known, from, epoch, placed := f.start, f.known, f.fetch, f.epoch, f.placed
	f.r.mu.Unlock()
	if !known && start.Kind != StartEarliest {
		asked := time.Now()
		at, epoch, err := f.resolve(ctx, start)
		if err != nil {
			// Asked again, the end would be that of another moment.
			_ = f.update(ctx, func() { f.start = f.start.asOf(asked) })
			return err
		}
		return f.update(ctx, func() { f.setFetch(at, epoch) })
	}
	if known && !placed {
		return f.place(ctx, from)
	}
	req := protocol.GetRequest{
		MaxBytes: f.r.fetchBytes(), MaxMessages: protocol.MaxBatchRecords,
		WaitMs: int(f.r.o.MaxWait.Milliseconds()), Format: protocol.FormatBatch,
	}
	if known {
		req.Offset, req.Epoch = &from, epoch
	}
	if req.Filter = f.r.o.Filter; req.Filter != nil {
		req.Format = protocol.FormatJSON
		return f.ask(ctx, &req, func(answer []byte) (bool, error) { return false, f.takeFiltered(ctx, answer, from, known) })
	}
	req.Answers = f.r.answers(req.MaxBytes)
	begun, first := time.Now(), true
	return f.ask(ctx, &req, func(answer []byte) (bool, error) {
		head, batches, err := protocol.ParseFetch(answer)
		if err != nil {
			return false, fmt.Errorf("%w: answer to %s: %w", ErrCorrupt, f.subject, err)
		}
		if !known {
			from = head.LogStart
		}
		if h, err := protocol.ParseBatchHeader(batches); err == nil && h.Base > from && !first {
			// The connection broke and is back.
			return false, protocol.ErrUnavailable.With("an answer to %s before offset %d got lost", f.subject, h.Base)
		}
		if from, err = f.takeBatches(ctx, head, batches, from, known); err != nil {
			return false, err
		}
		if len(batches) == 0 && time.Since(begun) < f.r.o.MaxWait/2 {
			// The broker does not wait as long as it was asked to. Do not spin.
			_ = link.Pause(ctx, link.Backoff(0))
		}
		known, first = true, false
		return head.More, nil
	})
}

// takeBatches queues what one answer gave, and returns the offset after it.
func (f *feed) takeBatches(ctx context.Context, head protocol.FetchHeader, batches []byte, from protocol.Offset, known bool) (protocol.Offset, error) {
	err := f.update(ctx, func() {
		f.setEnds(head.LogStart, head.EndOffset)
		if f.problem = nil; !known {
			f.setFetch(from, 0)
		}
	})
	if err != nil {
		return from, err
	}
	if len(batches) == 0 && from < head.EndOffset {
		return from, protocol.ErrUnavailable.With("answer to %s has no records, though the log ends at %d", f.subject, head.EndOffset)
	}
	return f.enqueue(ctx, batches, from)
}

// ask sends req and gives its answers to take. A refusal ends it with an error.
func (f *feed) ask(ctx context.Context, req *protocol.GetRequest, take link.TakeAnswer) error {
	data, err := json.Marshal(req)
	if err != nil {
		return fmt.Errorf("encode request %s: %w", f.subject, err)
	}
	err = f.r.c.Link.Ask(ctx, f.subject, data, f.r.o.MaxWait+link.RequestTimeout, func(answer []byte) (bool, error) {
		if err := protocol.DecodeError(answer); err != nil {
			return false, err
		}
		return take(answer)
	})
	var out *protocol.RangeError
	if errors.As(err, &out) && req.Offset != nil {
		return f.outOfRange(ctx, *req.Offset, out)
	}
	return err
}

// enqueue queues the batches, which hold the records from from on, and returns the
// offset after them. Only the first one is taken without asking for room.
func (f *feed) enqueue(ctx context.Context, batches []byte, from protocol.Offset) (protocol.Offset, error) {
	for len(batches) > 0 {
		h, err := protocol.ParseBatchHeader(batches)
		if err == nil && len(batches) < h.Length {
			err = protocol.ErrShortBatch
		}
		if err != nil {
			return from, fmt.Errorf("%w at offset %d of %s %s: %w", ErrCorrupt, from, f.r.topic, f.id, err)
		}
		if h.Base > from || h.Next() <= from {
			return from, fmt.Errorf("%w: %s %s gave offsets %d to %d when asked for %d", ErrCorrupt, f.r.topic, f.id, h.Base, h.Next()-1, from)
		}
		c := &Chunk{feed: f, Topic: f.r.topic, ID: f.id, next: h.Next(), Epoch: h.Epoch, from: from, bytes: int64(h.RawLen) + int64(h.Count)*f.r.o.RecordBytes}
		if !h.Control { // marks of transactions are not records
			c.Head, c.Raw = h, batches[:h.Length:h.Length]
		}
		if err := f.update(ctx, func() { f.pushLocked(c) }); err != nil {
			return from, err
		}
		batches, from = batches[h.Length:], h.Next()
		if len(batches) > 0 {
			if err := f.r.waitRoom(ctx); err != nil {
				return from, err
			}
		}
	}
	return from, nil
}

// pushLocked queues c, and counts it as fetched. A batch without records only
// moves the place where the records before it lead to.
func (f *feed) pushLocked(c *Chunk) {
	f.fetch, f.epoch, f.end = c.next, c.Epoch, max(f.end, c.next)
	f.placed = true
	if c.Raw != nil || len(c.Decoded) > 0 {
		f.r.queue = append(f.r.queue, c)
		f.r.held += c.bytes
		f.r.signal()
		return
	}
	if last := f.lastLocked(); last != nil {
		last.next = c.next
	} else {
		f.position, f.passed = c.next, c.Epoch
	}
}

// lastLocked returns the youngest chunk of f that waits for Next, or nil. Next
// moves the position to its end.
func (f *feed) lastLocked() *Chunk {
	for i := len(f.r.queue) - 1; i >= 0; i-- {
		if c := f.r.queue[i]; c.feed == f {
			return c
		}
	}
	return nil
}

// OutOfRange carries out the policy.
func (f *feed) outOfRange(ctx context.Context, from protocol.Offset, out *protocol.RangeError) error {
	if out.DivergedAt != nil {
		return f.diverged(ctx, from, out)
	}
	to, policy := out.LogStart, f.r.o.Policy
	if policy == OutOfRangeAsBroker {
		policy = OutOfRangeError
		if out.JumpToEnd {
			policy = OutOfRangeLatest
		}
	}
	switch policy {
	case OutOfRangeLatest:
		to = out.EndOffset
	case OutOfRangeEarliest:
	case OutOfRangeError, OutOfRangeAsBroker:
		if err := f.update(ctx, func() { f.setEnds(out.LogStart, out.EndOffset) }); err != nil {
			return err
		}
		return fmt.Errorf("read %s %s: %w", f.r.topic, f.id, out)
	}
	f.r.log.Warn("offset is out of range", "topic", f.r.topic, "partition", f.id.String(),
		"offset", from, "log_start", out.LogStart, "end_offset", out.EndOffset, "next", to)
	return f.moveTo(ctx, to, out)
}

// diverged takes it that the log is not the one that was read. A topic that was deleted and
// made again is read from its beginning: all in it is new. In a log that has lost its end
// reading continues where both logs part, by whatever policy there is but that of the error.
func (f *feed) diverged(ctx context.Context, from protocol.Offset, out *protocol.RangeError) error {
	policy := f.r.o.Policy
	if policy == OutOfRangeError || policy == OutOfRangeAsBroker && !out.JumpToEnd {
		if !out.Recreated {
			if err := f.update(ctx, func() { f.setEnds(out.LogStart, out.EndOffset) }); err != nil {
				return err
			}
			return fmt.Errorf("read %s %s: %w", f.r.topic, f.id, out)
		}
	}
	to := &Moved{Topic: f.r.topic, Partition: f.id, From: from, To: *out.DivergedAt, Recreated: out.Recreated}
	f.r.log.Warn("the log is not the one that was read", "topic", f.r.topic, "partition", f.id.String(),
		"offset", from, "recreated", out.Recreated, "next", to.To)
	if err := f.moveTo(ctx, to.To, out); err != nil {
		return err
	}
	if f.r.o.Moved != nil {
		f.r.o.Moved(to)
	}
	return nil
}

// moveTo continues at to, behind what is queued.
func (f *feed) moveTo(ctx context.Context, to protocol.Offset, out *protocol.RangeError) error {
	return f.update(ctx, func() {
		f.setEnds(out.LogStart, out.EndOffset)
		f.fetch, f.epoch, f.placed = to, 0, to == 0
		if last := f.lastLocked(); last != nil {
			last.next = to
		} else {
			f.position, f.passed = to, 0
		}
	})
}

func (f *feed) setEnds(logStart, end protocol.Offset) {
	f.seen, f.logStart, f.end = true, logStart, end
}

// update changes f's fields unless Seek or Close came in between; then it returns
// ctx's error. Seek ends ctx with r.mu held, so the look at ctx is enough.
func (f *feed) update(ctx context.Context, change func()) error {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	change()
	return nil
}

// note keeps a passing problem for Positions.
func (f *feed) note(ctx context.Context, err error) {
	_ = f.update(ctx, func() { f.problem = err }) // after a Seek it is nobody's problem
}

// stop gives err to Next and rests until Seek.
func (f *feed) stop(ctx context.Context, err error) {
	_ = f.update(ctx, func() { f.stopLocked(f.fetch, err) }) // after a Seek nothing is stopped
}

func (f *feed) stopLocked(next protocol.Offset, err error) {
	f.problem, f.stopped = err, err
	f.r.queue = append(f.r.queue, &Chunk{feed: f, Topic: f.r.topic, ID: f.id, next: next, err: err})
	f.r.signal()
}

// failLocked drops what was fetched, and what is being fetched, and stops with err.
func (f *feed) failLocked(err error) {
	f.dropLocked()
	f.cancel()
	f.ctx, f.cancel = context.WithCancel(f.r.ctx)
	f.stopLocked(f.position, err)
}

// dropLocked takes the chunks of f out of the queue.
func (f *feed) dropLocked() {
	f.r.queue = slices.DeleteFunc(f.r.queue, func(c *Chunk) bool {
		if c.feed == f {
			f.r.freeLocked(c.bytes)
		}
		return c.feed == f
	})
}

// exists returns an error when topic or partition are no longer there.
func (f *feed) exists(ctx context.Context) error {
	info, err := f.r.c.Describe(ctx, f.r.topic)
	switch {
	case err == nil:
		return CheckPartitions(&info, []protocol.PartitionID{f.id})
	case link.Retriable(err), ctx.Err() != nil:
		return nil // it cannot be said now
	default:
		return err
	}
}

// fetchBytes is the size of an answer to ask for: the prefetch's share.
func (r *Feeds) fetchBytes() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	share := int(r.o.Prefetch) / max(len(r.feeds), 1)
	return min(max(share, fetchLeast), fetchMost)
}

// answers returns the number of answers of the given size that there is room for.
func (r *Feeds) answers(bytes int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	room := min(r.o.Prefetch-r.held, r.o.Prefetch/int64(max(len(r.feeds), 1)))
	return int(min(max(room/int64(bytes), 1), protocol.MaxAnswers))
}
