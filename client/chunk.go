package client

import (
	"fmt"
	"slices"
	"time"

	"metaq/protocol"
)

// chunk is the rest of one fetched batch, or the error that stopped a partition.
// The batch stays as it was stored until Next wants its records: so the goroutine
// that fetches can ask for more at once, and it is decoded where it is used.
type chunk struct {
	feed  *feed
	next  Offset         // after the last record
	epoch protocol.Epoch // of the record before next; 0: not known
	bytes int64          // that it counts for in Reader.held
	err   error

	// Guarded by Reader.taking once it is queued.
	raw   []byte               // a batch that nobody has looked into yet, of the header head
	head  protocol.BatchHeader // of raw
	from  Offset               // records before it are left out
	batch protocol.RecordScanner
	recs  []Record // those that came decoded, instead of batch
	last  int64    // Unix milliseconds of the record before, and the same as stamp
	stamp time.Time
}

// left is the number of records that are left. It wants the chunk to be open.
func (c *chunk) left() int { return c.batch.Left() + len(c.recs) }

// open checks a batch's checksum and gets ready for its records.
func (c *chunk) open() error {
	if c.raw == nil {
		return nil
	}
	err := protocol.VerifyChecksum(&c.head, c.raw)
	if err == nil {
		c.batch, err = protocol.ScanRecords(&c.head, c.raw)
	}
	c.raw = nil
	var skipped protocol.Record
	for err == nil && c.batch.Offset() < c.from { // a batch comes whole, also its part before the offset asked for
		if !c.batch.Next(&skipped) {
			err = c.batch.Err()
		}
	}
	c.last, c.stamp = c.head.FirstTime, time.UnixMilli(c.head.FirstTime).UTC()
	return c.corrupt(err)
}

func (c *chunk) corrupt(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w at offset %d of %s %s: %w", ErrCorrupt, c.head.Base, c.feed.r.topic, c.feed.id, err)
}

// take appends up to most records to dst. An error comes after the records before
// it.
func (c *chunk) take(dst []Record, most int) ([]Record, error) {
	if err := c.open(); err != nil {
		return dst, err
	}
	most = min(most, c.left())
	dst = slices.Grow(dst, most)
	if len(c.recs) > 0 {
		dst, c.recs = append(dst, c.recs[:most]...), c.recs[most:]
		return dst, nil
	}
	topic, id := c.feed.r.topic, c.feed.id
	var in protocol.Record
	for range most {
		if !c.batch.Next(&in) {
			return dst, c.corrupt(c.batch.Err())
		}
		if in.Time != c.last {
			c.last, c.stamp = in.Time, time.UnixMilli(in.Time).UTC()
		}
		dst = dst[:len(dst)+1]
		out := &dst[len(dst)-1]
		out.Topic, out.Partition, out.Pinned, out.Offset, out.Time = topic, id, false, in.Offset, c.stamp
		out.Epoch = c.epoch
		out.Key, out.Value, out.Headers = in.Key, in.Value, in.Headers
	}
	if c.batch.Left() == 0 {
		c.batch.Next(&in) // looks whether something follows
		return dst, c.corrupt(c.batch.Err())
	}
	return dst, nil
}

// position is the offset of the record that take gives next.
func (c *chunk) position() Offset {
	switch {
	case len(c.recs) > 0:
		return c.recs[0].Offset
	case c.left() > 0:
		return c.batch.Offset()
	}
	return c.next
}
