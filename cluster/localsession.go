package cluster

import (
	"context"
	"errors"
	"fmt"
)

// localSession is one session of a Local. It ends with Close or with the Local.
type localSession struct {
	local *Local
	id    SessionID
	done  chan struct{} // closed by the goroutine of local
}

var _ Registry = (*localSession)(nil)

func (s *localSession) Get(ctx context.Context, path string) (Node, error) {
	return localRead(ctx, s, path, s.local.treeGet)
}

func (s *localSession) Children(ctx context.Context, path string) ([]string, error) {
	return localRead(ctx, s, path, s.local.treeList)
}

func (l *Local) treeGet(path string) (Node, error)      { return l.tree.get(path) }
func (l *Local) treeList(path string) ([]string, error) { return l.tree.list(path) }

// localRead runs one read on the goroutine. The result travels in a variable of
// its own, which nobody looks at when ctx ended first.
func localRead[T any](ctx context.Context, s *localSession, path string, read func(string) (T, error)) (T, error) {
	var zero T
	if err := s.checkRead(path); err != nil {
		return zero, fmt.Errorf("read %s: %w", path, err)
	}
	var got T
	var readErr error
	if err := s.local.ask(ctx, func() { got, readErr = read(path) }); err != nil {
		return zero, fmt.Errorf("read %s: %w", path, err)
	}
	if readErr != nil {
		return zero, fmt.Errorf("read %s: %w", path, readErr)
	}
	return got, nil
}

func (s *localSession) Create(ctx context.Context, path string, data []byte, mode Mode) error {
	return s.Multi(ctx, Create(path, data, mode))
}

func (s *localSession) Set(ctx context.Context, path string, data []byte, version Version) (Version, error) {
	if err := s.Multi(ctx, Set(path, data, version)); err != nil {
		return 0, err
	}
	return version + 1, nil
}

func (s *localSession) Delete(ctx context.Context, path string, version Version) error {
	return s.Multi(ctx, Delete(path, version))
}

func (s *localSession) Multi(ctx context.Context, ops ...Op) error {
	if err := checkOps(ops); err != nil {
		return err
	}
	if err := s.Err(); err != nil {
		return err
	}
	// The goroutine may look at the operations after the caller has gone with ctx.
	ops = cloneOps(ops)
	r := localRequest{session: s, ops: ops, reply: make(chan error, 1)}
	if err := s.local.enqueue(ctx, r); err != nil {
		return err
	}
	select {
	case err := <-r.reply:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnknownOutcome, context.Cause(ctx))
	case <-s.local.done:
	}
	// The goroutine has ended: either the answer is there, or the request was never looked at.
	select {
	case err := <-r.reply:
		return err
	default:
		return ErrClosed
	}
}

func (s *localSession) Watch(ctx context.Context, kind WatchKind, path string, hint chan<- struct{}) error {
	if err := s.checkRead(path); err != nil {
		return fmt.Errorf("watch %s: %w", path, err)
	}
	var found error
	err := s.local.ask(ctx, func() {
		if kind == WatchChildren {
			if _, found = s.local.tree.list(path); found != nil {
				return
			}
		}
		s.local.watches.add(touched{kind, path}, watcher{s, hint})
	})
	if err == nil {
		err = found
	}
	if err != nil {
		return fmt.Errorf("watch %s: %w", path, err)
	}
	return nil
}

func (s *localSession) Session() SessionID { return s.id }

func (s *localSession) Status() Status {
	return Status{Connected: s.Err() == nil, Server: s.local.disk.Dir}
}

func (s *localSession) Done() <-chan struct{} { return s.done }

func (s *localSession) Err() error {
	select {
	case <-s.done:
		return ErrClosed
	default:
		return nil
	}
}

func (s *localSession) Close() error {
	err := s.local.ask(context.Background(), func() { s.local.end(s) })
	if errors.Is(err, ErrClosed) {
		return nil // the Local has gone, and its sessions with it
	}
	return err
}

func (s *localSession) checkRead(path string) error {
	if err := s.Err(); err != nil {
		return err
	}
	return checkPath(path)
}

func cloneOps(ops []Op) []Op {
	clone := make([]Op, len(ops))
	for i, op := range ops {
		op.Data = append([]byte(nil), op.Data...)
		clone[i] = op
	}
	return clone
}
