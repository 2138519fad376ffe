package registry

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Limits of one Multi, and of the data of one node, in every implementation.
// ZooKeeper's own limit is 1 MB for a request.
const (
	MaxMultiOps   = 1000
	MaxMultiBytes = 500_000 // paths and data together
)

// Version counts the changes of one node's data, from 0 at its creation. A node
// that was deleted and created again starts at 0 again.
type Version int32

// SessionID identifies a session; 0 is none.
type SessionID int64

// Node is what Get returns.
type Node struct {
	Data    []byte // the caller's own copy
	Version Version
	Owner   SessionID // the session that an ephemeral node lives for; 0 = persistent
}

// Mode says how long a node lives.
type Mode uint8

// The two modes of a node.
const (
	Persistent Mode = iota // until it is deleted
	Ephemeral              // at most until the session that created it ends
)

// WatchKind says which changes a watch is for.
type WatchKind uint8

// The two kinds of watches.
const (
	WatchData     WatchKind = iota // the node is created, set or deleted
	WatchChildren                  // a child is created or deleted, or the node itself deleted
)

// Registry is one session with a small, strongly ordered tree of nodes. It is
// everything that this package needs from ZooKeeper.
//
// Paths are absolute, such as /meta/brokers; "/" is always there. A node needs
// its parent, which must be persistent. Data is small (see MaxMultiBytes).
//
// Concurrency: all methods may be called from any goroutine. Operations of one
// goroutine take effect in the order of its calls. Writes are linearizable; a
// read may be a little behind the writes of other sessions, never behind its own; any
// write, a Multi with one Check too, brings a session up to date.
//
// Waiting: ctx bounds the waiting and nothing else. A read whose ctx ends returns
// ErrUnavailable joined with the cause. A write whose ctx ends returns
// ErrUnavailable when it is certain that it will not be done, otherwise
// ErrUnknownOutcome, joined with the cause. Without a deadline in ctx the
// implementation's own limit counts.
//
// Every write is conditional: there is no way to set or to delete whatever is
// there. Errors are those of errors.go, wrapped with the path.
type Registry interface {
	// Get reads a node. ErrNotFound.
	Get(ctx context.Context, path string) (Node, error)

	// Children lists the names (not paths) of a node's children, sorted. ErrNotFound.
	Children(ctx context.Context, path string) ([]string, error)

	// Create makes a node of version 0. The data is copied. ErrExists, ErrNotFound
	// when the parent is missing, ErrEphemeralParent.
	Create(ctx context.Context, path string, data []byte, mode Mode) error

	// Set replaces the data of a node that still has the given version and returns
	// the new one. The data is copied. ErrNotFound, ErrVersion.
	Set(ctx context.Context, path string, data []byte, version Version) (Version, error)

	// Delete removes a node that still has the given version. ErrNotFound,
	// ErrVersion, ErrNotEmpty.
	Delete(ctx context.Context, path string, version Version) error

	// Multi does all operations, in order and at once, or none. The error is an
	// *OpError for the first that cannot be done, or ErrTooLarge.
	Multi(ctx context.Context, ops ...Op) error

	// Watch asks for one hint: after the next change of the given kind, hint gets
	// one value without blocking (give it a capacity of 1: a full channel has its
	// hint already). A watch is used up by its hint. Asking again for the same
	// path, kind and channel before that changes nothing.
	//
	// A hint is only a hint: it may come without a change, and may, rarely, not
	// come at all. So watch first and read after, and read again now and then
	// without a hint. The end of the session hints every watch. ErrNotFound for
	// WatchChildren of a missing node; WatchData waits for its creation.
	Watch(ctx context.Context, kind WatchKind, path string, hint chan<- struct{}) error

	// Session identifies this session: the Owner of its ephemeral nodes.
	Session() SessionID

	// Status tells how the connection is. It never blocks.
	Status() Status

	// Done is closed when the session has ended, by Close or by its loss.
	Done() <-chan struct{}

	// Err is nil until Done is closed, then ErrClosed or ErrSessionLost.
	Err() error

	// Close ends the session: its ephemeral nodes go. Calls that wait return
	// ErrClosed. It may be called twice and returns when all goroutines of the
	// session have ended; the error is the same each time.
	Close() error
}

// Status is the state of a session's connection.
type Status struct {
	Connected bool   // false: disconnected, which is not the end of the session
	Server    string // who answers, or answered last: host:port, or the directory of a local registry
	// Lost is when the connection was lost; zero while connected.
	Lost time.Time
}

