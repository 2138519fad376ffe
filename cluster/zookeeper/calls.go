package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"

	"metaq/cluster/registry"
)

// retryPause is how long a call waits before it asks again for a server.
const retryPause = 100 * time.Millisecond

// zkCall runs one of the library's calls on a goroutine of its own, as it may hang for
// most of a session, and waits for it as long as ctx allows. It waits for a server first:
// what the library is given meanwhile it would keep, and nobody knew whether it was sent.
// Reads that were cut off, and writes that were certainly not sent, are tried again. The
// number of calls under way is bounded; the library ends each of them when the connection
// ends.
func zkCall[T any](ctx context.Context, s *zkSession, write bool, do func() (T, error)) (T, error) {
	var zero T
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.o.CallTimeout)
		defer cancel()
	}
	for {
		if err := s.awaitServer(ctx); err != nil {
			return zero, err
		}
		v, err := zkOnce(ctx, s, write, do)
		again := errors.Is(err, zk.ErrNoServer) || errors.Is(err, zk.ErrSessionMoved) ||
			!write && cutOff(err)
		if ended := s.Err(); again && ended != nil {
			return zero, ended // for certain not done: there is no session left to do it in
		}
		if !again {
			if err = s.translate(err, write); err != nil {
				v = zero
			}
			return v, err
		}
		if !registry.Wait(ctx, retryPause) {
			return zero, fmt.Errorf("%w: %w: %w", registry.ErrUnavailable, context.Cause(ctx), err)
		}
	}
}

// cutOff says that the connection ended before there was an answer: the library says so
// itself, or passes on what the network told it when it was about to send.
func cutOff(err error) bool {
	var network net.Error
	return errors.Is(err, zk.ErrConnectionClosed) || errors.As(err, &network)
}

// awaitServer returns once a server is connected.
func (s *zkSession) awaitServer(ctx context.Context) error {
	s.mu.Lock()
	linked := s.linked
	s.mu.Unlock()
	select {
	case <-linked:
		return nil
	case <-s.done:
		return s.Err()
	case <-ctx.Done():
		return fmt.Errorf("%w: no ZooKeeper server reached (%w): %w", registry.ErrUnavailable, context.Cause(ctx), s.hosts.failures())
	}
}

// zkOnce returns the library's error, or one of ours.
func zkOnce[T any](ctx context.Context, s *zkSession, write bool, do func() (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	var zero T
	if err := s.Err(); err != nil {
		return zero, err
	}
	if ctx.Err() != nil {
		return zero, fmt.Errorf("%w: %w", registry.ErrUnavailable, context.Cause(ctx))
	}
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return zero, fmt.Errorf("%w: too many calls under way: %w", registry.ErrUnavailable, context.Cause(ctx))
	case <-s.done:
		return zero, s.Err()
	}
	answer := make(chan result, 1)
	go func() {
		defer func() { <-s.slots }()
		v, err := do()
		answer <- result{v, err}
	}()
	late := registry.ErrUnavailable
	if write {
		late = registry.ErrUnknownOutcome
	}
	select {
	case r := <-answer:
		return r.v, r.err
	case <-ctx.Done():
		return zero, fmt.Errorf("%w: %w", late, context.Cause(ctx))
	case <-s.done:
		select {
		case r := <-answer:
			return r.v, r.err
		default:
			if !write {
				return zero, s.Err()
			}
			return zero, fmt.Errorf("%w: %w", late, s.Err())
		}
	}
}

// zkErrors are the library's errors that tell a write was refused, or a read answered.
var zkErrors = map[error]error{
	zk.ErrNoNode:                  registry.ErrNotFound,
	zk.ErrNodeExists:              registry.ErrExists,
	zk.ErrBadVersion:              registry.ErrVersion,
	zk.ErrNotEmpty:                registry.ErrNotEmpty,
	zk.ErrNoChildrenForEphemerals: registry.ErrEphemeralParent,
	zk.ErrNoAuth:                  registry.ErrDenied,
	zk.ErrAuthFailed:              registry.ErrDenied,
	zk.ErrInvalidACL:              registry.ErrDenied,
	zk.ErrInvalidPath:             registry.ErrInvalid,
	zk.ErrBadArguments:            registry.ErrInvalid,
	zk.ErrNoServer:                registry.ErrUnavailable,
	zk.ErrSessionMoved:            registry.ErrUnavailable,
	zk.ErrSessionExpired:          registry.ErrSessionLost,
}

// ours are the errors that are not translated again.
var ours = []error{registry.ErrUnavailable, registry.ErrUnknownOutcome, registry.ErrSessionLost, registry.ErrClosed}

