package persistence

import (
	"fmt"
	"slices"

	"metaq/internal/vfs"
	"metaq/protocol"
)

// segmentBases returns the ordered bases of the segments among names.
func segmentBases(names []string) []protocol.Offset {
	var bases []protocol.Offset
	for _, name := range names {
		if base, ok := parseBase(name, segmentSuffix); ok {
			bases = append(bases, base)
		}
	}
	slices.Sort(bases)
	return bases
}

// remake writes the header of s, whose file may be there in part and open.
func (r *recovery) remake(s *segment) (err error) {
	if r.file != nil {
		return r.writeHeader(r.file, s)
	}
	r.file, err = r.createSegment(s)
	return err
}

// readHeaders reads the headers of all segments and checks that each continues
// the one before.
func (r *recovery) readHeaders(bases []protocol.Offset) error {
	for i, base := range bases {
		s := r.newSegment(segmentHeader{base: base})
		size, bad, err := r.readHeader(s, i == len(bases)-1)
		if err != nil {
			return err
		}
		if bad != "" {
			if i < len(bases)-1 {
				return &DamageError{Path: s.path, Offset: base, Why: bad}
			}
			if err := r.remakeLast(s, size, bad); err != nil {
				return err
			}
			size = segmentHeaderSize
		}
		if i > 0 {
			if why := follows(r.segments[i-1], s); why != "" {
				return &DamageError{Path: s.path, Offset: base, Why: why}
			}
		}
		s.end.Store(size)
		r.segments = append(r.segments, s)
	}
	return nil
}

// readHeader reads the header of s; of the last segment it keeps the file open,
// to be read on and written.
func (r *recovery) readHeader(s *segment, last bool) (size int64, bad string, err error) {
	if !last {
		return readHeader(r.fs, s)
	}
	if r.file, err = r.calm.OpenReadWrite(s.path); err != nil {
		return 0, "", diskError("open", s.path, err)
	}
	return headerOf(r.file, s)
}

// readHeader reads the header of s, whose base is that of its file's name, and
// returns the size of the file. bad is not "" when there is no good header.
func readHeader(fsys vfs.FS, s *segment) (size int64, bad string, err error) {
	f, err := fsys.Open(s.path)
	if err != nil {
		return 0, "", fmt.Errorf("open segment: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was opened for reading
	return headerOf(f, s)
}

// headerOf is readHeader of the open file f.
func headerOf(f vfs.File, s *segment) (size int64, bad string, err error) {
	info, err := f.Stat()
	if err != nil {
		return 0, "", fmt.Errorf("look at %s: %w", s.path, err)
	}
	b := make([]byte, min(info.Size(), segmentHeaderSize))
	if _, err := f.ReadAt(b, 0); len(b) > 0 && err != nil {
		return 0, "", fmt.Errorf("read header of %s: %w", s.path, err)
	}
	h, err := decodeSegmentHeader(b)
	if err != nil {
		return info.Size(), err.Error(), nil
	}
	if h.base != s.base {
		return info.Size(), fmt.Sprintf("the header says that it begins at offset %d", h.base), nil
	}
	s.segmentHeader = h
	return info.Size(), "", nil
}

// follows returns why s is not the segment after prev, or "".
func follows(prev, s *segment) string {
	switch {
	case s.previous != prev.base:
		return fmt.Sprintf("a segment is missing before it: it follows the segment %d, but the one before it is %d", s.previous, prev.base)
	case s.position <= prev.position || s.epoch < prev.epoch:
		return "its header does not continue the segment before"
	}
	return ""
}

// remakeLast deals with a last segment whose header is bad. A crash can leave
// one only before it has a batch: the segment before it was whole then.
func (r *recovery) remakeLast(s *segment, size int64, bad string) error {
	damage := func(why string) error {
		return &DamageError{Path: s.path, Offset: s.base, Why: bad + why}
	}
	if m := r.state.mark; m.at > 0 && m.segment == s.base || r.state.reached() > s.base {
		return damage(fmt.Sprintf(", but the log had reached offset %d", r.state.reached()))
	}
	last, err := lastNonZero(r.file, s.path, segmentHeaderSize, size)
	if err != nil {
		return err
	}
	if last > segmentHeaderSize {
		return damage(", and data follows it")
	}
	h := r.newHeader()
	h.base, h.previous = s.base, noSegment
	if n := len(r.segments); n > 0 {
		prev := r.segments[n-1]
		t, err := r.scanSealed(prev)
		if err != nil {
			return err
		}
		if t.lost > 0 || t.chain.next != s.base {
			return &DamageError{Path: prev.path, Position: t.end, Offset: t.chain.next, Why: fmt.Sprintf("the segment ends here, but the next one begins at offset %d: %s", s.base, t.why)}
		}
		h.position, h.previous, h.floor, h.epoch = t.chain.position, prev.base, t.chain.time, t.chain.epoch
	} else if s.base > 0 {
		return damage(", and no segment is before it")
	}
	s.segmentHeader = h
	r.report.TornFile, r.report.TornAt, r.report.TornWhy = s.path, 0, bad
	return r.remake(s)
}

// scanSealed finds the end of a segment that is not the last.
func (r *recovery) scanSealed(s *segment) (tail, error) {
	f, err := r.fs.Open(s.path)
	if err != nil {
		return tail{}, fmt.Errorf("open segment: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was opened for reading
	return r.scanTail(f, s, mark{})
}