// Opener opens a new session: an incarnation. It returns when the session is
// there, or when ctx ends, with an error that says who was tried.
type Opener func(ctx context.Context) (Registry, error)

// OpKind is one of the four operations of a Multi.
type OpKind uint8

// The operations of a Multi.
const (
	OpCreate OpKind = iota + 1
	OpSet
	OpDelete
	OpCheck
)

// String returns the verb, for error texts.
func (k OpKind) String() string {
	switch k {
	case OpCreate:
		return "create"
	case OpSet:
		return "set"
	case OpDelete:
		return "delete"
	case OpCheck:
		return "check"
	default:
		return fmt.Sprintf("operation %d", k)
	}
}

// Op is one operation of a Multi; make it with Create, Set, Delete or Check.
type Op struct {
	Kind    OpKind
	Path    string
	Data    []byte  // OpCreate, OpSet; copied by Multi
	Version Version // OpSet, OpDelete, OpCheck
	Mode    Mode    // OpCreate
}

// Create makes a node; see Registry.Create.
func Create(path string, data []byte, mode Mode) Op {
	return Op{Kind: OpCreate, Path: path, Data: data, Mode: mode}
}

// Set replaces the data of a node; see Registry.Set.
func Set(path string, data []byte, version Version) Op {
	return Op{Kind: OpSet, Path: path, Data: data, Version: version}
}

// Delete removes a node; see Registry.Delete.
func Delete(path string, version Version) Op {
	return Op{Kind: OpDelete, Path: path, Version: version}
}

// Check does nothing, but lets the Multi fail with ErrNotFound or ErrVersion when
// the node does not have the given version.
func Check(path string, version Version) Op {
	return Op{Kind: OpCheck, Path: path, Version: version}
}

// Size is what an operation counts against MaxMultiBytes.
func (o Op) Size() int { return len(o.Path) + len(o.Data) }

// CheckOps finds what is wrong with the operations themselves.
func CheckOps(ops []Op) error {
	if len(ops) > MaxMultiOps {
		return fmt.Errorf("multi of %d operations: %w: at most %d", len(ops), ErrTooLarge, MaxMultiOps)
	}
	size := 0
	for i, op := range ops {
		if err := op.check(); err != nil {
			return &OpError{Index: i, Op: op, Err: err}
		}
		size += op.Size()
	}
	if size > MaxMultiBytes {
		return fmt.Errorf("multi of %d bytes: %w: at most %d", size, ErrTooLarge, MaxMultiBytes)
	}
	return nil
}

func (o Op) check() error {
	if err := CheckPath(o.Path); err != nil {
		return err
	}
	if o.Kind < OpCreate || o.Kind > OpCheck || o.Mode > Ephemeral {
		return fmt.Errorf("%w: %s, mode %d", ErrInvalid, o.Kind, o.Mode)
	}
	if o.Version < 0 {
		return fmt.Errorf("%w: version %d; name the version that was read", ErrInvalid, o.Version)
	}
	if o.Path == "/" && o.Kind != OpCheck {
		return fmt.Errorf("%w: the root cannot be changed", ErrInvalid)
	}
	return nil
}

// CheckPath accepts what every implementation can store: absolute, no empty,
// "." or ".." element, printable ASCII only.
func CheckPath(path string) error {
	if path == "/" {
		return nil
	}
	if !strings.HasPrefix(path, "/") {
		return fmt.Errorf("%w: path %q must start with /", ErrInvalid, path)
	}
	for name := range strings.SplitSeq(path[1:], "/") {
		if name == "" || name == "." || name == ".." {
			return fmt.Errorf("%w: path %q has an element %q", ErrInvalid, path, name)
		}
	}
	for i := range len(path) {
		if path[i] < ' ' || path[i] > '~' {
			return fmt.Errorf("%w: path %q must be printable ASCII", ErrInvalid, path)
		}
	}
	return nil
}

// ParentOf returns the path of the node that holds this one; "/" is its own.
func ParentOf(path string) string {
	i := strings.LastIndexByte(path, '/')
	if i <= 0 {
		return "/"
	}
	return path[:i]
}

// BaseOf returns the last element of a path.
func BaseOf(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// Offer gives a hint without ever blocking.
func Offer(hint chan<- struct{}) {
	select {
	case hint <- struct{}{}:
	default:
	}
}
