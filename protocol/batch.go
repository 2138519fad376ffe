package protocol

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// The batch: the unit of write, checksum, compression, replication and fetch.
// All numbers are big endian. docs/format/batch.md has the same picture.
//
//	 0      3  4        8        12     14      16        24         32      36         40
//	| "MQB" |v| length | crc32c | attrs | pepoch | offset | position | epoch | unsynced |
//	 40          48        56         64        68      72       76      80
//	| first time | max time | producer | sequence | count | rawLen | mqLen | body ...
//
// length counts the bytes that follow it. crc32c (Castagnoli) covers all that
// follows it. The magic is never zero, so zeroed space never reads as a batch.
const (
	batchMagic   = 0x4d5142 // "MQB"
	batchVersion = 1

	// BatchHeaderSize is the number of bytes before a batch's body.
	BatchHeaderSize = 80

	offLength     = 4
	offCRC        = 8
	offAttributes = 12 // the checksum covers everything from here
	offPEpoch     = 14
	offBase       = 16
	offPosition   = 24
	offEpoch      = 32
	offUnsynced   = 36
	offFirstTime  = 40
	offMaxTime    = 48
	offProducer   = 56
	offSequence   = 64
	offCount      = 68
	offRawLen     = 72
	offMetaqLen   = 76
)

// Attributes of a batch.
const (
	attrCompressionMask = 0x0007
	attrTransactional   = 0x0008
	attrControl         = 0x0010
	attrKnown           = attrCompressionMask | attrTransactional | attrControl
)

// Limits that hold before any configuration is known; they bound what a decoder
// allocates.
const (
	// MaxBatchSize is the largest encoded batch, header included, in bytes.
	MaxBatchSize = 64 << 20
	// MaxRawSize is the largest body of a batch when decompressed, in bytes.
	MaxRawSize = 64 << 20
	// MaxBatchRecords is the largest number of records in one batch.
	MaxBatchRecords = 1 << 20

	// maxBatchSpan bounds a batch's last time minus its first, in milliseconds,
	// so that moving the times cannot overflow.
	maxBatchSpan = 1 << 40
)

// NoProducer is the producer id of a batch without an idempotent producer.
const NoProducer = -1

// ErrNoBatch says that the bytes do not begin with a batch's magic: zeroed
// space, or something else.
var ErrNoBatch = errors.New("no batch here")

// ErrShortBatch says that the bytes begin like a batch but end inside it.
var ErrShortBatch = errors.New("batch is cut short")

// ErrBadBatch is what every other fault of a batch wraps: wrong version,
// length, checksum, count, time or compression.
var ErrBadBatch = errors.New("bad batch")

func badBatch(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrBadBatch, fmt.Sprintf(format, args...))
}

// Compression is the algorithm of a batch's body.
type Compression uint8

// The compressions. Their numbers are part of the format.
const (
	CompressionNone Compression = 0
	CompressionZstd Compression = 1
	CompressionS2   Compression = 2
)

// BatchHeader is the decoded header of a batch.
type BatchHeader struct {
	Length        int // of the whole batch in bytes, header included
	Compression   Compression
	Transactional bool
	Control       bool
	Base          Offset   // offset of the first record
	Position      Position // byte place that the first record would have in a MetaQ log
	Epoch         Epoch    // leadership under which the batch was written
	// Unsynced is how many records before Base were not known to be durable
	// when this batch was written. Recovery reads it as a proof: a valid batch
	// shows that everything below Base-Unsynced had been synced.
	Unsynced      int
	FirstTime     int64 // Unix milliseconds
	MaxTime       int64 // Unix milliseconds, not below FirstTime
	ProducerID    int64 // NoProducer when there is none
	ProducerEpoch int16
	BaseSequence  int32 // sequence of the first record of this producer
	Count         int   // records, at least 1
	RawLen        int   // bytes of the body when decompressed
	MetaqLen      int64 // bytes that the records would take in a MetaQ log
}

// Next is the offset after the batch's last record.
func (h *BatchHeader) Next() Offset { return h.Base + Offset(h.Count) }

// NextPosition is the MetaQ position after the batch's last record.
func (h *BatchHeader) NextPosition() Position { return h.Position + Position(h.MetaqLen) }

// ParseBatchHeader decodes the header at the start of b and checks what can be
// checked without the body: magic, version, limits. b may be longer or shorter
// than the batch. It returns ErrNoBatch, ErrShortBatch (fewer than
// BatchHeaderSize bytes) or an error that wraps ErrBadBatch. It does not check
// the checksum: see CheckBatch and VerifyChecksum.
func ParseBatchHeader(b []byte) (BatchHeader, error) {
	if len(b) < 4 || binary.BigEndian.Uint32(b)>>8 != batchMagic {
		return BatchHeader{}, ErrNoBatch
	}
	if b[3] != batchVersion {
		return BatchHeader{}, badBatch("version %d is not known, this release reads version %d", b[3], batchVersion)
	}
	if len(b) < BatchHeaderSize {
		return BatchHeader{}, ErrShortBatch
	}
	u32 := func(at int) int64 { return int64(binary.BigEndian.Uint32(b[at:])) }
	i64 := func(at int) int64 { return int64(binary.BigEndian.Uint64(b[at:])) }
	attrs := binary.BigEndian.Uint16(b[offAttributes:])
	h := BatchHeader{
		Length:        int(u32(offLength) + offCRC),
		Compression:   Compression(attrs & attrCompressionMask),
		Transactional: attrs&attrTransactional != 0,
		Control:       attrs&attrControl != 0,
		Base:          Offset(i64(offBase)),
		Position:      Position(i64(offPosition)),
		Epoch:         Epoch(binary.BigEndian.Uint32(b[offEpoch:])),
		Unsynced:      int(u32(offUnsynced)),
		FirstTime:     i64(offFirstTime),
		MaxTime:       i64(offMaxTime),
		ProducerID:    i64(offProducer),
		ProducerEpoch: int16(binary.BigEndian.Uint16(b[offPEpoch:])),
		BaseSequence:  int32(binary.BigEndian.Uint32(b[offSequence:])),
		Count:         int(u32(offCount)),
		RawLen:        int(u32(offRawLen)),
		MetaqLen:      u32(offMetaqLen),
	}
	return h, h.check(attrs)
}

