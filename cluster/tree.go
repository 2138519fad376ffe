package cluster

import (
	"bytes"
	"fmt"
	"slices"
)

// znode is one node of a tree. Its data is never changed in place.
type znode struct {
	data     []byte
	version  Version
	owner    SessionID
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

// touched is what a change tells the watchers.
type touched struct {
	kind WatchKind
	path string
}

// change is the outcome of operations that were done: how to take them back, whom
// to wake, and whether something changed that must reach the disk.
type change struct {
	undo    []func()
	touched []touched
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
func (t *tree) apply(session SessionID, ops []Op) (change, error) {
	var c change
	for i, op := range ops {
		if err := t.applyOne(&c, session, op); err != nil {
			c.revert()
			return change{}, &OpError{Index: i, Op: op, Err: err}
		}
	}
	return c, nil
}

func (t *tree) applyOne(c *change, session SessionID, op Op) error {
	n, found := t.nodes[op.Path]
	if op.Kind == OpCreate {
		if found {
			return ErrExists
		}
		return t.create(c, session, op)
	}
	if !found {
		return ErrNotFound
	}
	if n.version != op.Version {
		return fmt.Errorf("%w: %d, not %d", ErrVersion, n.version, op.Version)
	}
	switch op.Kind {
	case OpSet:
		old := *n
		n.data, n.version = bytes.Clone(op.Data), n.version+1
		c.undo = append(c.undo, func() { n.data, n.version = old.data, old.version })
		c.touched = append(c.touched, touched{WatchData, op.Path})
		c.durable = c.durable || n.owner == 0
	case OpDelete:
		if len(n.children) > 0 {
			return ErrNotEmpty
		}
		t.unlink(op.Path)
		c.undo = append(c.undo, func() { t.link(op.Path, n) })
		c.touched = append(c.touched, touched{WatchData, op.Path}, touched{WatchChildren, op.Path},
			touched{WatchChildren, parentOf(op.Path)})
		c.durable = c.durable || n.owner == 0
	default: // OpCheck: the version was the question.
	}
	return nil
}

func (t *tree) create(c *change, session SessionID, op Op) error {
	parent, found := t.nodes[parentOf(op.Path)]
	if !found {
		return fmt.Errorf("parent: %w", ErrNotFound)
	}
	if parent.owner != 0 {
		return ErrEphemeralParent
	}
	n := &znode{data: bytes.Clone(op.Data)}
	if op.Mode == Ephemeral {
		n.owner = session
	}
	t.link(op.Path, n)
	c.undo = append(c.undo, func() { t.unlink(op.Path) })
	c.touched = append(c.touched, touched{WatchData, op.Path}, touched{WatchChildren, parentOf(op.Path)})
	c.durable = c.durable || n.owner == 0
	return nil
}

func (t *tree) link(path string, n *znode) {
	t.nodes[path] = n
	parent := t.nodes[parentOf(path)]
	if parent.children == nil {
		parent.children = make(map[string]struct{})
	}
	parent.children[baseOf(path)] = struct{}{}
}

func (t *tree) unlink(path string) {
	delete(t.nodes, path)
	delete(t.nodes[parentOf(path)].children, baseOf(path))
}

// endSession deletes what lived for a session.
func (t *tree) endSession(session SessionID) change {
	var c change
	for path, n := range t.nodes {
		if n.owner != session || session == 0 {
			continue
		}
		t.unlink(path)
		c.touched = append(c.touched, touched{WatchData, path}, touched{WatchChildren, parentOf(path)})
	}
	return c
}

func (t *tree) get(path string) (Node, error) {
	n, found := t.nodes[path]
	if !found {
		return Node{}, ErrNotFound
	}
	return Node{Data: bytes.Clone(n.data), Version: n.version, Owner: n.owner}, nil
}

func (t *tree) list(path string) ([]string, error) {
	n, found := t.nodes[path]
	if !found {
		return nil, ErrNotFound
	}
	names := make([]string, 0, len(n.children))
	for name := range n.children {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}
