package persistence

import (
	"slices"

	"metaq/internal/vfs"
)

// mustRoll reports whether n more bytes go to a new segment. now is of the append clock.
func (l *Log) mustRoll(n, now int64) bool {
	s := l.active()
	end := s.end.Load()
	if end == segmentHeaderSize {
		return false // a segment without a record is never left behind
	}
	return l.w.roll || end+n > l.opts.SegmentSize || l.tooOld(s, now)
}

// tooOld reports whether the segment's age asks for a new one. now is of the append
// clock.
func (l *Log) tooOld(s *segment, now int64) bool {
	return l.opts.SegmentAge > 0 && l.beganAt(s) <= now-l.opts.SegmentAge.Milliseconds()
}

// roll seals the active segment and starts a new one. When it fails for lack of
// disk the old one stays active, but the next append rolls again: recovery relies
// on it that the segment before a half-made one has not grown.
func (l *Log) roll() error {
	w, old := &l.w, l.active()
	w.roll = true
	if err := l.seal(); err != nil {
		return err
	}
	h := l.newHeader()
	h.base, h.position, h.previous, h.floor, h.epoch = w.chain.next, w.chain.position, old.base, w.chain.time, w.chain.epoch
	s := l.newSegment(h)
	f, err := l.createSegment(s)
	if err != nil {
		return err
	}
	l.closeWriter()
	old.drop() // readers open it again, for reading only
	segments := append(slices.Clone(*l.segments.Load()), s)
	w.file, w.size, w.dirty, w.roll, w.noIndex = s.install(f, true), segmentHeaderSize, 0, false, false
	w.chain.time = 0 // its first batch may have any
	w.builder = newIndexBuilder(l.opts.IndexInterval, nil)
	w.file.index.Store(&[]indexEntry{})
	l.segments.Store(&segments)
	l.size.Add(segmentHeaderSize)
	// From here on a missing last segment is damage.
	l.saveMark()
	l.opts.Events.Rolled(s.base)
	return nil
}

// seal makes the active segment and its index durable, and gives back the blank
// space behind it.
func (l *Log) seal() error {
	if err := l.openWriter(); err != nil {
		return err
	}
	w, s := &l.w, l.active()
	if w.dirty > 0 {
		if err := l.blank(); err != nil {
			return err
		}
	}
	if end := s.end.Load(); w.size > end {
		if err := vfs.Cut(w.file.file, end, w.size); err != nil && !vfs.IsDiskFull(err) {
			return l.fail(diskError("cut", s.path, err))
		}
		w.size = end
	}
	if planted == rollWithoutSync {
		w.synced = w.chain.next
	}
	if err := l.sync(); err != nil {
		return err
	}
	if w.index == nil || w.noIndex {
		return nil
	}
	if err := w.index.Sync(); err != nil {
		w.noIndex = true
		w.closeIndex()
	}
	return nil
}

// createSegment makes the segment's file with its header, durably.
func (l *Log) createSegment(s *segment) (vfs.File, error) {
	f, err := l.fs.OpenReadWrite(s.path)
	if err != nil {
		return nil, l.failUnlessRefused(diskError("create", s.path, err))
	}
	if err := l.writeHeader(f, s); err != nil {
		_ = f.Close() // the first error counts
		return nil, err
	}
	return f, nil
}

// writeHeader writes the header of s into f, blanks what follows and makes both
// and the name durable.
func (l *Log) writeHeader(f vfs.File, s *segment) error {
	// An index that a truncation or a crash left would speak of other batches.
	if err := l.fs.Remove(l.indexPath(s.base)); err != nil && !vfs.IsNotExist(err) {
		return l.failUnlessRefused(diskError("remove", l.indexPath(s.base), err))
	}
	info, err := f.Stat()
	if err == nil {
		_, err = f.WriteAt(s.encode(), 0)
	}
	if err == nil && info.Size() > segmentHeaderSize {
		err = vfs.Cut(f, segmentHeaderSize, info.Size())
	}
	if err != nil {
		return l.failUnlessRefused(diskError("write", s.path, err))
	}
	if err := f.Sync(); err != nil {
		return l.fail(diskError("sync", s.path, err))
	}
	if planted != skipDirSync {
		if err := vfs.SyncDir(l.fs, l.dir); err != nil {
			return l.failUnlessUnopened(err)
		}
	}
	s.end.Store(segmentHeaderSize)
	s.last.Store(s.floor)
	s.newest.Store(s.began)
	s.bare.Store(true)
	return nil
}

// failUnlessUnopened makes every error final but that of a directory that was not synced
// because it could not be opened.
func (l *Log) failUnlessUnopened(err error) error {
	if vfs.IsTooManyOpen(err) {
		return refusedOpen(err)
	}
	return l.fail(err)
}

// failUnlessRefused makes every error final but those after which all is as it was: a
// full disk, and a file that could not be opened for lack of a descriptor.
func (l *Log) failUnlessRefused(err error) error {
	if isRefusal(err) {
		return err
	}
	return l.fail(err)
}
