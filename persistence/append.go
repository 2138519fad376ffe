package persistence

import (
	"fmt"

	"metaq/internal/vfs"
	"metaq/protocol"
)

// Append writes whole, stamped batches that continue the log: the first begins
// at Next. They can be read when it returns and are durable after the next
// Sync. The bytes belong to the caller again. The first may be dated before what the log
// holds: then a new segment begins with it. The others may not.
//
// An error that wraps protocol.ErrDiskFull, or protocol.ErrUnavailable for lack of a
// descriptor, means that nothing was kept and the log is as it was. One that wraps ErrRefused means that the batches do not continue
// the log, and nothing was written. Every other error is final.
func (l *Log) Append(batches []byte) error { return l.AppendIn(batches, nil) }

// AppendIn is Append of batches that are a part of around, memory of aligned.New, up to its
// end. Of what lies beside them the log may make what it likes, until it returns: large
// batches that begin Lead bytes behind the border of a block are written without a copy.
func (l *Log) AppendIn(batches, around []byte) error {
	l.enter()
	defer l.leave()
	if err := l.usable(); err != nil {
		return err
	}
	after, err := l.walk(batches, nil)
	if err != nil {
		return err
	}
	if err := l.openWriter(); err != nil {
		return err
	}
	now := l.opts.Elapsed()
	if err := l.prepare(batches, now); err != nil {
		return err
	}
	if err := l.blank(); err != nil {
		return err
	}
	s := l.active()
	end := s.end.Load()
	if dirty, err := l.write(batches, around, end); err != nil {
		return l.undo(dirty, err)
	}
	if err := l.grow(end+int64(len(batches)), len(batches)); err != nil {
		return err
	}
	// The entries must be known before the batches can be seen: a reader that
	// finds no entry only scans longer, but the walk needs the old chain.
	if _, err := l.walk(batches, l.noteBatch); err != nil {
		return err
	}
	s.end.Store(end + int64(len(batches)))
	s.last.Store(after.time)
	s.newest.Store(now)
	l.size.Add(int64(len(batches)))
	l.unread.Add(int64(len(batches)))
	l.setChain(after)
	return nil
}

// walk checks that batches continue the log and calls visit with each header
// and its byte place. It returns the chain after the last.
func (l *Log) walk(batches []byte, visit func(h *protocol.BatchHeader, at int64)) (chain, error) {
	c := l.w.chain
	if datedBack(&c, batches) {
		c.time = 0 // they begin a segment
	}
	at := l.active().end.Load()
	for b := batches; ; {
		h, err := protocol.ParseBatchHeader(b)
		if err == nil && h.Length > len(b) {
			err = protocol.ErrShortBatch
		}
		if err != nil {
			return c, fmt.Errorf("append to %s: %w: byte %d of %d: %w", l.dir, ErrRefused, len(batches)-len(b), len(batches), err)
		}
		why := c.check(&h)
		if why == "" && h.Epoch > l.LastEpoch() {
			why = fmt.Sprintf("epoch %d was not set", h.Epoch)
		}
		if proof := h.Base - protocol.Offset(h.Unsynced); why == "" && proof > l.w.synced {
			// Recovery would take the false claim for a proof of damage.
			why = fmt.Sprintf("it says that offset %d is durable, but only %d is", proof, l.w.synced)
		}
		if why != "" {
			return c, fmt.Errorf("append to %s: %w: %s", l.dir, ErrRefused, why)
		}
		if visit != nil {
			visit(&h, at)
		}
		c.advance(&h)
		at += int64(h.Length)
		if b = b[h.Length:]; len(b) == 0 {
			return c, nil
		}
	}
}

// openWriter opens the active segment for writing.
func (l *Log) openWriter() error {
	w, s := &l.w, l.active()
	if w.file != nil {
		return nil
	}
	if err := l.holdNames(); err != nil {
		return err
	}
	f, err := l.calm.OpenReadWrite(s.path)
	if err != nil {
		return l.failUnlessRefused(diskError("open", s.path, err))
	}
	info, err := f.Stat()
	if err == nil && info.Size() < s.end.Load() {
		err = &DamageError{Path: s.path, Position: info.Size(), Offset: l.Next(), Why: fmt.Sprintf("the file has lost its bytes up to %d", s.end.Load())}
	}
	if err != nil {
		_ = f.Close() // nothing was written
		return l.fail(err)
	}
	w.file, w.size = s.install(f, true), info.Size()
	// All of it is durable, as when it was sealed: the index may be written.
	entries, err := l.loadIndex(region{segment: s, handle: w.file, next: w.chain.next, sealed: true})
	if err != nil {
		l.closeWriter()
		return l.failUnlessRefused(err)
	}
	w.entries, w.saved, w.noIndex = entries, len(entries), false
	w.builder = newIndexBuilder(l.opts.IndexInterval, entries)
	return nil
}

// growStep is the number of bytes by which a file of size bytes grows ahead of
// what is written: a quarter of it, so that ten thousand small partitions
// reserve little and a large one seldom grows. After a large append it is nothing:
// zeros as many as its bytes cost more than that its sync writes the new size.
func (l *Log) growStep(size int64, appended int) int64 {
	const least, block = 16 << 10, 4 << 10
	if l.opts.Preallocate < 0 || int64(appended) >= l.opts.Preallocate/8 {
		return 0
	}
	step := min(max(size/4, least), l.opts.Preallocate)
	return min(step, max(0, l.opts.SegmentSize-size)) &^ (block - 1)
}

