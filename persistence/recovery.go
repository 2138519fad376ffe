package persistence

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"metaq/internal/vfs"
	"metaq/protocol"
)

// Recovery says what Open found and did.
type Recovery struct {
	Segments int
	Start    protocol.Offset
	Next     protocol.Offset
	Clean    bool // the log ended where its last owner had noted
	// A torn tail was cut at byte TornAt of TornFile; TornBytes bytes of unfinished
	// writes went. TornFile is "" when there was none.
	TornFile  string
	TornAt    int64
	TornBytes int64
	TornWhy   string
	// What was derived and had to be made again, and what was set aside under
	// another name; "" when nothing.
	StateRebuilt string
	SetAside     string
	// Truncated says that a truncation was finished that a crash had interrupted.
	Truncated bool
}

// Open opens the log in o.Dir, and makes an empty one when there is none. It
// reads the header of each segment and the tail of the last: what lies after
// the last whole batch is cut when it is a torn tail, a write that was never made
// durable. Bytes that had been durable are never cut: they give a *DamageError,
// and nothing on disk is changed. After Open every record in the log is durable.
func Open(o Options) (*Log, Recovery, error) {
	r := &recovery{Log: newLog(o)}
	r.enter() // nobody may close what it reads
	if err := r.run(); err != nil {
		return nil, r.report, err
	}
	l := r.Log
	defer l.leave()
	l.measure()
	r.report.Segments, r.report.Start, r.report.Next = len(*l.segments.Load()), l.Start(), l.Next()
	r.tell()
	return l, r.report, nil
}

type recovery struct {
	*Log
	report   Recovery
	names    []string // what the directory held
	segments []*segment
	file     vfs.File // the last segment's, from its header on to the end of run
	stale    string   // why the state file must be made again, or ""
}

func (r *recovery) tell() {
	log, p := r.opts.Logger, &r.report
	if p.TornFile != "" {
		log.Warn("torn tail cut", "path", p.TornFile, "position", p.TornAt, "bytes", p.TornBytes, "next", p.Next, "reason", p.TornWhy)
	}
	if p.StateRebuilt != "" {
		log.Warn("epochs made again from the log", "dir", r.dir, "reason", p.StateRebuilt, "set_aside", p.SetAside)
	}
	if ahead := r.LastTime() - r.opts.Now().UnixMilli(); ahead > protocol.MaxHeld.Milliseconds() {
		log.Warn("records are dated ahead of the clock: it was ahead when they were appended, or is behind now",
			"dir", r.dir, "ahead", time.Duration(ahead)*time.Millisecond, "next", p.Next)
	}
	log.Debug("log opened", "dir", r.dir, "segments", p.Segments, "start", p.Start, "next", p.Next, "clean", p.Clean)
}

func (r *recovery) run() (err error) {
	defer func() {
		if r.file == nil {
			return
		}
		if cerr := r.file.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("close the last segment of %s: %w", r.dir, cerr)
		}
	}()
	if err := r.list(); err != nil {
		return err
	}
	if err := r.readState(); err != nil {
		return err
	}
	bases := segmentBases(r.names)
	if len(bases) == 0 {
		return r.begin()
	}
	if r.state.truncate != noTruncate {
		r.report.Truncated = true
		if bases, err = r.dropBeyond(bases, r.state.truncate); err != nil {
			return err
		}
	}
	if err := r.readHeaders(bases); err != nil {
		return err
	}
	if r.state.truncate != noTruncate {
		if err := r.finishTruncate(); err != nil {
			return err
		}
	}
	if err := r.recoverTail(); err != nil {
		return err
	}
	if err := r.rebuildState(); err != nil {
		return err
	}
	return r.tidy()
}

// list reads the directory, and makes one when there is none.
func (r *recovery) list() (err error) {
	if r.names, err = r.fs.List(r.dir); err == nil {
		return nil
	}
	if !vfs.IsNotExist(err) {
		return fmt.Errorf("list %s: %w", r.dir, err)
	}
	if err := vfs.MakeDir(r.fs, r.dir); err != nil {
		return diskError("open", r.dir, err)
	}
	return nil
}

