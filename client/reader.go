package client

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"metaq/client/internal/fetch"
	"metaq/protocol"
)

// Reader reads partitions of one topic, without a group and without remembering
// where it was. It fetches ahead. Records of one partition come in order; those of
// several are mixed as they arrive. Its methods may be called from any goroutine.
type Reader struct {
	feeds *fetch.Feeds

	// taking is held while records are taken from the first chunk, so that they are
	// decoded once, and without holding the feeds' lock, which is taken after it.
	taking sync.Mutex
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
	ids := o.Partitions
	if len(ids) == 0 {
		for i := range info.Partitions {
			ids = append(ids, info.Partitions[i].Partition)
		}
	} else if err := fetch.CheckPartitions(&info, ids); err != nil {
		return nil, err
	}
	return c.newReader(ctx, topic, o, ids, began)
}

// newReader reads partitions that are known to exist.
func (c *Client) newReader(ctx context.Context, topic string, o readerOptions, ids []PartitionID, began time.Time) (*Reader, error) {
	f, err := fetch.Open(ctx, c.calls, c.log, topic, fetch.Options(o), ids, began)
	if err != nil {
		return nil, err
	}
	return &Reader{feeds: f}, nil
}

// Next returns the next record. It waits until there is one, ctx ends or the
// Reader is closed (ErrClosed).
//
// A partition that cannot be read on (ErrOutOfRange with OutOfRangeError,
// ErrCorrupt, ErrNoTopic ...) gives its error once, after the records before it,
// and stops until Seek; the others continue. When all have stopped, every call
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
		if err := r.feeds.Over(ctx); err != nil {
			return dst, err
		}
		recs, err := r.take(dst, most)
		if len(recs) > len(dst) || err != nil {
			return recs, err
		}
		r.feeds.Wait(ctx)
	}
}

// take appends up to most records of the first chunk to dst; none when there is
// none.
func (r *Reader) take(dst []Record, most int) ([]Record, error) {
	r.taking.Lock()
	defer r.taking.Unlock()
	for {
		c, err := r.feeds.First()
		if c == nil {
			return dst, err
		}
		recs, bad := appendRecords(dst, c, most)
		n, last := len(recs)-len(dst), Offset(0)
		if n > 0 {
			last = recs[len(recs)-1].Offset
		}
		ok, err := r.feeds.Taken(c, n, last, bad)
		if ok && (n > 0 || err != nil) {
			return recs, err
		}
	}
}

// appendRecords appends up to most records of c to dst. An error comes after the records
// before it.
func appendRecords(dst []Record, c *fetch.Chunk, most int) ([]Record, error) {
	if err := c.Open(); err != nil {
		return dst, err
	}
	most = min(most, c.Left())
	dst = slices.Grow(dst, most)
	filtered, epoch := len(c.Decoded) > 0, c.Epoch
	if filtered {
		epoch = 0 // it is that of the last record only
	}
	var in protocol.Record
	for range most {
		if filtered {
			in, c.Decoded = c.Decoded[0], c.Decoded[1:]
		} else if !c.Batch.Next(&in) {
			return dst, c.Corrupt(c.Batch.Err())
		}
		if in.Time != c.Last || filtered {
			c.Last, c.Stamp = in.Time, time.UnixMilli(in.Time).UTC()
		}
		dst = dst[:len(dst)+1]
		out := &dst[len(dst)-1]
		out.Topic, out.Partition, out.Pinned, out.Offset, out.Time = c.Topic, c.ID, false, in.Offset, c.Stamp
		out.Epoch = epoch
		out.Key, out.Value, out.Headers = in.Key, in.Value, in.Headers
	}
	if !filtered && c.Batch.Left() == 0 {
		c.Batch.Next(&in) // looks whether something follows
		return dst, c.Corrupt(c.Batch.Err())
	}
	return dst, nil
}

// Positions returns where the Reader is, sorted by partition.
func (r *Reader) Positions() []Position {
	all := r.feeds.Positions()
	out := make([]Position, 0, len(all))
	for i := range all {
		p := &all[i]
		out = append(out, Position{
			Partition: p.Partition, Offset: p.Offset, LogStart: p.LogStart, EndOffset: p.End, Known: p.Known, Err: p.Err,
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
func (r *Reader) Seek(p PartitionID, s Start) error { return r.feeds.Seek(p, s.s) }

// Close stops fetching and returns when the Reader's goroutines have ended. It
// may be called twice.
func (r *Reader) Close() { r.feeds.Close() }
