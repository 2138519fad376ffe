package protocol

import (
	"encoding/binary"
	"errors"
	"hash/crc32"

	"metaq/internal/aligned"
)

// ErrBatchFull is returned by BatchBuilder.Add when the record would take the
// batch over MaxRawSize or MaxBatchRecords. The batch is unchanged.
var ErrBatchFull = errors.New("batch is full")

// BatchBuilder encodes records into one batch. The zero value is ready. It is
// not safe for concurrent use. Its buffer is kept over Reset, so that a builder
// that is used again does not allocate.
type BatchBuilder struct {
	buf       []byte // room for the header, then the raw body
	around    []byte // in which buf lies up to its end; nil: anywhere
	lead      int    // where in a block buf begins then
	align     bool
	packed    []byte // header and compressed body, when there is compression
	summed    int    // buf up to here is in sum
	sum       uint32 // checksum of the body so far
	count     int
	firstTime int64
	maxTime   int64
	metaqLen  int64
}

// Reset empties the builder and keeps its buffers. It invalidates what Encode
// returned.
func (b *BatchBuilder) Reset() {
	b.buf, b.count, b.metaqLen = b.buf[:0], 0, 0
}

// Align lets the batch to come, if it is large, begin lead bytes, less than aligned.Block,
// behind the beginning of Around, which a disk can fetch it from. The builder is empty.
func (b *BatchBuilder) Align(lead int) {
	b.lead, b.align = lead, true
	switch {
	case b.around != nil:
		b.buf = b.around[lead:lead]
	case cap(b.buf) > smallBatch:
		b.buf = nil
	}
}

// Around is the memory of package aligned that the batch lies in up to its end, as long as
// it is not compressed. It is nil without Align, and for a small batch.
func (b *BatchBuilder) Around() []byte { return b.around }

// Count is the number of records added since the last Reset.
func (b *BatchBuilder) Count() int { return b.count }

// Size is the number of bytes of the batch without compression, header
// included; 0 when there is no record.
func (b *BatchBuilder) Size() int { return len(b.buf) }

// MetaqLen is the number of bytes that the records would take in a MetaQ log.
func (b *BatchBuilder) MetaqLen() int64 { return b.metaqLen }

// Add appends a record. Its bytes are copied. A time before the first record's
// counts as the first record's: within a batch time does not go back before its
// start.
func (b *BatchBuilder) Add(r *Record) error {
	if b.count == 0 {
		if cap(b.buf) < BatchHeaderSize {
			b.buf = make([]byte, 0, smallBatch)
		}
		b.buf = b.buf[:BatchHeaderSize]
		b.summed, b.sum = BatchHeaderSize, 0
		b.firstTime, b.maxTime = r.Time, r.Time
	}
	delta := uint64(min(max(r.Time-b.firstTime, 0), maxBatchSpan))
	most := len(b.buf) + recordLen(r, delta) + 10 // a varint of the length takes at most 10
	if b.count == MaxBatchRecords || most > MaxRawSize {
		return ErrBatchFull
	}
	if b.align && most > cap(b.buf) {
		b.grow(most)
	}
	b.buf = appendRecord(b.buf, r, delta)
	b.count++
	b.maxTime = max(b.maxTime, b.firstTime+int64(delta))
	b.metaqLen += r.MetaqSize()
	if len(b.buf)-b.summed >= sumAtOnce {
		b.sumUp()
	}
	return nil
}

// grow makes room for n bytes of the batch in aligned memory.
func (b *BatchBuilder) grow(n int) {
	b.around = aligned.New(aligned.Up(max(b.lead+n, 2*len(b.around), 2*cap(b.buf))))
	b.buf = b.around[b.lead : b.lead+copy(b.around[b.lead:], b.buf)]
}

// smallBatch is what a builder begins with, in bytes.
const smallBatch = 4 << 10

// sumAtOnce is how many bytes are summed up while they are in the processor's nearest
// cache, instead of all when the batch is encoded, which somebody waits for.
const sumAtOnce = 16 << 10

func (b *BatchBuilder) sumUp() {
	b.sum = crc32.Update(b.sum, castagnoli, b.buf[b.summed:])
	b.summed = len(b.buf)
}

// Producer identifies the idempotent producer of a batch, see BatchHeader.
type Producer struct {
	ID       int64
	Epoch    int16
	Sequence int32
}

// Encode returns the batch. The bytes belong to the builder and are valid until
// the next Reset; the caller may stamp them in place. Where compression does
// not make the body smaller, the batch goes uncompressed. It panics when no
// record was added.
func (b *BatchBuilder) Encode(c Compression, p Producer) []byte {
	if b.count == 0 {
		panic("protocol: Encode of an empty batch")
	}
	out, rawLen := b.buf, len(b.buf)-BatchHeaderSize
	if c != CompressionNone {
		b.packed = compressBody(append(b.packed[:0], b.buf[:BatchHeaderSize]...), c, b.buf[BatchHeaderSize:])
		if len(b.packed) < len(b.buf) {
			out = b.packed
		} else {
			c = CompressionNone
		}
	}
	be := binary.BigEndian
	clear(out[:BatchHeaderSize])
	be.PutUint32(out, batchMagic<<8|batchVersion)
	be.PutUint32(out[offLength:], uint32(len(out)-offCRC))
	be.PutUint16(out[offAttributes:], uint16(c))
	be.PutUint16(out[offPEpoch:], uint16(p.Epoch))
	be.PutUint64(out[offFirstTime:], uint64(b.firstTime))
	be.PutUint64(out[offMaxTime:], uint64(b.maxTime))
	be.PutUint64(out[offProducer:], uint64(p.ID))
	be.PutUint32(out[offSequence:], uint32(p.Sequence))
	be.PutUint32(out[offCount:], uint32(b.count))
	be.PutUint32(out[offRawLen:], uint32(rawLen))
	be.PutUint32(out[offMetaqLen:], uint32(b.metaqLen))
	if c != CompressionNone || b.summed == BatchHeaderSize { // of a small one the sum is not begun
		sealBatch(out)
		return out
	}
	b.sumUp()
	head := crc32.Checksum(out[offAttributes:BatchHeaderSize], castagnoli)
	be.PutUint32(out[offCRC:], moved(head, rawLen)^b.sum)
	return out
}
