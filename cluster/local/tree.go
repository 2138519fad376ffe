package local

import (
	"bytes"
	"fmt"
	"slices"

	"metaq/cluster/registry"
)

// znode is one node of a tree. Its data is never changed in place.
type znode struct {
	data     []byte
	version  registry.Version
	owner    registry.SessionID
	children map[string]struct{} // names; nil when there are none
}

// tree is the pure state of a local registry: it sees no file and no clock.
// Not safe for concurrent use; the goroutine of Local owns it.
//
// Invariant: every path but "/" has its parent in nodes, and is named there.
type tree struct {
	nodes map[string]*znode
}

func newTree() *tree { return &tree{nodes: map[string]*znode{"/": {}}} }

// change is the outcome of operations that were done: how to take them back, whom
// to wake, and whether something changed that must reach the disk.
type change struct {
	undo    []func()
	touched []registry.Change
	durable bool
}

// revert takes all operations back, the last first.
func (c *change) revert() {
	for _, undo := range slices.Backward(c.undo) {
		undo()
	}
}

// merge adds what another change did after this one.
func (c *change) merge(d change) {
	c.undo = append(c.undo, d.undo...)
	c.touched = append(c.touched, d.touched...)
	c.durable = c.durable || d.durable
}

// apply does all operations or, with an *OpError, none.
func (t *tree) apply(session registry.SessionID, ops []registry.Op) (change, error) {
	var c change
	for i, op := range ops {
		if err := t.applyOne(&c, session, op); err != nil {
			c.revert()
			return change{}, &registry.OpError{Index: i, Op: op, Err: err}
		}
	}
	return c, nil
}

func (t *tree) applyOne(c *change, session registry.SessionID, op registry.Op) error {
	n, found := t.nodes[op.Path]
	if op.Kind == registry.OpCreate {
		if found {
			return registry.ErrExists
		}
		return t.create(c, session, op)
	}
	if !found {
		return registry.ErrNotFound
	}
	if n.version != op.Version {
		return fmt.Errorf("%w: %d, not %d", registry.ErrVersion, n.version, op.Version)
	}
	switch op.Kind {
	case registry.OpSet:
		old := *n
		n.data, n.version = bytes.Clone(op.Data), n.version+1
		c.undo = append(c.undo, func() { n.data, n.version = old.data, old.version })
		c.touched = append(c.touched, registry.Change{Kind: registry.WatchData, Path: op.Path})
		c.durable = c.durable || n.owner == 0
	case registry.OpDelete:
		if len(n.children) > 0 {
			return registry.ErrNotEmpty
		}
		t.unlink(op.Path)
		c.undo = append(c.undo, func() { t.link(op.Path, n) })
		c.touched = append(c.touched, registry.Change{Kind: registry.WatchData, Path: op.Path}, registry.Change{Kind: registry.WatchChildren, Path: op.Path},
			registry.Change{Kind: registry.WatchChildren, Path: registry.ParentOf(op.Path)})
		c.durable = c.durable || n.owner == 0
	default: // OpCheck: the version was the question.
	}
	return nil
}

func (t *tree) create(c *change, session registry.SessionID, op registry.Op) error {
	parent, found := t.nodes[registry.ParentOf(op.Path)]
	if !found {
		return fmt.Errorf("parent: %w", registry.ErrNotFound)
	}
	if parent.owner != 0 {
		return registry.ErrEphemeralParent
	}
	n := &znode{data: bytes.Clone(op.Data)}
	if op.Mode == registry.Ephemeral {
		n.owner = session
	}
	t.link(op.Path, n)
	c.undo = append(c.undo, func() { t.unlink(op.Path) })
	c.touched = append(c.touched, registry.Change{Kind: registry.WatchData, Path: op.Path}, registry.Change{Kind: registry.WatchChildren, Path: registry.ParentOf(op.Path)})
	c.durable = c.durable || n.owner == 0
	return nil
}

func (t *tree) link(path string, n *znode) {
	t.nodes[path] = n
	parent := t.nodes[registry.ParentOf(path)]
	if parent.children == nil {
		parent.children = make(map[string]struct{})
	}
	parent.children[registry.BaseOf(path)] = struct{}{}
}

func (t *tree) unlink(path string) {
	delete(t.nodes, path)
	delete(t.nodes[registry.ParentOf(path)].children, registry.BaseOf(path))
}

// EndSession deletes what lived for a session.
func (t *tree) EndSession(session registry.SessionID) change {
	var c change
	for path, n := range t.nodes {
		if n.owner != session || session == 0 {
			continue
		}
		t.unlink(path)
		c.touched = append(c.touched, registry.Change{Kind: registry.WatchData, Path: path}, registry.Change{Kind: registry.WatchChildren, Path: registry.ParentOf(path)})
	}
	return c
}

func (t *tree) get(path string) (registry.Node, error) {
	n, found := t.nodes[path]
	if !found {
		return registry.Node{}, registry.ErrNotFound
	}
	return registry.Node{Data: bytes.Clone(n.data), Version: n.version, Owner: n.owner}, nil
}

func (t *tree) list(path string) ([]string, error) {
	n, found := t.nodes[path]
	if !found {
		return nil, registry.ErrNotFound
	}
	names := make([]string, 0, len(n.children))
	for name := range n.children {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}