// readState reads the state file. One that is missing or bad is made again
// later: nothing depends on it but the proof that records are gone.
func (r *recovery) readState() error {
	r.state = state{truncate: noTruncate}
	if !slices.Contains(r.names, stateName) {
		r.stale = "it is missing"
		return nil
	}
	path := r.fs.PathJoin(r.dir, stateName)
	b, err := vfs.ReadFile(r.fs, path, maxStateSize)
	if err != nil {
		return err
	}
	s, err := decodeState(b)
	if err != nil {
		r.stale = err.Error()
		if r.report.SetAside, err = vfs.SetAside(r.fs, path, "corrupt"); err != nil {
			return err
		}
		return nil
	}
	r.setState(s)
	return nil
}

// begin makes the first segment of an empty log.
func (r *recovery) begin() error {
	if n := r.state.reached(); n > 0 {
		return &DamageError{Path: r.dir, Offset: 0, Why: fmt.Sprintf("no segment is there, but the log had reached offset %d", n)}
	}
	// An earlier attempt may have failed between making the directory and making
	// its name durable.
	if err := vfs.SyncDir(r.fs, r.fs.PathDir(r.dir)); err != nil {
		return err
	}
	// The state comes first: a log with segments and without state would look as
	// if the state had been lost.
	if r.stale != "" {
		if err := publishState(r.fs, r.dir, &r.state); err != nil {
			return diskError("create", r.dir, err)
		}
		r.stale = ""
	}
	return r.firstSegment()
}

func (r *recovery) firstSegment() error {
	h := r.newHeader()
	h.previous = noSegment
	s := r.newSegment(h)
	if err := r.remake(s); err != nil {
		return err
	}
	r.adopt([]*segment{s}, s.chain())
	return nil
}

// adopt makes segments the log, which ends at c; all of it is durable.
func (r *recovery) adopt(segments []*segment, c chain) {
	for i, s := range segments[:len(segments)-1] {
		s.last.Store(segments[i+1].floor)
	}
	last := segments[len(segments)-1]
	last.last.Store(cmp.Or(c.time, last.floor))
	r.age(segments, c.next)
	r.Log.segments.Store(&segments)
	r.setChain(c)
	r.w.synced = c.next
}

// recoverTail finds the end of the log in the last segment.
func (r *recovery) recoverTail() error {
	s := r.segments[len(r.segments)-1]
	m := r.state.mark
	if m.segment > s.base {
		return r.state.lostSegment(r.dir)
	}
	if m.segment != s.base || m.at < segmentHeaderSize {
		m = mark{}
	}
	if m.at == segmentHeaderSize {
		m.chain.time = 0 // version 1 of segments: see segmentHeader.chain
	}
	size := s.end.Load()
	if m.at > size {
		return &DamageError{Path: s.path, Position: size, Offset: s.base, Why: fmt.Sprintf("the file has lost its bytes up to %d", m.at)}
	}
	t, err := r.scanTail(r.file, s, m)
	if err != nil {
		return err
	}
	if n := r.state.reached(); t.chain.next < n {
		why := fmt.Sprintf("the log ends here, but it had reached offset %d", n)
		if t.why != "" {
			why += ": " + t.why
		}
		return &DamageError{Path: s.path, Position: t.end, Offset: t.chain.next, Why: why}
	}
	s.end.Store(t.end)
	r.adopt(r.segments, t.chain)
	r.learnEpochs(&t)
	if m.at > 0 && t.chain == m.chain && t.lost == 0 && !t.indexBad {
		r.report.Clean = true
		return nil
	}
	if t.lost > 0 {
		r.report.TornFile, r.report.TornAt, r.report.TornBytes, r.report.TornWhy = s.path, t.end, t.lost, t.why
	}
	return r.settle(s, t, size)
}

// learnEpochs takes epochs over that the state file does not know: they are noted
// when more is read into than the tail. One that began before the tail is looked
// for in the whole log.
func (r *recovery) learnEpochs(t *tail) {
	if r.stale != "" || planted == tailWithoutEpochs {
		return
	}
	if t.epoch > r.state.lastEntry() {
		r.stale = fmt.Sprintf("it does not know epoch %d", t.epoch)
		return
	}
	for _, e := range t.epochs {
		if e.epoch > r.state.lastEntry() {
			r.state.add(e.epoch, e.first)
			r.setState(r.state)
			r.owed = true
		}
	}
}

