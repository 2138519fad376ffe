package persistence

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"metaq/internal/vfs"
	"metaq/protocol"
)

// tail is the end of the log as it was found in a segment.
type tail struct {
	chain chain // after the last good batch
	end   int64 // its byte place
	// unproven is the byte place from which on nothing proves that the bytes are
	// durable: they may only be in the system's cache.
	unproven int64
	lost     int64  // bytes after end up to the last that is not blank
	why      string // what is wrong at end, or ""
	// entries are the good entries of the index, and those that the scan added.
	// indexBad says that the file holds others.
	entries  []indexEntry
	indexBad bool
	indexWhy string
	// epoch is that of the last record before what was read, and epochs are those
	// that begin in it.
	epoch  protocol.Epoch
	epochs []epochStart
}

// scanTail reads the segment from its last trustworthy place to the end of the
// file and judges what it finds: the last whole batch is the end of the log,
// unless bytes after it prove that more had been durable. That is a
// *DamageError.
func (r *recovery) scanTail(f vfs.File, s *segment, m mark) (tail, error) {
	size := s.end.Load()
	sc := newScanner(f, s.path, segmentHeaderSize, size, s.chain())
	defer sc.close()
	var t tail
	if err := r.startOf(sc, s, m, &t); err != nil {
		return t, err
	}
	start, begin := *sc, sc.chain.next
	t.epoch = sc.chain.epoch
	last, err := r.walkTail(sc, &t)
	if err != nil {
		return t, err
	}
	t.chain, t.end = sc.chain, sc.at
	if err := judge(f, s.path, size, &t); err != nil {
		return t, err
	}
	// The last batch says what had been durable when it was written.
	t.unproven = start.at
	if m.at == 0 && start.at == segmentHeaderSize {
		t.unproven = 0 // nothing proves the header, too
	}
	if last.Count > 0 {
		if durable := last.Base - protocol.Offset(last.Unsynced); durable > begin {
			sc.at, sc.chain = start.at, start.chain
			if _, err := sc.seek(durable); err != nil {
				return t, fmt.Errorf("read %s again: %w", s.path, err)
			}
			t.unproven = sc.at
		}
	}
	return t, nil
}

// startOf moves the scanner to the last place that is known to be durable: the
// mark or, behind it, an index entry that its batch confirms.
func (r *recovery) startOf(sc *scanner, s *segment, m mark, t *tail) error {
	var entries []indexEntry
	why := missingIndex
	if slices.Contains(r.names, baseName(s.base)+indexSuffix) {
		var err error
		if entries, why, err = readIndex(r.fs, r.dir, s); err != nil {
			return err
		}
	}
	if m.at > 0 {
		sc.at, sc.chain = m.at, m.chain
	}
	t.indexBad, t.indexWhy = why != "" && why != missingIndex, why
	for n := len(entries); n > 0 && entries[n-1].at > sc.at; n-- {
		ok, err := sc.jump(entries[n-1])
		if ok || err != nil {
			t.entries = entries
			return err
		}
		entries = entries[:n-1]
		t.indexBad, t.indexWhy = true, "its last entry points to no such batch"
	}
	t.entries = entries
	return nil
}

// walkTail reads all batches to the end and returns the header of the last one.
func (r *recovery) walkTail(sc *scanner, t *tail) (protocol.BatchHeader, error) {
	var last protocol.BatchHeader
	b := newIndexBuilder(r.opts.IndexInterval, t.entries)
	for {
		before, at := *sc, sc.at
		h, _, err := sc.next()
		var bad *badBytes
		switch {
		case errors.Is(err, errBlank):
		case errors.As(err, &bad):
			t.why = bad.why
		case err != nil:
			return last, err
		default:
			if b.want(at) {
				t.entries = append(t.entries, indexEntry{offset: h.Base, at: at, time: h.MaxTime})
				t.indexBad, t.indexWhy = true, "it ends before the segment"
			}
			if h.Epoch > before.chain.epoch {
				t.epochs = append(t.epochs, epochStart{h.Epoch, h.Base})
			}
			last = h
			continue
		}
		if planted == cutOneBatchTooMany && last.Count > 0 {
			before.at -= int64(last.Length)
			before.chain.next -= protocol.Offset(last.Count)
			before.chain.position -= protocol.Position(last.MetaqLen)
			sc.at, sc.chain = before.at, before.chain
		}
		return last, nil
	}
}

