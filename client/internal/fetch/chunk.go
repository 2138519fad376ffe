package fetch

import (
	"fmt"
	"time"

	"metaq/protocol"
)

// Chunk is the rest of one fetched batch, or the error that stopped a partition.
// The batch stays as it was stored until Next wants its records: so the goroutine
// that fetches can ask for more at once, and it is decoded where it is used.
type Chunk struct {
	feed  *feed
	Topic string
	ID    protocol.PartitionID
	next  protocol.Offset // after the last record
	Epoch protocol.Epoch  // of the record before next; 0: not known
	bytes int64           // that it counts for in feeds.held
	err   error

	// Guarded by client.Reader.taking once it is queued.
	Raw     []byte               // a batch that nobody has looked into yet, of the header head
	Head    protocol.BatchHeader // of raw
	from    protocol.Offset      // records before it are left out
	Batch   protocol.RecordScanner
	Last    int64 // Unix milliseconds of the record before, and the same as stamp
	Stamp   time.Time
	Decoded []protocol.Record // those that came decoded, instead of batch
}

// Left is the number of records that are left. It wants the chunk to be open.
func (c *Chunk) Left() int { return c.Batch.Left() + len(c.Decoded) }

// Open checks a batch's checksum and gets ready for its records.
func (c *Chunk) Open() error {
	if c.Raw == nil {
		return nil
	}
	err := protocol.VerifyChecksum(&c.Head, c.Raw)
	if err == nil {
		c.Batch, err = protocol.ScanRecords(&c.Head, c.Raw)
	}
	c.Raw = nil
	c.Last, c.Stamp = c.Head.FirstTime, time.UnixMilli(c.Head.FirstTime).UTC()
	var skipped protocol.Record
	for err == nil && c.Batch.Offset() < c.from { // a batch comes whole, also its part before the offset asked for
		if !c.Batch.Next(&skipped) {
			err = c.Batch.Err()
		}
	}
	return c.Corrupt(err)
}

// Corrupt returns err as damage of the chunk's batch; nil stays nil.
func (c *Chunk) Corrupt(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w at offset %d of %s %s: %w", ErrCorrupt, c.Head.Base, c.Topic, c.ID, err)
}

// position is the offset of the record that is taken next.
func (c *Chunk) position() protocol.Offset {
	switch {
	case len(c.Decoded) > 0:
		return c.Decoded[0].Offset
	case c.Left() > 0:
		return c.Batch.Offset()
	}
	return c.next
}
