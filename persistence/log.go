package persistence

import (
	"cmp"
	"fmt"
	"slices"
	"sync/atomic"

	"metaq/internal/vfs"
	"metaq/protocol"
)

// Log is the log of one partition. The package comment says which methods
// belong to the owner's goroutine.
type Log struct {
	opts  Options
	fs    vfs.FS // its opens must not fail for lack of a place
	calm  vfs.FS // its opens wait for a place, and may be refused
	dir   string
	files *Files // nil: no budget
	share share

	// Invariant: ordered by base, never empty, the last is active. A slice is
	// replaced, never changed, so that a reader keeps the one that it loaded.
	segments atomic.Pointer[[]*segment]
	cache    atomic.Pointer[readCache]
	closed   atomic.Bool

	// Where the log ends. next is stored last: who has seen it may read what lies
	// below it.
	next     atomic.Int64
	position atomic.Int64
	time     atomic.Int64
	highest  atomic.Uint32
	epochs   atomic.Pointer[[]protocol.EpochStart] // of state; replaced, never changed
	size     atomic.Int64
	// unread counts the bytes that were appended since the last read.
	unread atomic.Int64
	// cuts counts truncations, begun and ended: a reader that met bad bytes looks
	// whether they were cut under its hands.
	cuts atomic.Uint64

	// found is the offset below which the records are those that Open found.
	found  atomic.Int64
	opened opened

	// The fields below belong to the owner.
	w      writer
	state  state
	owed   bool  // the state file does not know all of state's epochs; recovery finds them in the tail
	named  bool  // the directory's names are known to be durable as Open found them
	failed error // the first final error

	doomed doomed
	gone   chan struct{} // holds a value while somebody reads or writes the file "ids"
}

// writer is the owner's end of the active segment.
type writer struct {
	chain  chain           // where the log ends
	synced protocol.Offset // everything below is durable

	file  *handle // nil while there is nothing to write
	size  int64   // of the file; what lies between the segment's end and it is blank, but for dirty
	dirty int64   // byte place up to which a failed write may have left bytes; 0 when none did
	roll  bool    // the next append must go to a new segment

	direct direct // the same file for large appends

	index   vfs.File     // nil until an entry is written
	entries []indexEntry // of the active segment
	saved   int          // how many of them are in the file
	builder indexBuilder
	noIndex bool // the index file failed; it is made again when it is needed
}

func newLog(o Options) *Log {
	o = o.withDefaults()
	l := &Log{opts: o, dir: o.Dir, files: o.Files, share: share{turn: newTurn()}, gone: make(chan struct{}, 1)}
	l.fs, l.calm = l.fsFor(mustOpen), l.fsFor(mayWait)
	l.segments.Store(&[]*segment{})
	l.epochs.Store(&[]protocol.EpochStart{})
	l.unread.Store(o.DirectUnread) // nobody has read
	return l
}

// Start is the log start: the offset of the oldest record, or Next when there
// is none.
func (l *Log) Start() protocol.Offset { return (*l.segments.Load())[0].base }

// Next is the end offset: that of the next record to be appended. What lies
// below it need not be durable.
func (l *Log) Next() protocol.Offset { return protocol.Offset(l.next.Load()) }

// NextPosition is the MetaQ position of the next record.
func (l *Log) NextPosition() protocol.Position { return protocol.Position(l.position.Load()) }

// LastTime is the greatest time of a record in the last segment that has one, in
// Unix milliseconds, also of one that retention has dropped; 0 when there never was
// one.
func (l *Log) LastTime() int64 { return l.time.Load() }

// LastEpoch is the highest epoch that the log has accepted. One that Open found
// is durable only after the next SetEpoch or Append, since the owner before may
// have failed in the middle of its SetEpoch; AdoptEpoch says when its one is.
func (l *Log) LastEpoch() protocol.Epoch { return protocol.Epoch(l.highest.Load()) }

// Size is the number of bytes that the log's batches and segment headers take.
// Blank space that files have beyond, indexes and archives do not count.
func (l *Log) Size() int64 { return l.size.Load() }

// Dir is the partition's directory.
func (l *Log) Dir() string { return l.dir }

// Synced is the offset below which every record is durable. It belongs to the
// owner.
func (l *Log) Synced() protocol.Offset {
	l.enter()
	defer l.leave()
	return l.w.synced
}

func (l *Log) active() *segment {
	s := *l.segments.Load()
	return s[len(s)-1]
}

// newSegment returns the segment that h describes; it has no file yet.
func (l *Log) newSegment(h segmentHeader) *segment {
	return &segment{segmentHeader: h, path: l.fs.PathJoin(l.dir, baseName(h.base)+segmentSuffix), files: l.files}
}

// usable returns why the owner cannot go on, or nil.
func (l *Log) usable() error {
	if l.closed.Load() {
		return ErrClosed
	}
	return l.failed
}

// fail keeps the first final error.
func (l *Log) fail(err error) error {
	if l.failed == nil {
		l.failed = fmt.Errorf("log %s has failed, close it and open it again: %w", l.dir, err)
		l.opts.Logger.Error("log failed", "dir", l.dir, "error", err)
	}
	return l.failed
}

// setChain makes c the end of the log for everyone.
func (l *Log) setChain(c chain) {
	l.w.chain = c
	l.position.Store(int64(c.position))
	l.time.Store(cmp.Or(c.time, l.active().floor))
	l.next.Store(int64(c.next))
}

// setState takes s over as what the state file holds.
func (l *Log) setState(s state) {
	l.state = s
	l.highest.Store(uint32(s.highest))
	epochs := make([]protocol.EpochStart, len(s.epochs))
	for i, e := range s.epochs {
		epochs[i] = protocol.EpochStart{Epoch: e.epoch, First: e.first}
	}
	l.epochs.Store(&epochs)
}

