package persistence

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"metaq/internal/vfs"
	"metaq/protocol"
)

// TruncateTo removes the records from offset on, durably. offset must be where
// a batch begins, or Next. It is for a replica whose records differ from its
// leader's: what it removes may have been acknowledged.
//
// Its intent is written down first: a crash in the middle would else leave
// bytes that look like damage, and the next Open finishes it.
func (l *Log) TruncateTo(offset protocol.Offset) error {
	l.enter()
	defer l.leave()
	if err := l.usable(); err != nil {
		return err
	}
	if offset < l.Start() || offset > l.Next() {
		return protocol.NewRangeError(offset, l.Start(), l.Next())
	}
	if offset == l.Next() {
		return nil
	}
	if err := l.sync(); err != nil {
		return err
	}
	all := *l.segments.Load()
	keep := holding(all, offset)
	s := all[keep]
	at, c, kept, err := l.boundary(keep, offset)
	if err != nil {
		return err
	}
	state := l.state
	state.epochs = slices.Clone(state.epochs)
	state.cut(offset)
	state.truncate = offset
	if planted != truncateUnannounced {
		if err := publishState(l.fs, l.dir, &state); err != nil {
			// Also when the disk is full: the intent may be on disk by now, and a log
			// that went on would lose what it appends.
			return l.fail(diskError("write the intent to truncate to", l.dir, err))
		}
	}
	// From here on readers see the shorter log; one that is under way meets bytes
	// that vanish, and the count tells it why. So it rises between the two: a reader
	// that loads it after the rise must not find the old end, and one that loads it
	// before must notice that the bytes went.
	l.closeWriter()
	segments := slices.Clone(all[:keep+1])
	l.next.Store(int64(offset))
	l.segments.Store(&segments)
	l.cuts.Add(1)
	s.end.Store(at)
	s.last.Store(cmp.Or(c.time, s.floor))
	l.setChain(c)
	l.found.Store(min(l.found.Load(), int64(offset)))
	l.w.synced, l.w.dirty, l.w.roll = offset, 0, false
	for _, gone := range all[keep+1:] {
		<-gone.retire()
	}
	s.drop() // its index speaks of what is cut
	l.cache.Store(nil)
	l.measure()
	if err := l.cutFiles(offset, s, at, kept); err != nil {
		return l.fail(err)
	}
	state.truncate = noTruncate
	if err := l.publish(state); err != nil {
		return l.fail(diskError("write the end of the truncation to", l.dir, err))
	}
	l.cuts.Add(1)
	return nil
}

// boundary returns the byte place of the batch that begins at offset in the
// segment i, the chain before it, and the index entries below it.
func (l *Log) boundary(i int, offset protocol.Offset) (int64, chain, []indexEntry, error) {
	all := *l.segments.Load()
	g := region{segment: all[i], next: sealedAt(all, i, l.Next()), sealed: i < len(all)-1}
	var err error
	if g.handle, err = l.acquire(g.segment, g.sealed); err != nil {
		return 0, chain{}, nil, err
	}
	defer g.release(g.handle)
	entries, err := l.loadIndex(g)
	if err != nil {
		return 0, chain{}, nil, err
	}
	sc, err := l.scanFrom(g, func(e []indexEntry) (indexEntry, bool) { return byOffset(e, offset-1) })
	if err != nil {
		return 0, chain{}, nil, err
	}
	defer sc.close()
	if _, err := sc.seek(offset); err != nil {
		return 0, chain{}, nil, sc.damage(err)
	}
	if sc.chain.next != offset {
		return 0, chain{}, nil, fmt.Errorf("truncate %s: %w: no batch begins at offset %d, but one at %d", l.dir, ErrRefused, offset, sc.chain.next)
	}
	n := len(entries)
	for n > 0 && entries[n-1].offset >= offset {
		n--
	}
	return sc.at, sc.chain, entries[:n], nil
}

// cutFiles removes the segments beyond offset and blanks s from byte place at
// on, durably.
func (l *Log) cutFiles(offset protocol.Offset, s *segment, at int64, entries []indexEntry) error {
	// Not only those of the list: a roll that ran out of disk may have left a
	// half-made one, which no segment may follow.
	names, err := l.fs.List(l.dir)
	if err != nil {
		return fmt.Errorf("list %s: %w", l.dir, err)
	}
	if _, err := l.dropBeyond(segmentBases(names), offset); err != nil {
		return err
	}
	f, err := l.fs.OpenReadWrite(s.path)
	if err != nil {
		return diskError("open", s.path, err)
	}
	err = cutFile(f, at)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return diskError("truncate", s.path, err)
	}
	if err := writeIndex(l.fs, l.dir, s.base, entries); err != nil {
		return diskError("write the index of", s.path, err)
	}
	return nil
}

func cutFile(f vfs.File, at int64) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := vfs.Cut(f, at, info.Size()); err != nil {
		return err
	}
	return f.Sync()
}

// dropBeyond removes the segments that begin beyond offset and returns the
// bases of the others. The newest goes first, each durably before the next: so
// that no crash leaves a gap.
func (l *Log) dropBeyond(bases []protocol.Offset, offset protocol.Offset) ([]protocol.Offset, error) {
	for n := len(bases); n > 0 && bases[n-1] > offset; n-- {
		path := l.fs.PathJoin(l.dir, baseName(bases[n-1])+segmentSuffix)
		if err := l.fs.Remove(path); err != nil && !vfs.IsNotExist(err) {
			return nil, fmt.Errorf("remove %s: %w", path, err)
		}
		if err := vfs.SyncDir(l.fs, l.dir); err != nil {
			return nil, err
		}
		if err := l.fs.Remove(l.indexPath(bases[n-1])); err != nil && !vfs.IsNotExist(err) {
			return nil, fmt.Errorf("remove index: %w", err)
		}
		bases = bases[:n-1]
	}
	return bases, nil
}

// finishTruncate ends a truncation that a crash interrupted. Everything below
// the offset had been made durable before it began.
func (r *recovery) finishTruncate() error {
	offset := r.state.truncate
	// The intent may have been renamed and not synced. A crash that brought back the
	// state before it would find a shorter log, and no word of why.
	if err := r.holdNames(); err != nil {
		return err
	}
	if len(r.segments) == 0 {
		return &DamageError{Path: r.dir, Offset: offset, Why: "no segment is left of a truncation"}
	}
	s := r.segments[len(r.segments)-1]
	at, err := r.findCut(s, offset)
	if err != nil {
		return err
	}
	if err := r.cutFiles(offset, s, at, nil); err != nil {
		return err
	}
	s.end.Store(at)
	state := r.state
	state.truncate = noTruncate
	if err := publishState(r.fs, r.dir, &state); err != nil {
		return diskError("write the end of the truncation to", r.dir, err)
	}
	r.setState(state)
	return nil
}

func (r *recovery) findCut(s *segment, offset protocol.Offset) (int64, error) {
	f, err := r.fs.Open(s.path)
	if err != nil {
		return 0, fmt.Errorf("open segment: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was opened for reading
	sc := newScanner(f, s.path, segmentHeaderSize, s.end.Load(), s.chain())
	defer sc.close()
	if _, err := sc.seek(offset); err != nil && (sc.chain.next != offset || !errors.Is(err, errBlank) && !errors.As(err, new(*badBytes))) {
		return 0, sc.damage(err)
	}
	if sc.chain.next != offset {
		return 0, &DamageError{Path: s.path, Position: sc.at, Offset: sc.chain.next, Why: fmt.Sprintf("no batch begins at offset %d, to which the log was being truncated", offset)}
	}
	return sc.at, nil
}
