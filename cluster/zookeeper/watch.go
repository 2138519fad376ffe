package zookeeper

import (
	"context"
	"fmt"

	"github.com/go-zookeeper/zk"

	"metaq/cluster/registry"
)

// Watch asks for a hint. The library's watch channels are not used: they cannot be given
// back, and each costs a goroutine. Its event callback hears of all of them.
func (s *zkSession) Watch(ctx context.Context, kind registry.WatchKind, path string, hint chan<- struct{}) error {
	if err := registry.CheckPath(path); err != nil {
		return fmt.Errorf("watch %s: %w", path, err)
	}
	t, w := registry.Change{Kind: kind, Path: path}, registry.Watcher{Session: s, Hint: hint}
	s.mu.Lock()
	if s.ended != nil {
		s.mu.Unlock()
		return fmt.Errorf("watch %s: %w", path, s.Err())
	}
	s.watches.Add(t, w)
	armed, fired := s.armed[t], s.fired
	s.mu.Unlock()
	if armed {
		return nil
	}
	_, err := zkCall(ctx, s, false, func() (struct{}, error) {
		var err error
		if kind == registry.WatchChildren {
			_, _, _, err = s.conn.ChildrenW(s.full(path))
		} else {
			_, _, _, err = s.conn.ExistsW(s.full(path))
		}
		return struct{}{}, err
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.watches.Drop(t, w)
		return fmt.Errorf("watch %s: %w", path, err)
	}
	// An event since then may have been for this watch, which is then used up: a later
	// Watch sets another. Too many are harmless, too few would miss a change.
	if s.fired == fired {
		s.armed[t] = true
	}
	return nil
}

// onNode passes an event on. The library's goroutine calls it.
func (s *zkSession) onNode(e zk.Event) {
	path := s.short(e.Path)
	var changes []registry.Change
	switch e.Type {
	case zk.EventNodeChildrenChanged:
		changes = []registry.Change{{Kind: registry.WatchChildren, Path: path}}
	case zk.EventNodeDeleted:
		changes = []registry.Change{{Kind: registry.WatchData, Path: path}, {Kind: registry.WatchChildren, Path: path}}
	default:
		changes = []registry.Change{{Kind: registry.WatchData, Path: path}}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fired++
	for _, t := range changes {
		delete(s.armed, t)
	}
	s.watches.Touch(changes)
}
