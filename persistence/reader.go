package persistence

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"

	"metaq/protocol"
)

// Read appends to dst whole batches, as they are on disk, and returns it: the
// first holds the record at from, all begin below limit, and together they have
// at most maxBytes bytes, or are one batch. dst comes back as it was when from is
// at limit or Next. It may be called from any goroutine.
//
// An offset below Start or beyond Next gives a *protocol.RangeError, also when
// retention took it away during the read; bad bytes give a *DamageError.
func (l *Log) Read(dst []byte, from, limit protocol.Offset, maxBytes int) ([]byte, error) {
	for {
		cuts := l.cuts.Load()
		out, err := l.read(dst, from, limit, maxBytes, cuts)
		// What a truncation cut under our hands is not damage: look again.
		if err == nil || l.cuts.Load() == cuts && !errors.Is(err, errRetired) {
			return out, err
		}
	}
}

func (l *Log) read(dst []byte, from, limit protocol.Offset, maxBytes int, cuts uint64) ([]byte, error) {
	if l.closed.Load() {
		return dst, ErrClosed
	}
	segments := *l.segments.Load()
	next := l.Next()
	if start := segments[0].base; from < start || from > next {
		return dst, protocol.NewRangeError(from, start, next)
	}
	limit = min(limit, next)
	if from >= limit {
		return dst, nil
	}
	l.unread.Store(0)
	i := holding(segments, from)
	s := segments[i]
	var err error
	g := region{segment: s, next: sealedAt(segments, i, next), sealed: i < len(segments)-1}
	if g.handle, err = l.acquire(s, g.sealed); err != nil {
		return dst, err
	}
	defer s.release(g.handle)
	sc, err := l.scanTo(g, from, cuts)
	if err != nil {
		return dst, err
	}
	defer sc.close()
	dst, err = sc.copyBatches(dst, limit, maxBytes)
	if err == nil {
		l.readCache().remember(place{chain: sc.chain, segment: s, at: sc.at, cuts: cuts})
	}
	return dst, err
}

// holding returns the index of the segment that holds offset.
func holding(segments []*segment, offset protocol.Offset) int {
	return sort.Search(len(segments), func(i int) bool { return segments[i].base > offset }) - 1
}

// sealedAt is the offset at which the segment i ends.
func sealedAt(segments []*segment, i int, next protocol.Offset) protocol.Offset {
	if i+1 < len(segments) {
		return segments[i+1].base
	}
	return next
}

// region is an open segment as one read sees it.
type region struct {
	*segment
	handle *handle
	next   protocol.Offset // where it ends: blank space before it is damage
	sealed bool            // nobody writes to it any more
}

func (g *region) scanner() *scanner {
	return newScanner(g.handle.file, g.path, segmentHeaderSize, g.end.Load(), g.chain())
}

// scanTo returns a scanner whose next batch holds offset.
func (l *Log) scanTo(g region, offset protocol.Offset, cuts uint64) (*scanner, error) {
	if p, ok := l.readCache().recall(g.segment, offset, cuts); ok {
		return newScanner(g.handle.file, g.path, p.at, g.end.Load(), p.chain), nil
	}
	sc, err := l.scanFrom(g, func(entries []indexEntry) (indexEntry, bool) { return byOffset(entries, offset) })
	if err != nil {
		return nil, err
	}
	if _, err := sc.seek(offset); err != nil {
		defer sc.close()
		return nil, sc.damage(err)
	}
	return sc, nil
}

// scanFrom returns a scanner that begins at the index entry which pick chooses,
// when there is one and it is right, else at the segment's first batch.
func (l *Log) scanFrom(g region, pick func([]indexEntry) (indexEntry, bool)) (*scanner, error) {
	entries, err := l.loadIndex(g)
	if err != nil {
		return nil, err
	}
	sc := g.scanner()
	e, found := pick(entries)
	if !found {
		return sc, nil
	}
	ok, err := sc.jump(e)
	if ok || err != nil {
		return sc, err
	}
	// Either the index is wrong or the segment: the index is made again, and the
	// scan from the last batch that can be found tells about the segment.
	entries, err = l.rebuildIndex(g, fmt.Sprintf("the entry of offset %d points to no such batch", e.offset))
	if err == nil {
		if e, found = pick(entries); found {
			_, err = sc.jump(e)
		}
	}
	return sc, err
}

