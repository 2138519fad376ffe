package client

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"metaq/protocol"
)

// resolveTimeout bounds how long NewReader waits for a partition without leader.
const resolveTimeout = 2 * time.Second

// Reader reads partitions of one topic, without a group and without remembering
// where it was. It fetches ahead. Records of one partition come in order; those of
// several are mixed as they arrive. Its methods may be called from any goroutine.
type Reader struct {
	c     *Client
	topic string
	o     readerOptions
	began time.Time

	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup // feeds and growLoop

	ready chan struct{} // has a token when a waiting Next should look again

	// taking is held while records are taken from the first chunk, so that they are
	// decoded once and without holding mu. Take it before mu.
	taking sync.Mutex

	mu    sync.Mutex    // guards the fields below, and those of the feeds
	feeds []*feed       // Invariant: sorted by id
	queue []*chunk      // fetched, oldest first; no chunk is empty
	held  int64         // bytes of the queue
	freed chan struct{} // closed and replaced when held became smaller
}

// Position is how far a Reader is in one partition.
type Position struct {
	Partition PartitionID
	Offset    Offset // of the record that Next returns next
	LogStart  Offset // as last heard
	EndOffset Offset // as last heard
	Known     bool   // false before the partition's leader answered first; the offsets mean nothing then
	// Err is why the partition is not read now: a passing problem that is tried
	// again, or what stopped it. Nil when all is well.
	Err error

	epoch protocol.Epoch // of the record before Offset; 0: not known
}

// NewReader reads topic. It asks for the topic's partitions, and for the offsets
// of starts like Latest, so that what is sent after NewReader returned will be
// read. A partition that has no leader just now is looked up when it has one: Latest
// is then the first record since a minute before the call, as the broker's clock and
// this one may differ. Partitions that come later are read from their beginning, but
// with a time as start that was still to come.
func (c *Client) NewReader(ctx context.Context, topic string, opts ...ReaderOption) (*Reader, error) {
	o, err := newReaderOptions(opts)
	if err != nil {
		return nil, fmt.Errorf("new reader: %w", err)
	}
	began := time.Now()
	info, err := c.Admin().TopicInfo(ctx, topic)
	if err != nil {
		return nil, err
	}
	ids := o.partitions
	if len(ids) == 0 {
		for i := range info.Partitions {
			ids = append(ids, info.Partitions[i].Partition)
		}
	} else if err := checkPartitions(&info, ids); err != nil {
		return nil, err
	}
	return c.newReader(ctx, topic, o, ids, began)
}

// newReader reads partitions that are known to exist.
func (c *Client) newReader(ctx context.Context, topic string, o readerOptions, ids []PartitionID, began time.Time) (*Reader, error) {
	r := &Reader{c: c, topic: topic, o: o, began: began, ready: make(chan struct{}, 1), freed: make(chan struct{})}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	slices.SortFunc(ids, PartitionID.Compare)
	for _, id := range slices.Compact(ids) {
		start := o.start
		if at, ok := o.offsets[id]; ok {
			start = AtOffset(at)
		}
		if o.place != nil {
			start = atPlace(o.place)
		}
		r.feeds = append(r.feeds, newFeed(r, id, start))
	}
	if err := r.resolveStarts(ctx); err != nil {
		r.Close()
		return nil, err
	}
	for _, f := range r.feeds {
		r.work.Go(f.run)
	}
	if len(o.partitions) == 0 {
		r.work.Go(r.growLoop)
	}
	return r, nil
}

func checkPartitions(info *protocol.TopicInfo, ids []PartitionID) error {
	for _, id := range ids {
		if !slices.ContainsFunc(info.Partitions, func(p protocol.PartitionInfo) bool { return p.Partition == id }) {
			return protocol.ErrNoPartition.With("topic %s has no partition %s: see metaq topic info %s", info.Topic, id, info.Topic)
		}
	}
	return nil
}

// resolveStarts turns the starts that need a broker into offsets. What cannot be
// asked for now is left to the feeds.
func (r *Reader) resolveStarts(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	for _, f := range r.feeds {
		for attempt := 0; !f.known && f.start.kind != startEarliest; attempt++ {
			from, epoch, err := f.resolve(ctx, f.start)
			if err == nil {
				f.setFetch(from, epoch)
				break
			}
			if !retriable(err) {
				return err
			}
			if pause(ctx, backoff(attempt)) != nil {
				f.start = f.start.asOf(r.began)
				break
			}
		}
	}
	return nil
}

// Next returns the next record. It waits until there is one, ctx ends or the
// Reader is closed (ErrClosed).
//
// A partition that cannot be read on (ErrOutOfRange with OutOfRangeError,
// ErrCorrupt, ErrNoTopic ...) gives its error once, after the records before it,
// and stops until Seek; the others go on. When all have stopped, every call
// returns an error.
func (r *Reader) Next(ctx context.Context) (Record, error) {
	var one [1]Record
	recs, err := r.next(ctx, one[:0], 1)
	if err != nil {
		return Record{}, err
	}
	return recs[0], nil
}

// NextBatch returns at least one record, all of one partition: what is left of
// one fetched batch. Otherwise it is like Next. The slice belongs to the caller.
func (r *Reader) NextBatch(ctx context.Context) ([]Record, error) {
	return r.next(ctx, nil, math.MaxInt)
}

