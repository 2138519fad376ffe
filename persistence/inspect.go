package persistence

import (
	"errors"
	"fmt"

	"metaq/internal/vfs"
	"metaq/protocol"
)

// SegmentReport tells about one segment.
type SegmentReport struct {
	Name  string          // file name
	First protocol.Offset // of its first record, or of the next when it has none
	Last  protocol.Offset // of its last good record; First-1 when it has none
	Bytes int64           // of the header and the good batches
	State string          // "ok", "torn tail at ...", "damage at ..."
}

// Report tells about a partition's directory.
type Report struct {
	Segments []SegmentReport
	// Damage are all faults that are not a torn tail; errors.As finds the first
	// *DamageError in each.
	Damage []error
	Torn   bool // the last segment has a torn tail, which the next start will cut
}

// Inspect reads every byte of the log in dir and changes nothing. It may look at
// the directory of a running broker; then a batch that is just being written can
// look like a torn tail. The error is for a directory that cannot be read.
func Inspect(fsys vfs.FS, dir string) (Report, error) {
	if fsys == nil {
		fsys = vfs.Default
	}
	names, err := fsys.List(dir)
	if err != nil {
		return Report{}, fmt.Errorf("list %s: %w", dir, err)
	}
	in := &inspector{Log: newLog(Options{FS: fsys, Dir: dir})}
	in.state = in.readState()
	bases := segmentBases(names)
	if n := in.state.reached(); len(bases) == 0 && n > 0 {
		in.damage(&DamageError{Path: dir, Why: fmt.Sprintf("no segment is there, but the log had reached offset %d", n)})
	} else if len(bases) == 0 {
		return Report{}, fmt.Errorf("%s has no segment (*%s): name the directory of one partition", dir, segmentSuffix)
	}
	if n := len(bases); n > 0 && in.state.mark.segment > bases[n-1] {
		in.damage(in.state.lostSegment(dir))
	}
	for i, base := range bases {
		if err := in.segment(base, i == len(bases)-1); err != nil {
			return in.report, err
		}
	}
	return in.report, nil
}

type inspector struct {
	*Log
	report Report
	prev   *segment // nil before the first and after one that cannot be followed
	chain  chain    // where prev ends
}

// readState reads the state file for what it proves; a bad one proves nothing.
func (in *inspector) readState() state {
	b, err := vfs.ReadFile(in.fs, in.fs.PathJoin(in.dir, stateName), maxStateSize)
	if err == nil {
		if s, err := decodeState(b); err == nil {
			return s
		}
	}
	return state{truncate: noTruncate}
}

func (in *inspector) damage(err error) { in.report.Damage = append(in.report.Damage, err) }

func (in *inspector) segment(base protocol.Offset, last bool) error {
	s := in.newSegment(segmentHeader{base: base})
	r := SegmentReport{Name: baseName(base) + segmentSuffix, First: base, Last: base - 1, State: "ok"}
	prev := in.prev
	in.prev = nil
	size, bad, err := readHeader(in.fs, s)
	if err != nil {
		return err
	}
	damage := &DamageError{Path: s.path, Offset: base, Why: bad}
	switch {
	case bad != "" && last && size <= segmentHeaderSize && in.state.mark.segment != base:
		r.State, in.report.Torn = fmt.Sprintf("torn tail at 0: 0 records kept, %d bytes dropped", size), true
	case bad != "":
		in.damage(damage)
		r.State = "damage at 0: " + bad
	default:
		if damage.Why = in.continues(prev, s); damage.Why != "" {
			in.damage(damage)
			r.State = "damage at 0: " + damage.Why
			break
		}
		s.end.Store(size)
		if err := in.batches(s, last, &r); err != nil {
			return err
		}
		in.prev = s
	}
	in.report.Segments = append(in.report.Segments, r)
	return nil
}

func (in *inspector) continues(prev, s *segment) string {
	if prev == nil {
		return ""
	}
	if why := follows(prev, s); why != "" {
		return why
	}
	if in.chain.next != s.base || in.chain.position != s.position {
		return fmt.Sprintf("the segment before it ends at offset %d", in.chain.next)
	}
	return ""
}

// batches reads the whole segment and judges its end.
func (in *inspector) batches(s *segment, last bool, r *SegmentReport) error {
	f, err := in.fs.Open(s.path)
	if err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was opened for reading
	size := s.end.Load()
	sc := newScanner(f, s.path, segmentHeaderSize, size, s.chain())
	defer sc.close()
	var t tail
	for {
		_, _, err := sc.next()
		var bad *badBytes
		if errors.As(err, &bad) {
			t.why = bad.why
			break
		}
		if errors.Is(err, errBlank) {
			break
		}
		if err != nil {
			return err
		}
	}
	t.chain, t.end = sc.chain, sc.at
	in.chain = sc.chain
	r.Last, r.Bytes = sc.chain.next-1, sc.at
	err = judge(f, s.path, size, &t)
	var damage *DamageError
	switch reached := in.state.reached(); {
	case errors.As(err, &damage):
	case err != nil:
		return err
	case !last && t.lost > 0:
		damage = &DamageError{Path: s.path, Position: t.end, Offset: t.chain.next, Why: t.why}
	case last && t.chain.next < reached:
		damage = &DamageError{Path: s.path, Position: t.end, Offset: t.chain.next, Why: fmt.Sprintf("the log ends here, but it had reached offset %d", reached)}
	case t.lost > 0:
		in.report.Torn = true
		r.State = fmt.Sprintf("torn tail at %d: %d records kept, %d bytes dropped", t.end, t.chain.next-s.base, t.lost)
	}
	if damage != nil {
		in.damage(damage)
		r.State = fmt.Sprintf("damage at %d: %s", damage.Position, damage.Why)
	}
	return nil
}

// Dump calls visit with every batch of a segment file, up to its end or the
// first bad bytes, which give a *DamageError. records is valid during the call.
func Dump(fsys vfs.FS, path string, visit func(at int64, h protocol.BatchHeader, records []protocol.Record) error) error {
	if fsys == nil {
		fsys = vfs.Default
	}
	base, ok := parseBase(fsys.PathBase(path), segmentSuffix)
	if !ok {
		return fmt.Errorf("%s is not a segment: its name is not %d digits and %s", path, baseDigits, segmentSuffix)
	}
	s := &segment{segmentHeader: segmentHeader{base: base}, path: path}
	size, bad, err := readHeader(fsys, s)
	if err != nil {
		return err
	}
	if bad != "" {
		return &DamageError{Path: path, Offset: base, Why: bad}
	}
	f, err := fsys.Open(path)
	if err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was opened for reading
	sc := newScanner(f, path, segmentHeaderSize, size, s.chain())
	defer sc.close()
	for {
		at := sc.at
		h, b, err := sc.next()
		if errors.Is(err, errBlank) {
			return nil
		}
		if err != nil {
			return sc.damage(err)
		}
		var records []protocol.Record
		for r, err := range protocol.DecodeRecords(&h, b) {
			if err != nil {
				return &DamageError{Path: path, Position: at, Offset: h.Base, Why: err.Error()}
			}
			records = append(records, r)
		}
		if err := visit(at, h, records); err != nil {
			return err
		}
	}
}