// jump puts the scanner at the entry's batch when there is one as the entry
// says, and says whether.
func (s *scanner) jump(e indexEntry) (bool, error) {
	at, c := s.at, s.chain
	s.at = e.at
	ok, err := s.alignTo(e)
	if !ok || err != nil {
		s.at, s.chain = at, c
	}
	return ok, err
}

func (s *scanner) alignTo(e indexEntry) (bool, error) {
	if e.at >= s.end-protocol.BatchHeaderSize {
		return false, nil
	}
	head, err := s.bytes(protocol.BatchHeaderSize)
	var bad *badBytes
	if errors.As(err, &bad) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	h, err := protocol.ParseBatchHeader(head)
	if err != nil || h.Base != e.offset || h.MaxTime != e.time {
		return false, nil
	}
	// The batch itself says what it continues, once its checksum is right.
	start := chain{next: h.Base, position: h.Position, epoch: h.Epoch, time: h.MaxTime}
	s.chain = start
	if _, _, err := s.next(); err != nil {
		if errors.As(err, &bad) {
			return false, nil
		}
		return false, err
	}
	s.at, s.chain = e.at, start
	return true, nil
}

// damage makes what next returned an error for the reader: within the log,
// blank space and bad bytes are both damage.
func (s *scanner) damage(err error) error {
	var bad *badBytes
	switch {
	case errors.Is(err, errBlank):
		return &DamageError{Path: s.path, Position: s.at, Offset: s.chain.next, Why: "the batch is missing"}
	case errors.As(err, &bad):
		return &DamageError{Path: s.path, Position: s.at, Offset: s.chain.next, Why: bad.why}
	}
	return err
}

// copyBatches appends the batches from the scanner's place on to dst, straight
// from the file, as Read says, and leaves the scanner behind the last.
func (s *scanner) copyBatches(dst []byte, limit protocol.Offset, maxBytes int) ([]byte, error) {
	start := len(dst)
	room := int(min(s.end-s.at, int64(max(maxBytes, protocol.BatchHeaderSize))))
	for {
		dst = slices.Grow(dst[:start], room)
		n, err := s.file.ReadAt(dst[start:start+room], s.at)
		if n < room {
			if err != nil && !errors.Is(err, io.EOF) {
				return dst, fmt.Errorf("read %s at byte %d: %w", s.path, s.at, err)
			}
			s.end = s.at + int64(n) // the file has lost its end
		}
		done, need, err := s.verify(dst[start:start+n], limit)
		switch {
		case done > 0:
			return dst[:start+done], nil // the next read meets the error, if any
		case err != nil:
			return dst, s.damage(err)
		}
		room = need // the first batch alone is larger than maxBytes
	}
}

// verify checks the batches in chunk, which begins at the scanner's place, and
// moves the scanner behind the last whole one that begins below limit. done is
// their number of bytes. When the first does not fit into chunk, need is how many
// bytes it has.
func (s *scanner) verify(chunk []byte, limit protocol.Offset) (done, need int, err error) {
	for b := chunk; s.chain.next < limit; b = chunk[done:] {
		if len(b) < protocol.BatchHeaderSize && done > 0 {
			return done, 0, nil
		}
		h, err := protocol.ParseBatchHeader(b)
		if errors.Is(err, protocol.ErrNoBatch) && isZero(b[:min(4, len(b))]) {
			return done, 0, errBlank
		}
		if err != nil {
			return done, 0, &badBytes{err.Error()}
		}
		if why := s.chain.check(&h); why != "" {
			return done, 0, &badBytes{why}
		}
		if int64(h.Length) > s.end-s.at {
			return done, 0, &badBytes{fmt.Sprintf("the batch has %d bytes, but only %d follow", h.Length, s.end-s.at)}
		}
		if h.Length > len(b) {
			return done, h.Length, nil
		}
		if err := protocol.VerifyChecksum(&h, b); err != nil && planted != readUnchecked {
			return done, 0, &badBytes{err.Error()}
		}
		done += h.Length
		s.at += int64(h.Length)
		s.chain.advance(&h)
	}
	return done, 0, nil
}