// translate turns the library's errors into ours. What is not known to mean that a write
// was refused leaves its outcome unknown.
func (s *zkSession) translate(err error, write bool) error {
	var refused *registry.OpError
	if err == nil || errors.As(err, &refused) || slices.ContainsFunc(ours, func(e error) bool { return errors.Is(err, e) }) {
		return err
	}
	if known, found := zkErrors[err]; found {
		return known
	}
	ended := s.Err()
	switch {
	case write && ended != nil:
		return fmt.Errorf("%w: %w (%w)", registry.ErrUnknownOutcome, ended, err)
	case write:
		return fmt.Errorf("%w: %w", registry.ErrUnknownOutcome, err)
	case ended != nil:
		return ended
	default:
		return fmt.Errorf("%w: %w", registry.ErrUnavailable, err)
	}
}

// Get reads a node.
func (s *zkSession) Get(ctx context.Context, path string) (registry.Node, error) {
	if err := registry.CheckPath(path); err != nil {
		return registry.Node{}, fmt.Errorf("read %s: %w", path, err)
	}
	n, err := zkCall(ctx, s, false, func() (registry.Node, error) {
		data, stat, err := s.conn.Get(s.full(path))
		if err != nil {
			return registry.Node{}, err
		}
		return registry.Node{Data: data, Version: registry.Version(stat.Version), Owner: registry.SessionID(stat.EphemeralOwner)}, nil
	})
	if err != nil {
		return registry.Node{}, fmt.Errorf("read %s: %w", path, err)
	}
	return n, nil
}

// Children lists names.
func (s *zkSession) Children(ctx context.Context, path string) ([]string, error) {
	if err := registry.CheckPath(path); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	names, err := zkCall(ctx, s, false, func() ([]string, error) {
		names, _, err := s.conn.Children(s.full(path))
		return names, err
	})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	slices.Sort(names)
	return names, nil
}

// Create makes a node.
func (s *zkSession) Create(ctx context.Context, path string, data []byte, mode registry.Mode) error {
	return s.Multi(ctx, registry.Create(path, data, mode))
}

// Set replaces a node's data.
func (s *zkSession) Set(ctx context.Context, path string, data []byte, version registry.Version) (registry.Version, error) {
	if err := s.Multi(ctx, registry.Set(path, data, version)); err != nil {
		return 0, err
	}
	return version + 1, nil
}

// Delete removes a node.
func (s *zkSession) Delete(ctx context.Context, path string, version registry.Version) error {
	return s.Multi(ctx, registry.Delete(path, version))
}

// Multi does all operations or none.
func (s *zkSession) Multi(ctx context.Context, ops ...registry.Op) error {
	if err := registry.CheckOps(ops); err != nil {
		return err
	}
	if err := s.Err(); err != nil || len(ops) == 0 {
		return err
	}
	requests := make([]any, len(ops))
	for i, op := range ops {
		requests[i] = s.request(op)
	}
	_, err := zkCall(ctx, s, true, func() (struct{}, error) {
		answers, err := s.conn.Multi(requests...)
		if err == nil {
			return struct{}{}, nil
		}
		for i, a := range answers {
			if known, found := zkErrors[a.Error]; found {
				return struct{}{}, &registry.OpError{Index: i, Op: ops[i], Err: known}
			}
		}
		return struct{}{}, err
	})
	return err
}

// request turns an operation into the library's. The data is copied: the library may
// send it after the caller has gone with its context.
func (s *zkSession) request(op registry.Op) any {
	path := s.full(op.Path)
	switch op.Kind {
	case registry.OpCreate:
		flags := int32(zk.FlagPersistent)
		if op.Mode == registry.Ephemeral {
			flags = zk.FlagEphemeral
		}
		return &zk.CreateRequest{Path: path, Data: slices.Clone(op.Data), Acl: s.acl, Flags: flags}
	case registry.OpSet:
		return &zk.SetDataRequest{Path: path, Data: slices.Clone(op.Data), Version: int32(op.Version)}
	case registry.OpDelete:
		return &zk.DeleteRequest{Path: path, Version: int32(op.Version)}
	default:
		return &zk.CheckVersionRequest{Path: path, Version: int32(op.Version)}
	}
}

// full puts the chroot in front.
func (s *zkSession) full(path string) string {
	if path == "/" && s.chroot != "" {
		return s.chroot
	}
	return s.chroot + path
}

// short takes it away again.
func (s *zkSession) short(path string) string {
	if short := strings.TrimPrefix(path, s.chroot); short != "" {
		return short
	}
	return "/"
}