// judge tells a torn tail from damage. t.end is where the good batches end; a
// whole batch beyond says, by its field Unsynced, what had been durable when it
// was written. When that is more than what is good, durable bytes are bad.
func judge(f vfs.File, path string, size int64, t *tail) error {
	last, err := lastNonZero(f, path, t.end, size)
	if err != nil {
		return err
	}
	t.lost = last - t.end
	if t.lost == 0 {
		t.why = ""
		return nil
	}
	if t.why == "" {
		t.why = "blank space lies before other bytes"
	}
	if planted == damageIsTear {
		return nil
	}
	// The search goes to the end of the file: a batch may end in zeros.
	at, offset, err := findProof(f, path, t.end, size, t.chain.next)
	if err != nil || at < 0 {
		return err
	}
	return &DamageError{
		Path: path, Position: t.end, Offset: t.chain.next,
		Why: fmt.Sprintf("%s, but the batch of offset %d at byte %d shows that these bytes had been on disk", t.why, offset, at),
	}
}

// lastNonZero returns the byte place after the last byte in from..end that is
// not zero, or from.
func lastNonZero(f io.ReaderAt, path string, from, end int64) (int64, error) {
	buf, last := make([]byte, min(max(end-from, 0), 256<<10)), from
	for at := from; at < end; {
		b := buf[:min(end-at, int64(len(buf)))]
		n, err := f.ReadAt(b, at)
		if n < len(b) {
			return last, fmt.Errorf("read %s at byte %d: %w", path, at+int64(n), err)
		}
		if !isZero(b) {
			last = at + int64(len(bytes.TrimRight(b, "\x00")))
		}
		at += int64(len(b))
	}
	return last, nil
}

// batchStart is how every batch of this version begins.
var batchStart = []byte("MQB\x01")

// proofBudget bounds the bytes whose checksum findProof computes: payloads are
// the producers', and may be made to look like batches within batches.
const proofBudget = 4 << 30

// findProof looks in the bytes from..end for a whole batch which says that more
// than the records below next had been durable, and returns its byte place and
// offset; -1 when there is none.
func findProof(f io.ReaderAt, path string, from, end int64, next protocol.Offset) (int64, protocol.Offset, error) {
	const overlap = protocol.BatchHeaderSize - 1
	buf := make([]byte, min(end-from, 256<<10))
	var whole []byte
	budget := int64(proofBudget)
	for at := from; at < end; {
		b := buf[:min(end-at, int64(len(buf)))]
		if n, err := f.ReadAt(b, at); n < len(b) {
			return -1, 0, fmt.Errorf("read %s at byte %d: %w", path, at+int64(n), err)
		}
		for i := 0; ; i++ {
			k := bytes.Index(b[i:], batchStart)
			if k < 0 || len(b)-i-k < protocol.BatchHeaderSize {
				break
			}
			i += k
			h, err := protocol.ParseBatchHeader(b[i:])
			length := int64(h.Length)
			if err != nil || h.Base-protocol.Offset(h.Unsynced) <= next || length > end-at-int64(i) || length > budget {
				continue
			}
			budget -= length
			if int64(cap(whole)) < length {
				whole = make([]byte, length)
			}
			whole = whole[:length]
			if n, err := f.ReadAt(whole, at+int64(i)); n < len(whole) {
				return -1, 0, fmt.Errorf("read %s at byte %d: %w", path, at+int64(i+n), err)
			}
			if protocol.VerifyChecksum(&h, whole) == nil {
				return at + int64(i), h.Base, nil
			}
		}
		if int64(len(b)) == end-at {
			break
		}
		at += int64(len(b) - overlap)
	}
	return -1, 0, nil
}
