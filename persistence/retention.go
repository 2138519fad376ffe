package persistence

import (
	"archive/zip"
	"fmt"
	"io"
	"slices"
	"sync"

	"metaq/internal/vfs"
	"metaq/protocol"
)

// facts are what retention decides on.
type facts struct {
	bytes int64 // of the segment
	last  int64 // of the append clock when its newest record was appended
}

// expired returns how many of the oldest segments may go. The last one is
// active and always stays. now is of the append clock. It is pure.
func expired(segments []facts, r Retention, now int64) int {
	var total int64
	for _, s := range segments {
		total += s.bytes
	}
	n := 0
	for _, s := range segments[:len(segments)-1] {
		byAge := r.Age > 0 && s.last < now-r.Age.Milliseconds()
		bySize := r.Bytes > 0 && total-s.bytes >= r.Bytes
		if !byAge && !bySize {
			break
		}
		total -= s.bytes
		n++
	}
	return n
}

// Expire takes what r no longer keeps from the log: reads below the new Start
// give a *protocol.RangeError from then on. It first starts a new segment when all
// of the active one is too old, so that a quiet topic is trimmed, too. The slow
// rest, removing or archiving files, is the function that it returns, or nil when
// there is nothing to do; it may run on any goroutine, once. What it could not do
// is done by the next one, also the new segment when the disk was too full for it; it
// returns an error that wraps protocol.ErrDiskFull only where nothing else can go.
//
// A crash before the rest is done brings the segments back; the next Expire
// takes them again.
func (l *Log) Expire(r Retention) (dispose func() error, err error) {
	l.enter()
	defer l.leave()
	if err := l.usable(); err != nil {
		return nil, err
	}
	now := l.opts.Elapsed()
	// A new segment needs room, and a full disk has it only once the old ones have
	// gone: they expire first, and the next Expire starts the new one.
	full := l.retireActive(now, r)
	if full != nil && (l.failed != nil || !isRefusal(full)) {
		return nil, full
	}
	all := *l.segments.Load()
	list := make([]facts, len(all))
	for i, s := range all {
		list[i] = facts{bytes: s.end.Load(), last: s.newest.Load()}
	}
	if n := expired(list, r, now); n > 0 {
		kept := slices.Clone(all[n:])
		// The list first: a reader that finds a segment retired looks there again.
		l.segments.Store(&kept)
		for _, s := range all[:n] {
			l.doomed.add(victim{segment: s, idle: s.retire(), retention: r})
		}
		l.measure()
		l.opts.Logger.Info("segments expired", "dir", l.dir, "segments", n, "start", l.Start())
		l.opts.Events.Expired(n, l.Start())
	}
	switch {
	case l.doomed.begin():
		return l.dispose, nil
	case l.doomed.waits():
		return nil, nil // the one under way makes room
	}
	return nil, full
}

// retireActive starts a new segment when the active one holds only records that
// are too old, or is too old itself. It also does so after a segment that cannot tell
// how old its records are: what begins now bounds their age at the next Open.
func (l *Log) retireActive(now int64, r Retention) error {
	s := l.active()
	if s.end.Load() == segmentHeaderSize {
		return nil
	}
	tooOld := r.Age > 0 && s.newest.Load() < now-r.Age.Milliseconds() || l.tooOld(s, now)
	if tooOld || s.began == noBegan && s.last.Load() > l.opts.Now().UnixMilli()+protocol.MaxHeld.Milliseconds() {
		return l.roll()
	}
	return nil
}

// victim is a segment that is no longer in the log but still on disk.
type victim struct {
	segment   *segment
	idle      <-chan struct{} // closed when nobody reads it any more
	retention Retention
}

// doomed is the queue of victims. The owner adds, one dispose at a time removes.
type doomed struct {
	mu    sync.Mutex // guards the fields below
	queue []victim   // Invariant: oldest first
	busy  bool       // a dispose is under way
}

func (d *doomed) add(v victim) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.queue = append(d.queue, v)
}

// begin says whether there is work and nobody at it.
func (d *doomed) begin() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.busy || len(d.queue) == 0 {
		return false
	}
	d.busy = true
	return true
}

// waits says whether there is work, which somebody is at.
func (d *doomed) waits() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.queue) > 0
}

// head returns the oldest victim; without one the work has ended.
func (d *doomed) head() (victim, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.queue) == 0 {
		d.busy = false
		return victim{}, false
	}
	if planted == expireUnordered {
		return d.queue[len(d.queue)-1], true
	}
	return d.queue[0], true
}

// all returns the victims that wait, oldest first.
func (d *doomed) all() []victim {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.queue)
}

func (d *doomed) pop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if planted == expireUnordered {
		d.queue = d.queue[:len(d.queue)-1]
		return
	}
	d.queue = d.queue[1:]
}

func (d *doomed) giveUp() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.busy = false
}

// dispose removes or archives the victims, oldest first and each durably before
// the next: a gap between two segments would look like damage.
func (l *Log) dispose() error {
	for {
		v, ok := l.doomed.head()
		if !ok {
			return nil
		}
		<-v.idle
		switch err := l.keepIDs(v); {
		case vfs.IsDiskFull(err): // room for messages counts for more
			l.opts.Logger.Warn("no room for the ids of removed messages: after a restart a retry of one of them is stored again", "dir", l.dir)
		case err != nil:
			l.doomed.giveUp()
			return fmt.Errorf("retention: keep message ids: %w", err)
		}
		if err := disposeOf(l.fs, l.dir, v); err != nil {
			l.doomed.giveUp()
			return fmt.Errorf("retention: %w", err)
		}
		l.doomed.pop()
	}
}

const (
	archiveSuffix = ".arc"
	zipSuffix     = ".zip"
)

func disposeOf(fsys vfs.FS, dir string, v victim) error {
	name, path := baseName(v.segment.base), v.segment.path
	if v.retention.Archive && !v.retention.Compress {
		if err := fsys.Rename(path, fsys.PathJoin(dir, name+archiveSuffix)); err != nil && !vfs.IsNotExist(err) {
			return diskError("archive", path, err)
		}
	} else {
		if v.retention.Archive {
			if err := compress(fsys, dir, name, v.segment.end.Load()); err != nil {
				return diskError("compress", path, err)
			}
		}
		if err := fsys.Remove(path); err != nil && !vfs.IsNotExist(err) {
			return fmt.Errorf("remove %s: %w", path, err)
		}
	}
	if err := vfs.SyncDir(fsys, dir); err != nil {
		return err
	}
	// Derived, and removed at the next Open when it stays now.
	if err := fsys.Remove(fsys.PathJoin(dir, name+indexSuffix)); err != nil && !vfs.IsNotExist(err) {
		return fmt.Errorf("remove index: %w", err)
	}
	return nil
}

// compress publishes a zip file with the first size bytes of the segment.
func compress(fsys vfs.FS, dir, name string, size int64) error {
	f, err := fsys.Open(fsys.PathJoin(dir, name+segmentSuffix))
	if vfs.IsNotExist(err) {
		return nil // an earlier attempt came this far
	}
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // it was opened for reading
	return vfs.Publish(fsys, dir, name+zipSuffix, func(w io.Writer) error {
		z := zip.NewWriter(w)
		entry, err := z.Create(name + segmentSuffix)
		if err != nil {
			return err
		}
		if _, err := io.Copy(entry, io.NewSectionReader(f, 0, size)); err != nil {
			return err
		}
		return z.Close()
	})
}