// OffsetAt returns the offset of the first record below limit whose time, in
// Unix milliseconds, is unixMilli or later; limit, or Next when it is lower,
// when there is none. It may be called from any goroutine.
func (l *Log) OffsetAt(unixMilli int64, limit protocol.Offset) (protocol.Offset, error) {
	return l.firstOffset(limit, func(s *segment) (int64, bool) { return unixMilli, s.last.Load() >= unixMilli })
}

// firstOffset returns the offset of the first record below limit whose time is that
// which pick names for its segment, or later. Segments that pick does not want are passed
// over: they are not in the order of their times.
func (l *Log) firstOffset(limit protocol.Offset, pick func(*segment) (unixMilli int64, ok bool)) (protocol.Offset, error) {
	for {
		cuts := l.cuts.Load()
		o, err := l.offsetAt(limit, pick)
		if err == nil || l.cuts.Load() == cuts && !errors.Is(err, errRetired) {
			return o, err
		}
	}
}

func (l *Log) offsetAt(limit protocol.Offset, pick func(*segment) (int64, bool)) (protocol.Offset, error) {
	if l.closed.Load() {
		return 0, ErrClosed
	}
	segments := *l.segments.Load()
	next := l.Next()
	limit = min(limit, next)
	for i, s := range segments {
		if s.base >= limit {
			break
		}
		unixMilli, ok := pick(s)
		if !ok {
			continue
		}
		g := region{segment: s, next: sealedAt(segments, i, next), sealed: i < len(segments)-1}
		o, found, err := l.offsetIn(g, unixMilli)
		if err != nil || found {
			return min(o, limit), err
		}
	}
	return limit, nil
}

// offsetIn looks for the first record of unixMilli or later in one segment.
func (l *Log) offsetIn(g region, unixMilli int64) (protocol.Offset, bool, error) {
	var err error
	if g.handle, err = l.acquire(g.segment, g.sealed); err != nil {
		return 0, false, err
	}
	defer g.release(g.handle)
	sc, err := l.scanFrom(g, func(entries []indexEntry) (indexEntry, bool) { return byTime(entries, unixMilli) })
	if err != nil {
		return 0, false, err
	}
	defer sc.close()
	for sc.chain.next < g.next {
		at := sc.at
		b, bytes, err := sc.next()
		if err != nil {
			return 0, false, sc.damage(err)
		}
		if b.MaxTime < unixMilli {
			continue
		}
		for r, err := range protocol.DecodeRecords(&b, bytes) {
			if err != nil {
				return 0, false, &DamageError{Path: g.path, Position: at, Offset: b.Base, Why: err.Error()}
			}
			if r.Time >= unixMilli {
				return r.Offset, true, nil
			}
		}
	}
	return 0, false, nil
}

// loadIndex returns the index of the region; it reads the file at first use.
func (l *Log) loadIndex(g region) ([]indexEntry, error) {
	if p := g.handle.index.Load(); p != nil {
		return *p, nil
	}
	entries, why, err := readIndex(l.fs, l.dir, g.segment)
	if err != nil {
		return nil, err
	}
	if why != "" && g.end.Load() > segmentHeaderSize+l.opts.IndexInterval {
		return l.rebuildIndex(g, why)
	}
	// A segment that is too short for an entry has no index file.
	g.handle.index.CompareAndSwap(nil, &entries)
	return *g.handle.index.Load(), nil
}

// rebuildIndex makes the index of the region again. Two readers may do it at
// once: they make the same. That of the active segment is not written, since an
// entry in a file says that its batch is durable, which only the owner knows.
func (l *Log) rebuildIndex(g region, why string) ([]indexEntry, error) {
	old := g.handle.index.Load()
	entries, err := scanIndex(g.handle.file, g.segment, l.opts.IndexInterval, g.next)
	if err != nil {
		return nil, err
	}
	g.handle.index.CompareAndSwap(old, &entries)
	path := l.indexPath(g.base)
	if !g.sealed {
		return entries, nil
	}
	if err := writeIndex(l.fs, l.dir, g.base, entries); err != nil {
		l.opts.Logger.Warn("index not written, it is made again at each use", "path", path, "error", err)
	}
	l.opts.Logger.Warn("index made again", "path", path, "reason", why)
	l.opts.Events.IndexRebuilt(path, why)
	return entries, nil
}
