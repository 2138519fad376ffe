package fetch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"metaq/client/internal/link"
	"metaq/protocol"
)

// ErrCorrupt is client.ErrCorrupt.
var ErrCorrupt = errors.New("damaged batch")

// resolveTimeout bounds how long NewReader waits for a partition without leader.
const resolveTimeout = 2 * time.Second

// OutOfRange is client.OutOfRange, with the same values.
type OutOfRange uint8

// The policies, in the order of package client.
const (
	OutOfRangeError OutOfRange = iota
	OutOfRangeEarliest
	OutOfRangeLatest
	OutOfRangeAsBroker
)

// Moved is client.MovedError.
type Moved struct {
	Topic     string
	Partition protocol.PartitionID
	From, To  protocol.Offset
	Recreated bool
}

// Options are those of a reader; package client documents and checks them.
type Options struct {
	Partitions  []protocol.PartitionID
	Start       Start
	Offsets     map[protocol.PartitionID]protocol.Offset
	Prefetch    int64
	MaxWait     time.Duration
	Policy      OutOfRange
	Refresh     time.Duration
	Filter      *protocol.Filter
	Moved       func(*Moved)
	Place       *protocol.GroupPosition // where the one partition of a consumer begins
	RecordBytes int64                   // what a decoded record takes besides its bytes
}

// Feeds fetch partitions of one topic ahead of a client.Reader, into a queue of chunks.
type Feeds struct {
	c     *link.Caller
	log   *slog.Logger
	topic string
	o     Options
	began time.Time

	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup // feeds and growLoop

	ready chan struct{} // has a token when a waiting Next should look again

	mu    sync.Mutex    // guards the fields below, and those of the feeds
	feeds []*feed       // Invariant: sorted by id
	queue []*Chunk      // fetched, oldest first; no chunk is empty
	held  int64         // bytes of the queue
	freed chan struct{} // closed and replaced when held became smaller
}

// Open reads partitions that are known to exist.
func Open(ctx context.Context, c *link.Caller, log *slog.Logger, topic string, o Options, ids []protocol.PartitionID, began time.Time) (*Feeds, error) {
	r := &Feeds{c: c, log: log, topic: topic, o: o, began: began, ready: make(chan struct{}, 1), freed: make(chan struct{})}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	slices.SortFunc(ids, protocol.PartitionID.Compare)
	for _, id := range slices.Compact(ids) {
		from := o.Start
		if at, ok := o.Offsets[id]; ok {
			from = Start{Kind: StartOffset, Offset: at}
		}
		if o.Place != nil {
			from = Start{Kind: StartOffset, Offset: o.Place.Offset, epoch: o.Place.Epoch}
		}
		r.feeds = append(r.feeds, newFeed(r, id, from))
	}
	if err := r.resolveStarts(ctx); err != nil {
		r.Close()
		return nil, err
	}
	for _, f := range r.feeds {
		r.work.Go(f.run)
	}
	if len(o.Partitions) == 0 {
		r.work.Go(r.growLoop)
	}
	return r, nil
}

// CheckPartitions returns ErrNoPartition unless the topic has all of ids.
func CheckPartitions(info *protocol.TopicInfo, ids []protocol.PartitionID) error {
	for _, id := range ids {
		if !slices.ContainsFunc(info.Partitions, func(p protocol.PartitionInfo) bool { return p.Partition == id }) {
			return protocol.ErrNoPartition.With("topic %s has no partition %s: see metaq topic info %s", info.Topic, id, info.Topic)
		}
	}
	return nil
}

// resolveStarts turns the starts that need a broker into offsets. What cannot be
// asked for now is left to the feeds.
func (r *Feeds) resolveStarts(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	for _, f := range r.feeds {
		for attempt := 0; !f.known && f.start.Kind != StartEarliest; attempt++ {
			from, epoch, err := f.resolve(ctx, f.start)
			if err == nil {
				f.setFetch(from, epoch)
				break
			}
			if !link.Retriable(err) {
				return err
			}
			if link.Pause(ctx, link.Backoff(attempt)) != nil {
				f.start = f.start.asOf(r.began)
				break
			}
		}
	}
	return nil
}

// Over returns why no record will be returned: the reader is closed, or ctx has ended.
func (r *Feeds) Over(ctx context.Context) error {
	switch {
	case r.ctx.Err() != nil:
		return fmt.Errorf("read %s: the reader is %w", r.topic, link.ErrClosed)
	case ctx.Err() != nil:
		return fmt.Errorf("read %s: %w", r.topic, ctx.Err())
	}
	return nil
}