func (h *BatchHeader) check(attrs uint16) error {
	switch {
	case h.Length <= BatchHeaderSize || h.Length > MaxBatchSize:
		return badBatch("length %d is not within %d..%d", h.Length, BatchHeaderSize+1, MaxBatchSize)
	case attrs&^uint16(attrKnown) != 0 || h.Compression > CompressionS2:
		return badBatch("attributes 0x%04x are not known", attrs)
	case h.Count < 1 || h.Count > MaxBatchRecords:
		return badBatch("record count %d is not within 1..%d", h.Count, MaxBatchRecords)
	case h.RawLen < h.Count || h.RawLen > MaxRawSize:
		return badBatch("body size %d does not fit %d records", h.RawLen, h.Count)
	case h.Compression == CompressionNone && h.RawLen != h.Length-BatchHeaderSize:
		return badBatch("body size %d differs from length %d", h.RawLen, h.Length)
	case h.Base < 0 || h.Position < 0:
		return badBatch("offset %d or position %d is negative", h.Base, h.Position)
	case h.FirstTime > h.MaxTime || uint64(h.MaxTime)-uint64(h.FirstTime) > maxBatchSpan:
		return badBatch("times %d to %d are not a span of 0 to %d ms", h.FirstTime, h.MaxTime, maxBatchSpan)
	}
	return nil
}

// VerifyChecksum checks the checksum of the batch at the start of b, whose
// header h was decoded from the same bytes. It returns ErrShortBatch when b
// ends inside the batch.
func VerifyChecksum(h *BatchHeader, b []byte) error {
	if len(b) < h.Length {
		return ErrShortBatch
	}
	want := binary.BigEndian.Uint32(b[offCRC:])
	if got := crc32.Checksum(b[offAttributes:h.Length], castagnoli); got != want {
		return badBatch("checksum is %08x, the batch says %08x", got, want)
	}
	return nil
}

// CheckBatch fully checks the batch at the start of b, without keeping or
// changing it: header, checksum, and every record in its body (decompressed
// when it must be). maxRaw bounds the decompressed body; 0 means MaxRawSize.
// The MetaqLen of the returned header is computed from the records: the value
// in a producer's batch is not trusted.
func CheckBatch(b []byte, maxRaw int) (BatchHeader, error) {
	return checkBatch(b, maxRaw, false)
}

// CheckSent is CheckBatch for what a client sent: it also returns the refusal of
// the first header that RefusedInBatch has something against, an *Error. What is
// stored is not judged by it: single messages may have more headers, and other
// releases other rules.
func CheckSent(b []byte, maxRaw int) (BatchHeader, error) {
	return checkBatch(b, maxRaw, true)
}

func checkBatch(b []byte, maxRaw int, sent bool) (BatchHeader, error) {
	h, err := ParseBatchHeader(b)
	if err != nil {
		return h, err
	}
	if maxRaw > 0 && h.RawLen > maxRaw {
		return h, badBatch("body of %d bytes is larger than the limit of %d", h.RawLen, maxRaw)
	}
	if err := VerifyChecksum(&h, b); err != nil {
		return h, err
	}
	body, release, err := rawBody(&h, b)
	if err != nil {
		return h, err
	}
	defer release()
	var refused []byte
	h.MetaqLen, refused, err = walkRecords(&h, body)
	if err == nil && sent && refused != nil {
		return h, RefusedInBatch(string(refused))
	}
	return h, err
}

// Stamp is what the broker writes into a batch's header when it appends it.
type Stamp struct {
	Base     Offset
	Position Position
	Epoch    Epoch
	Unsynced int
	MaxTime  int64 // Unix milliseconds: the append time, see HeldTime
	MetaqLen int64 // as CheckBatch computed it
}

// StampBatch writes s into the whole batch b and brings its checksum up to date: one
// that was right stays right, and a body that has changed since is found out by it. The
// times of the records move together so that the last one is s.MaxTime. The caller owns b
// and has checked it with CheckBatch. It takes about the same time for any length.
func StampBatch(b []byte, s Stamp) {
	be := binary.BigEndian
	head, body := b[offAttributes:BatchHeaderSize], len(b)-BatchHeaderSize
	before := crc32.Checksum(head, castagnoli)
	span := be.Uint64(b[offMaxTime:]) - be.Uint64(b[offFirstTime:])
	be.PutUint64(b[offBase:], uint64(s.Base))
	be.PutUint64(b[offPosition:], uint64(s.Position))
	be.PutUint32(b[offEpoch:], uint32(s.Epoch))
	be.PutUint32(b[offUnsynced:], uint32(min(s.Unsynced, 1<<32-1)))
	be.PutUint64(b[offFirstTime:], uint64(s.MaxTime)-span)
	be.PutUint64(b[offMaxTime:], uint64(s.MaxTime))
	be.PutUint32(b[offMetaqLen:], uint32(s.MetaqLen))
	change := moved(before^crc32.Checksum(head, castagnoli), body)
	be.PutUint32(b[offCRC:], be.Uint32(b[offCRC:])^change)
}

func sealBatch(b []byte) {
	binary.BigEndian.PutUint32(b[offCRC:], crc32.Checksum(b[offAttributes:], castagnoli))
}