// Epochs returns where the epochs of the log's records begin, oldest first. The slice is
// not to be changed. It may be called from any goroutine.
func (l *Log) Epochs() []protocol.EpochStart { return *l.epochs.Load() }

// measure counts the bytes of the log.
func (l *Log) measure() {
	var n int64
	for _, s := range *l.segments.Load() {
		n += s.end.Load()
	}
	l.size.Store(n)
}

// SetEpoch makes epoch durable: it and the offset at which it begins survive
// every crash after SetEpoch has returned nil. An epoch below the known one is
// refused with an error that wraps protocol.ErrFenced.
func (l *Log) SetEpoch(epoch protocol.Epoch) error {
	l.enter()
	defer l.leave()
	if err := l.adopt(epoch); err != nil {
		return err
	}
	if planted == epochInMemory {
		l.owed = false
	}
	if !l.owed {
		return l.holdNames()
	}
	if err := l.noteEpoch(); err != nil {
		return l.failUnlessRefused(diskError("write epoch to", l.dir, err))
	}
	return nil
}

// AdoptEpoch is SetEpoch for an epoch that the caller has made durable elsewhere
// and will not go below: it costs no sync. The log knows it at once, and a crash
// forgets it only while it has no record and the log was not parked or closed.
func (l *Log) AdoptEpoch(epoch protocol.Epoch) error {
	l.enter()
	defer l.leave()
	return l.adopt(epoch)
}

func (l *Log) adopt(epoch protocol.Epoch) error {
	if err := l.usable(); err != nil {
		return err
	}
	switch known := l.LastEpoch(); {
	case epoch < known:
		return fmt.Errorf("log %s: %w", l.dir, protocol.ErrFenced.With("epoch %d is older than epoch %d: ask the registry who leads", epoch, known))
	case epoch == known:
		return nil
	}
	// The entry says later that everything before it had been durable.
	if err := l.sync(); err != nil {
		return err
	}
	s := l.state
	s.epochs = slices.Clone(s.epochs)
	s.trim(l.Start())
	s.add(epoch, l.w.chain.next)
	l.setState(s)
	l.owed = true
	return nil
}

// noteEpoch makes the epochs durable that the state file does not know yet.
func (l *Log) noteEpoch() error {
	if !l.owed {
		return nil
	}
	return l.publish(l.state)
}

// publish makes s durable and takes it over.
func (l *Log) publish(s state) error {
	if err := publishState(l.fs, l.dir, &s); err != nil {
		return err
	}
	l.setState(s)
	l.owed, l.named = false, true
	return nil
}

// holdNames makes the names durable that Open found, before something relies on
// them: the owner before may have failed between a rename and its sync, and a
// crash would bring an older state file back, with an older epoch or the intent
// of a truncation that is long done.
func (l *Log) holdNames() error {
	if l.named {
		return nil
	}
	if err := vfs.SyncDir(l.fs, l.dir); err != nil {
		return l.failUnlessUnopened(err)
	}
	l.named = true
	return nil
}

// EpochEnd returns the offset at which epoch ended: the first record of a later
// epoch, or Next. It belongs to the owner.
func (l *Log) EpochEnd(epoch protocol.Epoch) protocol.Offset {
	l.enter()
	defer l.leave()
	for _, e := range l.state.epochs {
		if e.epoch > epoch {
			return e.first
		}
	}
	return l.Next()
}

// Park makes the log durable, notes its end, and gives up open files and
// caches until the next use. Reads may go on meanwhile; one that comes later
// opens what it needs.
func (l *Log) Park() error {
	l.enter()
	defer l.leave()
	if err := l.usable(); err != nil {
		return err
	}
	if err := l.sync(); err != nil {
		return err
	}
	l.saveMark()
	l.letGo()
	return nil
}

// Close makes the log durable, notes its clean end and closes all files. A log
// that has failed is only closed. Close may be called twice; every other use
// returns ErrClosed.
func (l *Log) Close() error {
	if l.closed.Load() {
		return nil
	}
	l.enter()
	defer l.leave()
	var err error
	if l.failed == nil {
		if err = l.sync(); err == nil {
			l.saveMark()
		}
	}
	l.closed.Store(true)
	l.closeWriter()
	for _, s := range *l.segments.Load() {
		s.retire() // a read that is just beginning must not open it again
	}
	return err
}

// saveMark notes where the log ends, so that the next Open need not look. It
// may fail: then the next Open looks.
func (l *Log) saveMark() {
	m := mark{segment: l.active().base, at: l.active().end.Load(), chain: l.w.chain}
	if l.state.mark == m && !l.owed || l.w.dirty > 0 {
		return
	}
	s := l.state
	s.mark = m
	s.trim(l.Start())
	if err := l.publish(s); err != nil {
		l.opts.Logger.Warn("end of log not noted, the next start reads its tail", "dir", l.dir, "error", err)
	}
}

// letGo closes all files, each as soon as its readers have gone.
func (l *Log) letGo() {
	l.closeWriter()
	l.cache.Store(nil)
	for _, s := range *l.segments.Load() {
		s.drop()
	}
}

// closeWriter gives the active segment's files up. Everything was synced, or
// the log has failed and its end is not known anyway.
func (l *Log) closeWriter() {
	w := &l.w
	if w.file != nil {
		l.active().release(w.file)
		w.file = nil
	}
	w.direct.close()
	w.closeIndex()
	w.entries, w.saved = nil, 0
}

func (w *writer) closeIndex() {
	if w.index != nil {
		_ = w.index.Close() // derived data: a fault shows when it is read
		w.index = nil
	}
}