// AppendBatch is NextBatch into memory that the caller uses again: it appends the
// records to dst, and returns dst as it was with an error. With dst[:0] of the call
// before it writes over the records, which spares an allocation of their size; the
// bytes of their keys and payloads are never written over.
func (r *Reader) AppendBatch(ctx context.Context, dst []Record) ([]Record, error) {
	return r.next(ctx, dst, math.MaxInt)
}

func (r *Reader) next(ctx context.Context, dst []Record, most int) ([]Record, error) {
	for {
		switch {
		case r.ctx.Err() != nil:
			return dst, fmt.Errorf("read %s: the reader is %w", r.topic, ErrClosed)
		case ctx.Err() != nil:
			return dst, fmt.Errorf("read %s: %w", r.topic, ctx.Err())
		}
		recs, err := r.take(dst, most)
		if len(recs) > len(dst) || err != nil {
			return recs, err
		}
		select {
		case <-r.ready:
		case <-ctx.Done():
		case <-r.ctx.Done():
		}
	}
}

// take appends up to most records of the first chunk to dst; none when there is
// none.
func (r *Reader) take(dst []Record, most int) ([]Record, error) {
	r.taking.Lock()
	defer r.taking.Unlock()
	for {
		r.mu.Lock()
		if len(r.queue) == 0 {
			defer r.mu.Unlock()
			return dst, r.allStoppedLocked()
		}
		c := r.queue[0]
		r.mu.Unlock()
		recs, bad := c.take(dst, most)
		r.mu.Lock()
		if len(r.queue) == 0 || r.queue[0] != c { // a Seek dropped it in between
			r.mu.Unlock()
			continue
		}
		err := c.err
		if bad == nil {
			c.feed.position, c.feed.passed = c.position(), c.epoch
		} else if len(recs) > len(dst) {
			c.feed.position, c.feed.passed = recs[len(recs)-1].Offset+1, c.epoch
		}
		switch {
		case bad != nil:
			c.feed.failLocked(bad)
		case c.left() == 0:
			r.queue[0] = nil
			r.queue = r.queue[1:]
			r.freeLocked(c.bytes)
		}
		if len(r.queue) > 0 {
			r.signal() // for another goroutine in Next
		}
		r.mu.Unlock()
		if len(recs) > len(dst) || err != nil {
			return recs, err
		}
	}
}

// allStoppedLocked returns an error when no partition will give a record.
func (r *Reader) allStoppedLocked() error {
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

func (r *Reader) freeLocked(bytes int64) {
	r.held -= bytes
	close(r.freed)
	r.freed = make(chan struct{})
}

func (r *Reader) signal() {
	select {
	case r.ready <- struct{}{}:
	default:
	}
}

// Positions returns where the Reader is, sorted by partition.
func (r *Reader) Positions() []Position {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Position, 0, len(r.feeds))
	for _, f := range r.feeds {
		out = append(out, Position{
			Partition: f.id, Offset: f.position, LogStart: f.logStart, EndOffset: f.end,
			Known: f.seen && f.known, Err: f.problem, epoch: f.passed,
		})
	}
	return out
}

// Lag is the number of records between where the Reader is and the ends of the
// logs, as last heard; exact is false while a partition has not been heard of. The
// ends are those of the latest answers, so a Reader with an exact lag of 0 has
// returned all that was there when its last requests were answered.
func (r *Reader) Lag() (records int64, exact bool) {
	exact = true
	for _, p := range r.Positions() {
		if !p.Known {
			exact = false
			continue
		}
		records += int64(max(p.EndOffset-p.Offset, 0))
	}
	return records, exact
}

// Seek continues the partition at s. What was fetched of it is dropped; a stopped
// partition starts again. It returns ErrNoPartition when the Reader does not read
// the partition.
func (r *Reader) Seek(p PartitionID, s Start) error {
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

func (r *Reader) findLocked(p PartitionID) *feed {
	i, ok := slices.BinarySearchFunc(r.feeds, p, func(f *feed, id PartitionID) int { return f.id.Compare(id) })
	if !ok {
		return nil
	}
	return r.feeds[i]
}

// Close stops fetching and returns when the Reader's goroutines have ended. It
// may be called twice.
func (r *Reader) Close() {
	r.cancel()
	r.work.Wait()
}

// growLoop looks for new partitions from time to time.
func (r *Reader) growLoop() {
	for pause(r.ctx, r.o.refresh) == nil {
		info, err := r.c.Admin().TopicInfo(r.ctx, r.topic)
		if err != nil {
			continue // the feeds find out and tell
		}
		for i := range info.Partitions {
			r.addFeed(info.Partitions[i].Partition)
		}
	}
}

func (r *Reader) addFeed(id PartitionID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.findLocked(id) != nil {
		return
	}
	start := Earliest()
	if r.o.start.kind == startTime && r.o.start.at.After(r.began) {
		start = r.o.start
	}
	f := newFeed(r, id, start)
	at, _ := slices.BinarySearchFunc(r.feeds, id, func(f *feed, id PartitionID) int { return f.id.Compare(id) })
	r.feeds = slices.Insert(r.feeds, at, f)
	r.work.Go(f.run) // growLoop is in work, so Close is still waiting
}
