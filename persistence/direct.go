package persistence

import (
	"errors"
	"sync"
	"syscall"

	"metaq/internal/aligned"
	"metaq/internal/vfs"
)

// Large appends go past the system's cache when nobody reads the log: to take pages for
// them, to copy into these and to write them out costs two to six times as much of the
// processor as the disk's fetching them from here. Whoever reads at the end finds
// what was appended in the cache, since then nothing goes past it. ADR 0018 says more.
const (
	directLeast  = 8 << 10  // bytes of a large append
	directUnread = 32 << 20 // bytes that are appended after a read before any goes past the cache
	directPiece  = 1 << 20  // bytes of one write that has to be copied
	directAtOnce = 16       // of these at a time in the process, each with a piece of memory
)

var (
	pieces     = sync.Pool{New: func() any { b := aligned.New(directPiece); return &b }}
	directTurn = make(chan struct{}, directAtOnce)
)

// direct is the active segment's file for writes past the system's cache. Such a write
// begins and ends at the border of a block: it writes the bytes before it in its first
// block again, as they are, and blank space behind it.
type direct struct {
	file vfs.DirectFile // nil until the first large append
	none bool           // until it is opened anew: there are no such writes, or no descriptor for them
	tail []byte         // what the file has in the block that ends at byte end, up to there
	end  int64          // 0: tail says nothing
}

// Lead is how far behind the border of a block of its file the next append begins, unless
// the next segment begins with it; see AppendIn.
func (l *Log) Lead() int { return int(l.active().end.Load() % aligned.Block) }

// write writes b, which may lie in around, at byte at of the active segment. Also after an
// error, bytes up to dirty may have been written.
func (l *Log) write(b, around []byte, at int64) (dirty int64, err error) {
	w := &l.w
	if l.goesDirect(len(b)) {
		dirty, err = w.writeDirect(b, around, at, l.growStep(at+int64(len(b)), len(b)))
		switch {
		case errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.EOPNOTSUPP):
			// The disk has larger blocks, or the file system only says that it can.
			w.direct.close()
			w.direct.none = true
		case vfs.IsDiskFull(err):
			// There may be room for the batches, and not for the blank space behind them.
		default:
			return dirty, err
		}
	}
	w.direct.forget()
	if _, err = w.file.file.WriteAt(b, at); err == nil {
		w.size = max(w.size, dirty) // blank space that there was room for
	}
	return max(dirty, at+int64(len(b))), err
}

// goesDirect says whether an append of n bytes goes past the system's cache.
func (l *Log) goesDirect(n int) bool {
	d := &l.w.direct
	if l.opts.DirectLeast < 0 || n < l.opts.DirectLeast || d.none || l.unread.Load() < l.opts.DirectUnread {
		return false
	}
	if d.file != nil {
		return true
	}
	file, err := vfs.OpenDirect(l.fsFor(ifSpare), l.active().path)
	if err != nil {
		d.none = !isRefusal(refusedOpen(err)) // the usual way goes on
		return false
	}
	d.file = file
	return true
}

// writeDirect writes b at byte at, and step bytes of blank space behind it when the file
// has no more.
func (w *writer) writeDirect(b, around []byte, at, step int64) (dirty int64, err error) {
	d, head, end := &w.direct, int(at%aligned.Block), at+int64(len(b))
	if step == 0 || end <= w.size {
		if blocks := aligned.Within(around, b, head); blocks != nil {
			if err := d.before(w.file.file, blocks[:head], at); err != nil {
				return at, err
			}
			return w.writeBlocks(blocks, at-int64(head), end)
		}
	}
	directTurn <- struct{}{}
	defer func() { <-directTurn }()
	piece := pieces.Get().(*[]byte) //nolint:forcetypeassert // the pool's own
	defer pieces.Put(piece)
	if err := d.before(w.file.file, (*piece)[:head], at); err != nil {
		return at, err
	}
	for {
		buf := (*piece)[:head+copy((*piece)[head:], b)]
		b = b[len(buf)-head:]
		from := at - int64(head)
		at, head = from+int64(len(buf)), 0
		if at == end && end > w.size {
			buf = buf[:min(len(buf)+int(step), directPiece)]
		}
		if dirty, err = w.writeBlocks(buf[:aligned.Up(len(buf))], from, at); err != nil || at == end {
			return dirty, err
		}
	}
}

// writeBlocks writes blocks to byte from, and blanks what lies in them behind byte end of the
// file, which it remembers the last block up to.
func (w *writer) writeBlocks(blocks []byte, from, end int64) (dirty int64, err error) {
	d, used := &w.direct, int(end-from)
	d.forget()
	if planted != directLeavesRubbish {
		clear(blocks[used:])
	}
	dirty = from + int64(len(blocks))
	if _, err := d.file.WriteAt(blocks, from); err != nil {
		return dirty, err
	}
	d.tail, d.end = append(d.tail[:0], blocks[used&^(aligned.Block-1):used]...), end
	w.size = max(w.size, dirty)
	return dirty, nil
}

// before fills head with what the file has before byte at.
func (d *direct) before(file vfs.File, head []byte, at int64) error {
	switch {
	case len(head) == 0:
		return nil
	case planted == directOverNeighbours:
		clear(head)
		return nil
	case d.end == at || planted == directBelievesTail && d.end > 0:
		copy(head, d.tail)
		return nil
	}
	_, err := file.ReadAt(head, at-int64(len(head)))
	return err
}

// forget says that somebody else writes to the file.
func (d *direct) forget() {
	if planted != directBelievesTail {
		d.end = 0
	}
}

func (d *direct) close() {
	if d.file != nil {
		_ = d.file.Close() // each write has told its error
	}
	*d = direct{}
}