// grow makes room ahead when the append of so many bytes ends at end, behind the file's
// end, so that the next syncs need not write the file's new size, too. It writes zeros:
// room that fallocate reserves has to be marked as written by each sync, which costs what
// the new size would.
func (l *Log) grow(end int64, appended int) error {
	w := &l.w
	if end <= w.size {
		return nil
	}
	w.size = end
	step := l.growStep(end, appended)
	if err := vfs.Zero(w.file.file, end, end+step); err != nil {
		if vfs.IsDiskFull(err) {
			return nil // the batches themselves had room
		}
		return l.fail(diskError("write", l.active().path, err))
	}
	w.size = end + step
	return nil
}

// undo answers a write that failed and may have left bytes up to dirty.
func (l *Log) undo(dirty int64, err error) error {
	path := l.active().path
	if !vfs.IsDiskFull(err) {
		return l.fail(diskError("append to", path, err))
	}
	l.w.dirty = max(dirty, l.w.size)
	if planted == keepPartialWrite {
		l.w.dirty = 0
	}
	// Now rather than at the next append: after a crash the refused batches must
	// not come back.
	if berr := l.blank(); berr != nil && l.failed != nil {
		return berr
	}
	return diskError("append to", path, err)
}

// blank removes what a failed write left behind. It must be durable before
// other batches are written there: else a crash could bring a part of the
// refused ones back behind a part of the new ones.
func (l *Log) blank() error {
	w, s := &l.w, l.active()
	if w.dirty == 0 {
		return nil
	}
	end := s.end.Load()
	w.direct.forget()
	if err := vfs.Cut(w.file.file, end, w.dirty); err != nil {
		err = diskError("blank the end of", s.path, err)
		if vfs.IsDiskFull(err) {
			return err
		}
		return l.fail(err)
	}
	w.size = end
	if err := w.file.file.SyncData(); err != nil {
		return l.fail(diskError("sync", s.path, err))
	}
	w.dirty = 0
	return nil
}

// Sync makes everything that was appended durable. Its errors are final: after
// a failed sync nobody knows what is on disk.
func (l *Log) Sync() error {
	l.enter()
	defer l.leave()
	return l.sync()
}

func (l *Log) sync() error {
	if err := l.usable(); err != nil {
		return err
	}
	w := &l.w
	if w.synced == w.chain.next {
		return nil
	}
	if err := syncData(w.file.file); err != nil {
		return l.fail(fmt.Errorf("sync %s: %w", l.active().path, err))
	}
	w.synced = w.chain.next
	l.saveIndex()
	return nil
}

func syncData(f vfs.File) error {
	if planted == ackBeforeSync {
		return nil
	}
	err := f.SyncData()
	if err != nil && planted == ignoreFailedSync {
		return nil
	}
	if err != nil && planted == retryFailedSync {
		return f.SyncData()
	}
	return err
}

// noteBatch notes where an epoch begins that has no entry, as after a truncation,
// and an index entry for the batch at byte place at, when it gets one.
func (l *Log) noteBatch(h *protocol.BatchHeader, at int64) {
	w := &l.w
	if h.ProducerID == protocol.NoProducer {
		l.active().bare.Store(false)
	}
	if h.Epoch > l.state.lastEntry() {
		l.state.add(h.Epoch, h.Base)
		l.owed = true
	}
	if !w.builder.want(at) {
		return
	}
	// Readers hold the slice as it was; they never look beyond its length.
	w.entries = append(w.entries, indexEntry{offset: h.Base, at: at, time: h.MaxTime})
	entries := w.entries
	w.file.index.Store(&entries)
	if planted == trustIndex {
		l.saveIndex()
	}
}

// saveIndex writes the entries that are not in the file yet. It comes after the
// sync of their batches: an entry on disk shows that its batch and everything
// before it were durable. The index is derived: when it fails the log goes on.
func (l *Log) saveIndex() {
	w := &l.w
	if w.saved == len(w.entries) || w.noIndex {
		return
	}
	// The next start reads no batch before the last entry: the state file must know
	// the epochs that begin there.
	err := l.noteEpoch()
	if err == nil {
		err = w.writeEntries(l)
	}
	if vfs.IsTooManyOpen(err) {
		return // the next sync tries again
	}
	if err != nil {
		w.noIndex = true
		w.closeIndex()
		l.opts.Logger.Warn("index not written, reads scan more until it is made again", "dir", l.dir, "error", err)
	}
}

func (w *writer) writeEntries(l *Log) error {
	s := l.active()
	var b []byte
	at := int64(indexHeaderSize + w.saved*indexEntrySize)
	if w.saved == 0 {
		b, at = appendIndexHeader(b, s.base), 0
	}
	for _, e := range w.entries[w.saved:] {
		b = appendIndexEntry(b, e)
	}
	if w.index == nil {
		f, err := l.fs.OpenReadWrite(l.indexPath(s.base))
		if err != nil {
			return err
		}
		w.index = f
	}
	if _, err := w.index.WriteAt(b, at); err != nil {
		return err
	}
	w.saved = len(w.entries)
	if l.files.scarce() {
		w.closeIndex() // others need the place more often
	}
	return nil
}

func (l *Log) indexPath(base protocol.Offset) string {
	return l.fs.PathJoin(l.dir, baseName(base)+indexSuffix)
}