// Wait returns when there may be a chunk, and when ctx or the reader ends.
func (r *Feeds) Wait(ctx context.Context) {
	select {
	case <-r.ready:
	case <-ctx.Done():
	case <-r.ctx.Done():
	}
}

// Held returns the bytes of the queue.
func (r *Feeds) Held() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held
}

// First returns the oldest chunk, or nil, and then an error when no partition will give
// another one. The caller is the only one who takes.
func (r *Feeds) First() (*Chunk, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) == 0 {
		return nil, r.allStoppedLocked()
	}
	return r.queue[0], nil
}

// Taken notes that n records of c, the last of them at offset last, were taken, and that
// the next one is damaged unless bad is nil. It reports whether c was still the first: a
// Seek may have dropped it in between. err is c's own.
func (r *Feeds) Taken(c *Chunk, n int, last protocol.Offset, bad error) (ok bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) == 0 || r.queue[0] != c {
		return false, nil
	}
	if bad == nil {
		c.feed.position, c.feed.passed = c.position(), c.Epoch
	} else if n > 0 {
		c.feed.position, c.feed.passed = last+1, c.Epoch
	}
	switch {
	case bad != nil:
		c.feed.failLocked(bad)
	case c.Left() == 0:
		r.queue[0] = nil
		r.queue = r.queue[1:]
		r.freeLocked(c.bytes)
	}
	if len(r.queue) > 0 {
		r.signal() // for another goroutine in Next
	}
	return true, c.err
}

// allStoppedLocked returns an error when no partition will give a record.
func (r *Feeds) allStoppedLocked() error {
	for _, f := range r.feeds {
		if f.stopped == nil {
			return nil
		}
	}
	if len(r.feeds) == 0 {
		return nil
	}
	return r.feeds[0].stopped
}

func (r *Feeds) freeLocked(bytes int64) {
	r.held -= bytes
	close(r.freed)
	r.freed = make(chan struct{})
}

func (r *Feeds) signal() {
	select {
	case r.ready <- struct{}{}:
	default:
	}
}

// Position is client.Position, and the epoch of the record before it.
type Position struct {
	Partition     protocol.PartitionID
	Offset        protocol.Offset // of the record that is taken next
	LogStart, End protocol.Offset
	Known         bool
	Err           error
	Epoch         protocol.Epoch // 0: not known
}

// Positions returns where the Reader is, sorted by partition.
func (r *Feeds) Positions() []Position {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Position, 0, len(r.feeds))
	for _, f := range r.feeds {
		out = append(out, Position{
			Partition: f.id, Offset: f.position, LogStart: f.logStart, End: f.end,
			Known: f.seen && f.known, Err: f.problem, Epoch: f.passed,
		})
	}
	return out
}

// Seek continues the partition at s. What was fetched of it is dropped; a stopped
// partition starts again. It returns ErrNoPartition when the reader does not read
// the partition.
func (r *Feeds) Seek(p protocol.PartitionID, s Start) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.findLocked(p)
	if f == nil {
		return protocol.ErrNoPartition.With("the reader of %s does not read partition %s", r.topic, p)
	}
	f.dropLocked()
	f.resetLocked(s)
	return nil
}

func (r *Feeds) findLocked(p protocol.PartitionID) *feed {
	i, ok := slices.BinarySearchFunc(r.feeds, p, func(f *feed, id protocol.PartitionID) int { return f.id.Compare(id) })
	if !ok {
		return nil
	}
	return r.feeds[i]
}

// Close stops fetching and returns when the goroutines have ended. It may be called twice.
func (r *Feeds) Close() {
	r.cancel()
	r.work.Wait()
}

// growLoop looks for new partitions from time to time.
func (r *Feeds) growLoop() {
	for link.Pause(r.ctx, r.o.Refresh) == nil {
		info, err := r.c.DescribeTopic(r.ctx, r.topic)
		if err != nil {
			continue // the feeds find out and tell
		}
		for i := range info.Partitions {
			r.addFeed(info.Partitions[i].Partition)
		}
	}
}

func (r *Feeds) addFeed(id protocol.PartitionID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.findLocked(id) != nil {
		return
	}
	from := Start{}
	if r.o.Start.Kind == StartTime && r.o.Start.At.After(r.began) {
		from = r.o.Start
	}
	f := newFeed(r, id, from)
	at, _ := slices.BinarySearchFunc(r.feeds, id, func(f *feed, id protocol.PartitionID) int { return f.id.Compare(id) })
	r.feeds = slices.Insert(r.feeds, at, f)
	r.work.Go(f.run) // growLoop is in work, so Close is still waiting
}
