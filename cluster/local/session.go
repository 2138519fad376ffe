package local

import (
	"context"
	"errors"
	"fmt"

	"metaq/cluster/registry"
)

// localSession is one session of a Local. It ends with Close or with the Local.
type localSession struct {
	local *Store
	id    registry.SessionID
	done  chan struct{} // closed by the goroutine of local
}

var _ registry.Registry = (*localSession)(nil)

func (s *localSession) Get(ctx context.Context, path string) (registry.Node, error) {
	return localRead(ctx, s, path, s.local.treeGet)
}

func (s *localSession) Children(ctx context.Context, path string) ([]string, error) {
	return localRead(ctx, s, path, s.local.treeList)
}

func (l *Store) treeGet(path string) (registry.Node, error) { return l.tree.get(path) }
func (l *Store) treeList(path string) ([]string, error)     { return l.tree.list(path) }

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

func (s *localSession) Create(ctx context.Context, path string, data []byte, mode registry.Mode) error {
	return s.Multi(ctx, registry.Create(path, data, mode))
}

func (s *localSession) Set(ctx context.Context, path string, data []byte, version registry.Version) (registry.Version, error) {
	if err := s.Multi(ctx, registry.Set(path, data, version)); err != nil {
		return 0, err
	}
	return version + 1, nil
}

func (s *localSession) Delete(ctx context.Context, path string, version registry.Version) error {
	return s.Multi(ctx, registry.Delete(path, version))
}

func (s *localSession) Multi(ctx context.Context, ops ...registry.Op) error {
	if err := registry.CheckOps(ops); err != nil {
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
		return fmt.Errorf("%w: %w", registry.ErrUnknownOutcome, context.Cause(ctx))
	case <-s.local.done:
	}
	// The goroutine has ended: either the answer is there, or the request was never looked at.
	select {
	case err := <-r.reply:
		return err
	default:
		return registry.ErrClosed
	}
}

func (s *localSession) Watch(ctx context.Context, kind registry.WatchKind, path string, hint chan<- struct{}) error {
	if err := s.checkRead(path); err != nil {
		return fmt.Errorf("watch %s: %w", path, err)
	}
	var found error
	err := s.local.ask(ctx, func() {
		if kind == registry.WatchChildren {
			if _, found = s.local.tree.list(path); found != nil {
				return
			}
		}
		s.local.watches.Add(registry.Change{Kind: kind, Path: path}, registry.Watcher{Session: s, Hint: hint})
	})
	if err == nil {
		err = found
	}
	if err != nil {
		return fmt.Errorf("watch %s: %w", path, err)
	}
	return nil
}

func (s *localSession) Session() registry.SessionID { return s.id }

func (s *localSession) Status() registry.Status {
	return registry.Status{Connected: s.Err() == nil, Server: s.local.disk.Dir}
}

func (s *localSession) Done() <-chan struct{} { return s.done }

func (s *localSession) Err() error {
	select {
	case <-s.done:
		return registry.ErrClosed
	default:
		return nil
	}
}

func (s *localSession) Close() error {
	err := s.local.ask(context.Background(), func() { s.local.end(s) })
	if errors.Is(err, registry.ErrClosed) {
		return nil // the Local has gone, and its sessions with it
	}
	return err
}

func (s *localSession) checkRead(path string) error {
	if err := s.Err(); err != nil {
		return err
	}
	return registry.CheckPath(path)
}

func cloneOps(ops []registry.Op) []registry.Op {
	clone := make([]registry.Op, len(ops))
	for i, op := range ops {
		op.Data = append([]byte(nil), op.Data...)
		clone[i] = op
	}
	return clone
}
