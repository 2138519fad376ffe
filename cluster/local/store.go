package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"metaq/cluster/registry"
	"metaq/internal/vfs"
)

// Names in the data directory.
const (
	localName = "registry"
	lockName  = "registry.lock"
)

// localQueue bounds the requests that wait for the goroutine of a Local.
const localQueue = 128

// Options says where a local registry keeps its file.
type Options struct {
	FS  vfs.FS // all file access; nil means the operating system's
	Dir string // the data directory; made when it is missing

	// StartEmpty accepts a directory whose registry was damaged and set aside, and
	// starts anew: the caller rebuilds what it needs. Without it OpenLocal goes on
	// returning the *vfs.DamagedError, so that a broker that stopped while it rebuilt
	// does not take an empty registry for the truth.
	StartEmpty bool

	Log *slog.Logger // nil discards
}

// Store is the registry of a broker that runs alone: a tree in memory, and a
// file that holds all of its persistent nodes. Its sessions are Registry values.
//
// One goroutine owns tree and file. It answers requests in order, and publishes one
// file for all writes that it finds waiting: a Multi, however large, costs one
// publish, and nothing is answered or readable before it is durable.
type Store struct {
	disk     vfs.Generations
	recovery vfs.Recovery
	log      *slog.Logger
	lock     io.Closer

	requests chan localRequest
	stop     chan struct{}
	stopOnce sync.Once
	done     chan struct{}
	closeErr error // written before done is closed

	// Below: the goroutine's own.
	tree     *tree
	sessions registry.SessionID
	open     map[*localSession]struct{}
	watches  registry.WatchSet
	poison   error // first failed publish that may have changed the disk
}

// localRequest is a question to the goroutine; it answers exactly once unless it
// has ended, and then the question was not asked.
type localRequest struct {
	do func() // runs on the goroutine and answers by itself; nil for a write

	session *localSession // who writes
	ops     []registry.Op
	reply   chan error // capacity 1
}

// Open reads the registry of a data directory and locks the directory for
// this process. ErrLocked names the directory when another process has it. A
// damaged file is set aside and the previous generation read; see Recovery. When
// none is readable the error is a *vfs.DamagedError.
func Open(o Options) (*Store, error) {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if err := vfs.MakeDir(o.FS, o.Dir); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	lock, err := o.FS.Lock(o.FS.PathJoin(o.Dir, lockName))
	if err != nil {
		return nil, fmt.Errorf("%w: %s (%w); stop the other broker, or use another directory", ErrLocked, o.Dir, err)
	}
	l := &Store{
		disk:     vfs.Generations{FS: o.FS, Dir: o.Dir, Name: localName},
		log:      o.Log,
		lock:     lock,
		requests: make(chan localRequest, localQueue),
		stop:     make(chan struct{}),
		done:     make(chan struct{}),
		tree:     newTree(),
		open:     make(map[*localSession]struct{}),
		watches:  make(registry.WatchSet),
	}
	_, l.recovery, err = l.disk.Load(o.StartEmpty, func(b []byte) error {
		t, err := decodeTree(b)
		if err == nil {
			l.tree = t
		}
		return err
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open registry: %w", err), lock.Close())
	}
	if len(l.recovery.SetAside) > 0 {
		o.Log.Warn("registry file damaged, previous generation in use", "dir", o.Dir, "kept", l.recovery.SetAside)
	}
	go l.run()
	return l, nil
}

// Recovery says what OpenLocal had to set aside.
func (l *Store) Recovery() vfs.Recovery { return l.recovery }

// Close ends all sessions, waits for the goroutine and unlocks the directory.
func (l *Store) Close() error {
	l.stopOnce.Do(func() { close(l.stop) })
	<-l.done
	return l.closeErr
}

// Open begins a session; it is an Opener.
func (l *Store) Open(ctx context.Context) (registry.Registry, error) {
	s := &localSession{local: l, done: make(chan struct{})}
	err := l.ask(ctx, func() {
		l.sessions++
		s.id = l.sessions
		l.open[s] = struct{}{}
	})
	if err != nil {
		return nil, fmt.Errorf("open session: %w", err)
	}
	return s, nil
}

// end ends one session, on the goroutine.
func (l *Store) end(s *localSession) {
	if _, found := l.open[s]; !found {
		return
	}
	delete(l.open, s)
	close(s.done)
	l.watches.EndSession(s)
	l.watches.Touch(l.tree.EndSession(s.id).touched)
}

// run owns the tree until Close.
func (l *Store) run() {
	defer func() {
		for s := range l.open {
			l.end(s)
		}
		// The lock goes last: whoever gets it next finds nobody writing.
		l.closeErr = l.lock.Close()
		close(l.done)
	}()
	for {
		select {
		case r := <-l.requests:
			l.serve(r)
		case <-l.stop:
			return
		}
	}
}

// serve answers one request and, when it is a write, those that wait behind it, up to
// the first that is not a write: reads must not see what is not yet durable.
func (l *Store) serve(r localRequest) {
	for {
		if r.do != nil {
			r.do()
			return
		}
		var all change
		var waiting []chan error
		next, more := localRequest{}, false
		for {
			if c, err := l.write(r); err != nil {
				r.reply <- err
			} else {
				all.merge(c)
				waiting = append(waiting, r.reply)
			}
			if r, more = l.poll(); !more {
				break
			}
			if r.do != nil {
				next = r
				break
			}
		}
		l.commit(all, waiting)
		if !more {
			return
		}
		r = next
	}
}

func (l *Store) poll() (localRequest, bool) {
	select {
	case r := <-l.requests:
		return r, true
	default:
		return localRequest{}, false
	}
}

func (l *Store) write(r localRequest) (change, error) {
	if err := r.session.Err(); err != nil {
		return change{}, err
	}
	return l.tree.apply(r.session.id, r.ops)
}

// commit publishes what the writes changed, then tells the writers, then the watchers.
func (l *Store) commit(c change, waiting []chan error) {
	err := l.publish(c)
	if err != nil {
		c.revert()
	}
	for _, reply := range waiting {
		reply <- err
	}
	if err == nil {
		l.watches.Touch(c.touched)
	}
}

func (l *Store) publish(c change) error {
	if !c.durable {
		return nil
	}
	if l.poison != nil {
		return fmt.Errorf("%w: an earlier write failed: %w; restart the broker", registry.ErrUnavailable, l.poison)
	}
	err := l.disk.Publish(encodeTree(l.tree))
	switch {
	case err == nil:
		return nil
	case errors.Is(err, vfs.ErrBeforeRename):
		return fmt.Errorf("%w: %w", registry.ErrUnavailable, err)
	default:
		l.poison = err
		l.log.Error("registry file not published, writes refused from now on", "dir", l.disk.Dir, "error", err)
		return fmt.Errorf("%w: %w", registry.ErrUnknownOutcome, err)
	}
}

// ask runs do on the goroutine and waits for it. An error means that do did not
// run, or that ctx ended first.
func (l *Store) ask(ctx context.Context, do func()) error {
	answered := make(chan struct{})
	if err := l.enqueue(ctx, localRequest{do: func() { do(); close(answered) }}); err != nil {
		return err
	}
	select {
	case <-answered:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", registry.ErrUnavailable, context.Cause(ctx))
	case <-l.done:
		return registry.ErrClosed
	}
}

func (l *Store) enqueue(ctx context.Context, r localRequest) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", registry.ErrUnavailable, context.Cause(ctx))
	}
	select {
	case l.requests <- r:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", registry.ErrUnavailable, context.Cause(ctx))
	case <-l.done:
		return registry.ErrClosed
	}
}
