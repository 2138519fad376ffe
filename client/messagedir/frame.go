package messagedir

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"metaq/client"
	"metaq/protocol"
)

// The file kept.log: a header, then entries. All numbers are big endian.
// docs/format/kept.md has the same picture.
//
//	 0     3  4        8        10
//	| "MQK"|v| crc32c | length | consumer      the header
//
//	 0        4        8    16     17       25
//	| crc32c | length | at | kind | number | record ...      an entry
//
//	 0       1
//	| length | topic | length | partition | batch      a record
//
// crc32c (Castagnoli) covers all that follows it up to the end of its header or
// entry. The header's length is that of the consumer's name, an entry's that of the
// whole entry. at is the entry's own byte place, so that bytes which a record brings
// along never read as an entry. Neither a header nor an entry begins as zeroed space
// does: the magic and the length are not zero.
const (
	keptMagic   = 0x4d514b // "MQK"
	keptVersion = 1

	headerSize = 10 // part of the format
	entrySize  = 25 // part of the format

	// maxNameSize is that of <group>/<instance>.
	maxNameSize = 2*protocol.MaxNameLen + 1
)

// kind is what an entry says.
type kind uint8

const (
	kindKept kind = 1 // a record is kept under number
	kindDone kind = 2 // number need not be kept any longer
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var be = binary.BigEndian

// appendHeader appends the header of a consumer's file.
func appendHeader(dst []byte, consumer string) []byte {
	from := len(dst)
	dst = be.AppendUint32(dst, keptMagic<<8|keptVersion)
	dst = be.AppendUint32(dst, 0)
	dst = be.AppendUint16(dst, uint16(len(consumer)))
	dst = append(dst, consumer...)
	be.PutUint32(dst[from+4:], crc32.Checksum(dst[from+8:], castagnoli))
	return dst
}

// parseHeader returns whose file b is, and the header's length.
func parseHeader(b []byte) (consumer string, n int, err error) {
	switch {
	case len(b) < headerSize || be.Uint32(b)>>8 != keptMagic:
		return "", 0, errors.New("it does not begin with the header of kept records")
	case b[3] != keptVersion:
		return "", 0, fmt.Errorf("version %d is not known, this release reads version %d", b[3], keptVersion)
	}
	n = headerSize + int(be.Uint16(b[8:]))
	if n > headerSize+maxNameSize || n > len(b) || crc32.Checksum(b[8:n], castagnoli) != be.Uint32(b[4:]) {
		return "", 0, errors.New("the checksum of its header is wrong")
	}
	return string(b[headerSize:n]), n, nil
}

// entry is one entry of a file. record points into the file's bytes.
type entry struct {
	at     int64
	kind   kind
	number int64
	record []byte
}

// size is the number of bytes that the entry takes in the file.
func (e *entry) size() int64 { return entrySize + int64(len(e.record)) }

// appendEntry appends e, which is to stand at e.at.
func appendEntry(dst []byte, e *entry) []byte {
	from := len(dst)
	dst = be.AppendUint32(dst, 0)
	dst = be.AppendUint32(dst, uint32(e.size()))
	dst = be.AppendUint64(dst, uint64(e.at))
	dst = append(dst, byte(e.kind))
	dst = be.AppendUint64(dst, uint64(e.number))
	dst = append(dst, e.record...)
	be.PutUint32(dst[from:], crc32.Checksum(dst[from+4:], castagnoli))
	return dst
}

// parseEntry reads the entry that stands at byte at of the file, at the start of b.
// It returns false when there is none, or one that is cut short or changed.
func parseEntry(b []byte, at int64) (entry, bool) {
	if len(b) < entrySize || int64(be.Uint64(b[8:])) != at {
		return entry{}, false
	}
	n := be.Uint32(b[4:])
	if n < entrySize || int64(n) > int64(len(b)) || crc32.Checksum(b[4:n], castagnoli) != be.Uint32(b) {
		return entry{}, false
	}
	return entry{at: at, kind: kind(b[16]), number: int64(be.Uint64(b[17:])), record: b[entrySize:n:n]}, true
}

// encodeRecord is the form of a record in an entry. It has no time, place or count
// of its own: one record is always the same bytes.
func encodeRecord(r *client.Record) ([]byte, error) {
	if err := protocol.CheckName("topic", r.Topic); err != nil {
		return nil, err
	}
	var builder protocol.BatchBuilder
	if err := builder.Add(&protocol.Record{Time: r.Time.UnixMilli(), Key: r.Key, Headers: r.Headers, Value: r.Value}); err != nil {
		return nil, err
	}
	batch := builder.Encode(protocol.CompressionNone, protocol.Producer{ID: protocol.NoProducer})
	protocol.StampBatch(batch, protocol.Stamp{Base: r.Offset, MaxTime: r.Time.UnixMilli(), MetaqLen: builder.MetaqLen()})
	partition := r.Partition.String()
	out := make([]byte, 0, 2+len(r.Topic)+len(partition)+len(batch))
	out = append(append(out, byte(len(r.Topic))), r.Topic...)
	out = append(append(out, byte(len(partition))), partition...)
	return append(out, batch...), nil
}

// decodeRecord is the opposite. The record's bytes point into whole.
func decodeRecord(whole []byte) (client.Record, error) {
	topic, b, ok := cutString(whole)
	name, b, ok2 := cutString(b)
	if !ok || !ok2 {
		return client.Record{}, errors.New("topic or partition is cut short")
	}
	if err := protocol.CheckName("topic", topic); err != nil {
		return client.Record{}, err
	}
	partition, err := protocol.ParsePartitionID(name)
	if err != nil {
		return client.Record{}, err
	}
	h, err := protocol.CheckBatch(b, 0)
	switch {
	case err != nil:
		return client.Record{}, err
	case h.Length != len(b) || h.Count != 1 || h.Compression != protocol.CompressionNone:
		return client.Record{}, fmt.Errorf("%d records in %d of %d bytes, not one in all of them", h.Count, h.Length, len(b))
	}
	s, err := protocol.ScanRecords(&h, b)
	if err != nil {
		return client.Record{}, err
	}
	var r protocol.Record
	if !s.Next(&r) {
		return client.Record{}, s.Err()
	}
	out := client.Record{
		Topic: topic, Partition: partition, Offset: r.Offset, Time: time.UnixMilli(r.Time).UTC(),
		Key: r.Key, Value: r.Value, Headers: r.Headers,
	}
	if again, err := encodeRecord(&out); err != nil || !bytes.Equal(again, whole) {
		return client.Record{}, errors.New("it has another form than the one that a record has here")
	}
	return out, nil
}

// cutString takes a string off b that a byte with its length is before.
func cutString(b []byte) (s string, rest []byte, ok bool) {
	if len(b) == 0 {
		return "", nil, false
	}
	end := 1 + int(b[0])
	if len(b) < end {
		return "", nil, false
	}
	return string(b[1:end]), b[end:], true
}
