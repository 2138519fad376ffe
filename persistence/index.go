package persistence

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sort"

	"metaq/internal/vfs"
	"metaq/protocol"
)

// The sparse index of a segment, for offsets and times. All numbers are big
// endian. docs/format/index.md has the same picture.
//
//	 0     3  4        8      16
//	| "MQI"|v| crc32c | base | entry | entry | ...
//
//	 0        8          16     24       28
//	| offset | position | time | crc32c |
//
// The first checksum covers base; an entry's covers the 24 bytes before it. An
// entry says that the batch at byte position of the segment begins with the
// record offset and that time is its greatest. It is written after the batch is
// durable, and never synced before the segment is sealed.
const (
	indexMagic      = 0x4d5149 // "MQI"
	indexVersion    = 1
	indexHeaderSize = 16 // part of the format
	indexEntrySize  = 28 // part of the format

	// maxIndexSize bounds what is read; a segment of 1 GiB with the smallest
	// sensible interval stays far below it.
	maxIndexSize = 256 << 20
)

type indexEntry struct {
	offset protocol.Offset
	at     int64 // byte place of the batch in the segment
	time   int64 // greatest time of the batch in Unix milliseconds
}

func appendIndexHeader(dst []byte, base protocol.Offset) []byte {
	be := binary.BigEndian
	dst = be.AppendUint32(dst, indexMagic<<8|indexVersion)
	at := len(dst)
	dst = be.AppendUint32(dst, 0)
	dst = be.AppendUint64(dst, uint64(base))
	be.PutUint32(dst[at:], crc32.Checksum(dst[at+4:], castagnoli))
	return dst
}

func appendIndexEntry(dst []byte, e indexEntry) []byte {
	be := binary.BigEndian
	at := len(dst)
	dst = be.AppendUint64(dst, uint64(e.offset))
	dst = be.AppendUint64(dst, uint64(e.at))
	dst = be.AppendUint64(dst, uint64(e.time))
	return be.AppendUint32(dst, crc32.Checksum(dst[at:], castagnoli))
}

// decodeIndex returns the entries of the index of the segment base whose batches
// would lie below byte place end, as far as they are good; why says what ended
// them early, "" when all are good.
func decodeIndex(b []byte, base protocol.Offset, end int64) (entries []indexEntry, why string) {
	be := binary.BigEndian
	switch {
	case len(b) < indexHeaderSize:
		return nil, "it is shorter than its header"
	case be.Uint32(b) != indexMagic<<8|indexVersion || be.Uint32(b[4:]) != crc32.Checksum(b[8:indexHeaderSize], castagnoli):
		return nil, "its header is bad"
	case protocol.Offset(be.Uint64(b[8:])) != base:
		return nil, fmt.Sprintf("it belongs to the segment %d", be.Uint64(b[8:]))
	}
	b = b[indexHeaderSize:]
	entries = make([]indexEntry, 0, len(b)/indexEntrySize)
	prev := indexEntry{offset: base, at: segmentHeaderSize}
	for len(b) >= indexEntrySize {
		e := indexEntry{
			offset: protocol.Offset(be.Uint64(b)),
			at:     int64(be.Uint64(b[8:])),
			time:   int64(be.Uint64(b[16:])),
		}
		switch {
		case be.Uint32(b[24:]) != crc32.Checksum(b[:24], castagnoli):
			return entries, fmt.Sprintf("the checksum of entry %d is wrong", len(entries))
		case e.offset <= prev.offset || e.at <= prev.at || e.at >= end || e.time < prev.time:
			return entries, fmt.Sprintf("entry %d does not fit the segment", len(entries))
		}
		entries, prev, b = append(entries, e), e, b[indexEntrySize:]
	}
	if len(b) > 0 {
		return entries, "it ends inside an entry"
	}
	return entries, ""
}

// indexBuilder picks the batches that get an entry.
type indexBuilder struct {
	interval int64
	lastAt   int64 // byte place of the last entry, or of the first batch
}

// want says whether the batch at byte place at gets an entry.
func (b *indexBuilder) want(at int64) bool {
	if at-b.lastAt < b.interval {
		return false
	}
	b.lastAt = at
	return true
}

func newIndexBuilder(interval int64, entries []indexEntry) indexBuilder {
	b := indexBuilder{interval: interval, lastAt: segmentHeaderSize}
	if n := len(entries); n > 0 {
		b.lastAt = entries[n-1].at
	}
	return b
}

// byOffset returns the last entry at or below offset.
func byOffset(entries []indexEntry, offset protocol.Offset) (indexEntry, bool) {
	i := sort.Search(len(entries), func(i int) bool { return entries[i].offset > offset })
	if i == 0 {
		return indexEntry{}, false
	}
	return entries[i-1], true
}

// byTime returns the last entry whose batch is wholly before time, so that the
// first record of that time or later lies after it.
func byTime(entries []indexEntry, time int64) (indexEntry, bool) {
	i := sort.Search(len(entries), func(i int) bool { return entries[i].time >= time })
	if i == 0 {
		return indexEntry{}, false
	}
	return entries[i-1], true
}

// missingIndex is why readIndex has nothing; a short segment has no index.
const missingIndex = "it is missing"

// readIndex reads the index file of s. why is not "" when the file is missing
// or bad; entries are what is good of it. For lack of a descriptor nobody knows: the
// error says so.
func readIndex(fsys vfs.FS, dir string, s *segment) (entries []indexEntry, why string, err error) {
	b, err := vfs.ReadFile(fsys, fsys.PathJoin(dir, baseName(s.base)+indexSuffix), maxIndexSize)
	switch {
	case vfs.IsNotExist(err):
		return nil, missingIndex, nil
	case vfs.IsTooManyOpen(err):
		return nil, "", refusedOpen(err)
	case err != nil:
		return nil, err.Error(), nil
	}
	entries, why = decodeIndex(b, s.base, s.end.Load())
	return entries, why, nil
}

// writeIndex publishes a whole index file.
func writeIndex(fsys vfs.FS, dir string, base protocol.Offset, entries []indexEntry) error {
	return vfs.Publish(fsys, dir, baseName(base)+indexSuffix, func(w io.Writer) error {
		b := appendIndexHeader(nil, base)
		for _, e := range entries {
			b = appendIndexEntry(b, e)
		}
		_, err := w.Write(b)
		return err
	})
}

// scanIndex makes the entries of a segment anew from its batches, up to limit,
// the offset of the next segment's first record. What is damaged ends it early:
// the read that gets there reports it.
func scanIndex(f io.ReaderAt, s *segment, interval int64, limit protocol.Offset) ([]indexEntry, error) {
	sc := newScanner(f, s.path, segmentHeaderSize, s.end.Load(), s.chain())
	defer sc.close()
	b := newIndexBuilder(interval, nil)
	var entries []indexEntry
	for sc.chain.next < limit {
		at := sc.at
		h, _, err := sc.next()
		var bad *badBytes
		if errors.Is(err, errBlank) || errors.As(err, &bad) {
			return entries, nil
		}
		if err != nil {
			return nil, err
		}
		if b.want(at) {
			entries = append(entries, indexEntry{offset: h.Base, at: at, time: h.MaxTime})
		}
	}
	return entries, nil
}