// settle makes what was found durable and blanks what was cut.
func (r *recovery) settle(s *segment, t tail, size int64) error {
	if err := r.settleFile(r.file, s, t, size); err != nil {
		return err
	}
	if t.indexBad {
		if err := r.noteEpoch(); err != nil {
			return diskError("write epochs to", r.dir, err)
		}
		// Entries that speak of batches beyond the cut must not meet new ones.
		if err := writeIndex(r.fs, r.dir, s.base, t.entries); err != nil {
			return diskError("write the index of", s.path, err)
		}
		r.opts.Events.IndexRebuilt(r.indexPath(s.base), t.indexWhy)
	}
	return nil
}

func (r *recovery) settleFile(f vfs.File, s *segment, t tail, size int64) error {
	if planted != believePageCache {
		if err := rewrite(f, t.unproven, t.end); err != nil {
			return diskError("write again", s.path, err)
		}
	}
	if t.lost > 0 && planted != keepGarbage {
		if err := vfs.Cut(f, t.end, size); err != nil {
			return diskError("cut", s.path, err)
		}
	}
	sync := f.Sync
	if t.lost == 0 {
		sync = f.SyncData // the size is as it was: no journal has to be waited for
	}
	if err := sync(); err != nil {
		return fmt.Errorf("sync %s: %w", s.path, err)
	}
	return nil
}

// rewrite writes the bytes from at to end again as they are. After a failed sync
// the system's cache may hold bytes that it will never write: reading them proves
// nothing, and only a new write and its sync do.
func rewrite(f vfs.File, at, end int64) error {
	buf := make([]byte, min(end-at, scanWindow))
	for at < end {
		b := buf[:min(end-at, int64(len(buf)))]
		if _, err := f.ReadAt(b, at); err != nil {
			return err
		}
		if _, err := f.WriteAt(b, at); err != nil {
			return err
		}
		at += int64(len(b))
	}
	return nil
}

// rebuildState makes a state file anew that was missing or bad, or that does not
// know an epoch of the log.
func (r *recovery) rebuildState() error {
	if r.stale == "" {
		return nil
	}
	s := state{truncate: noTruncate, highest: r.state.highest, mark: r.state.mark}
	for i, g := range r.segments {
		s.add(g.epoch, g.base)
		if i+1 < len(r.segments) && r.segments[i+1].epoch == g.epoch {
			continue // no new epoch began in it
		}
		if err := r.scanEpochs(g, &s, sealedAt(r.segments, i, r.Next())); err != nil {
			return err
		}
	}
	if err := publishState(r.fs, r.dir, &s); err != nil {
		return diskError("write epochs to", r.dir, err)
	}
	r.setState(s)
	r.report.StateRebuilt = r.stale
	return nil
}

func (r *recovery) scanEpochs(g *segment, s *state, next protocol.Offset) error {
	f, err := r.fs.Open(g.path)
	if err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was opened for reading
	sc := newScanner(f, g.path, segmentHeaderSize, g.end.Load(), g.chain())
	defer sc.close()
	for sc.chain.next < next {
		h, _, err := sc.next()
		var bad *badBytes
		if errors.Is(err, errBlank) || errors.As(err, &bad) {
			return nil // damage: the read that gets there reports it
		}
		if err != nil {
			return err
		}
		s.add(h.Epoch, h.Base)
	}
	return nil
}

// tidy removes what a crash left of derived files: unpublished ones, and indexes
// whose segment is gone.
func (r *recovery) tidy() error {
	names, err := vfs.RemoveTemps(r.fs, r.dir, r.names)
	if err != nil {
		return err
	}
	for _, name := range names {
		base, ok := parseBase(name, indexSuffix)
		if !ok || slices.ContainsFunc(r.segments, func(s *segment) bool { return s.base == base }) {
			continue
		}
		if err := r.fs.Remove(r.fs.PathJoin(r.dir, name)); err != nil && !vfs.IsNotExist(err) {
			return fmt.Errorf("remove %s: %w", name, err)
		}
	}
	return nil
}
