package persistence

import (
	"container/list"
	"sync"
	"sync/atomic"
	"time"

	"metaq/protocol"
)

// filesWait bounds how long an append or a read waits for a place before it is refused.
const filesWait = time.Second

// Files is the budget of open files of all logs that share it. A log keeps its files open
// for the next use; when they are too many, the logs that were not used for longest close
// theirs, and open them again when they need them. A file with writes that are not synced
// is never closed. It may be used from any goroutine.
type Files struct {
	limit   int
	wait    time.Duration
	waiting atomic.Int32  // opens that wait for a place
	evicted atomic.Uint64 // logs that had to close files

	mu    sync.Mutex    // guards the fields below; no file is opened or closed under it
	open  int           // also those that are just being opened
	logs  list.List     // of each *Log with open files; the one to be looked at next is first
	freed chan struct{} // closed, and replaced, when there may be a place
}

// FilesStats are what an operator watches.
type FilesStats struct {
	Open    int
	Limit   int
	Evicted uint64 // logs that closed files for the sake of others
}

// NewFiles returns a budget of limit open files. A log that writes needs up to three; a step
// that has begun, such as a new segment, may exceed the limit for its duration.
func NewFiles(limit int) *Files {
	return &Files{limit: limit, wait: filesWait, freed: make(chan struct{})}
}

// Stats returns the present state. Nil has none.
func (f *Files) Stats() FilesStats {
	if f == nil {
		return FilesStats{}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return FilesStats{Open: f.open, Limit: f.limit, Evicted: f.evicted.Load()}
}

// need says what an open does when the limit is reached and nobody can close a file.
type need int

const (
	mustOpen need = iota // exceeds the limit: a step has begun that must not end half-way
	mayWait              // waits a little, then is refused
	ifSpare              // is refused at once: there is another way
)

// share is a log's part in a budget.
type share struct {
	used  atomic.Bool   // since it was last looked at
	turn  turn          // who uses what belongs to the owner
	open  int           // guarded by Files.mu
	place *list.Element // in Files.logs, guarded by Files.mu; nil when nothing is open
}

// take makes a place for one more file of l.
func (f *Files) take(l *Log, n need) error {
	switch {
	case f.tryTake(l, n != ifSpare):
		return nil
	case n == mustOpen:
		f.add(l, true)
		return nil
	case n == mayWait && f.waitFor(l):
		return nil
	}
	return f.refusal()
}

// tryTake reports whether there was a place, or could be made; with sync also by syncing
// the writes of an idle log.
func (f *Files) tryTake(l *Log, sync bool) bool {
	for !f.add(l, false) {
		if !f.evict(sync) {
			return false
		}
	}
	return true
}

// waitFor waits for a place. Whoever frees one looks at waiting after it is free, and we
// look for a place after we have counted ourselves: one of us sees the other.
func (f *Files) waitFor(l *Log) bool {
	f.waiting.Add(1)
	defer f.waiting.Add(-1)
	timer := time.NewTimer(f.wait)
	defer timer.Stop()
	for {
		f.mu.Lock()
		freed := f.freed
		f.mu.Unlock()
		if f.tryTake(l, true) {
			return true
		}
		select {
		case <-freed:
		case <-timer.C:
			return false
		}
	}
}

func (f *Files) refusal() error {
	return protocol.ErrUnavailable.With(
		"all %d log files that may be open are in use: raise maxOpenLogFiles, or the descriptor limit of the broker (ulimit -n)", f.limit)
}

// add counts one more file of l, unless the limit is reached.
func (f *Files) add(l *Log, beyond bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open >= f.limit && !beyond {
		return false
	}
	f.open++
	if l.share.open++; l.share.place == nil {
		l.share.used.Store(true)
		l.share.place = f.logs.PushBack(l)
	}
	return true
}

// put counts one file of l less.
func (f *Files) put(l *Log) {
	f.mu.Lock()
	f.open--
	if l.share.open--; l.share.open == 0 {
		f.logs.Remove(l.share.place)
		l.share.place = nil
	}
	f.mu.Unlock()
	f.nudge()
}

// nudge wakes who waits for a place: one may be free, or a file is no longer in use.
func (f *Files) nudge() {
	if f == nil || f.waiting.Load() == 0 {
		return
	}
	f.mu.Lock()
	close(f.freed)
	f.freed = make(chan struct{})
	f.mu.Unlock()
}

// evict closes files of one log and reports whether it could. The logs stand in a circle:
// one that was used since the last look is passed over once, so that those go first that
// were not used for longest. With sync, a log whose only fault is that it has unsynced
// writes is synced for it, when there is no other.
func (f *Files) evict(sync bool) bool {
	if f.round(2, false) {
		return true
	}
	return sync && f.round(1, true)
}

func (f *Files) round(times int, sync bool) bool {
	f.mu.Lock()
	n := times * f.logs.Len()
	f.mu.Unlock()
	for range n {
		l := f.next()
		if l == nil {
			return false
		}
		if times > 1 && l.share.used.Swap(false) {
			continue
		}
		if l.evict(sync) {
			f.evicted.Add(1)
			return true
		}
	}
	return false
}

// next returns the log to be looked at, which then is the last.
func (f *Files) next() *Log {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := f.logs.Front()
	if e == nil {
		return nil
	}
	f.logs.MoveToBack(e)
	return e.Value.(*Log) //nolint:forcetypeassert // the list's own
}

func (f *Files) held(l *Log) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return l.share.open
}

// enter begins a step of the owner: until leave, nobody closes the files that it uses.
func (l *Log) enter() {
	if l.files == nil {
		return
	}
	l.share.turn.take()
	l.use()
}

// leave ends it.
func (l *Log) leave() {
	if l.files == nil {
		return
	}
	l.share.turn.give()
	l.files.nudge()
}

// use notes that the log is in use. Most calls only read.
func (l *Log) use() {
	if l.files != nil && !l.share.used.Load() {
		l.share.used.Store(true)
	}
}

// evict closes what the log has open and nobody uses, and reports whether that was any.
func (l *Log) evict(sync bool) bool {
	before := l.files.held(l)
	if l.share.turn.borrow() {
		if l.settled(sync) {
			l.closeWriter()
		}
		l.share.turn.giveBack()
	}
	l.dropIdle()
	return l.files.held(l) < before
}

// settled reports whether the owner's files hold nothing that a sync has to make durable.
// The turn is the caller's. A failed log is closed anyway.
func (l *Log) settled(sync bool) bool {
	switch {
	case l.failed != nil || l.closed.Load() || l.w.synced == l.w.chain.next:
		return true
	case planted == evictUnsynced:
		l.w.synced = l.w.chain.next
		return true
	case !sync:
		return false
	}
	return l.sync() == nil
}

// dropIdle closes the segments that nobody reads or writes.
func (l *Log) dropIdle() {
	if all := *l.segments.Load(); len(all) > 0 {
		all[len(all)-1].dropIdle()
	}
	c := l.cache.Load()
	if c == nil {
		return
	}
	c.mu.Lock()
	open := c.open
	c.open = nil
	c.mu.Unlock()
	for _, s := range open {
		if s.dropIdle() {
			continue
		}
		if drop := c.keep(s); drop != nil {
			drop.drop()
		}
	}
}

// scarce reports whether the limit is reached.
func (f *Files) scarce() bool {
	if f == nil {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.open >= f.limit
}
