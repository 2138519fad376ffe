package faultfs

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"metaq/internal/vfs"
)

// ErrCrashed is what every operation returns once the machine has stopped.
var ErrCrashed = errors.New("the machine has stopped")

// Kind is the kind of an operation.
type Kind string

// The operations that a hook sees. Closing a file and joining paths are none.
const (
	OpCreate   Kind = "create"
	OpOpen     Kind = "open"
	OpOpenDir  Kind = "opendir"
	OpRemove   Kind = "remove"
	OpRename   Kind = "rename"
	OpMkdir    Kind = "mkdir"
	OpLock     Kind = "lock"
	OpList     Kind = "list"
	OpStat     Kind = "stat"
	OpRead     Kind = "read"
	OpWrite    Kind = "write"
	OpTruncate Kind = "truncate"
	OpSync     Kind = "sync"    // of a file
	OpSyncDir  Kind = "syncdir" // of a directory
)

// Changes says whether the operation changes what a crash leaves.
func (k Kind) Changes() bool {
	switch k {
	case OpOpen, OpOpenDir, OpList, OpStat, OpRead, OpLock:
		return false
	default:
		return true
	}
}

// Op is one operation.
type Op struct {
	Kind Kind
	Path string
	At   int64 // of a write or read: byte place
	Len  int   // of a write or read: bytes
}

// Fault is how an operation fails.
type Fault struct {
	Err  error
	Keep int // of a write: this many bytes are written all the same
}

// FS implements vfs.FS.
type FS struct {
	mu      sync.Mutex // guards everything below and all nodes
	root    *node
	rng     *rand.Rand
	hook    func(Op) *Fault
	dead    bool
	limit   int64 // bytes that all files may have; 0 means no limit
	used    int64
	handles int // that are open
	locks   map[string]bool
}

var _ vfs.FS = (*FS)(nil)

// New returns an empty file system. seed decides everything that is random in
// it and in what Crash makes of it.
func New(seed uint64) *FS {
	return &FS{root: newDir(), rng: rand.New(rand.NewPCG(seed, 0)), locks: map[string]bool{}}
}

// SetHook makes hook see every operation before it is done; nil from it lets
// the operation pass. It is called under the file system's lock and must not use
// the file system, but it may call Stop.
func (y *FS) SetHook(hook func(Op) *Fault) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.hook = hook
}

// SetLimit makes the disk full at n bytes; 0 means never.
func (y *FS) SetLimit(n int64) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.limit = n
}

// Used is the number of bytes in all files.
func (y *FS) Used() int64 {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.used
}

// Handles is the number of open files and directories, locks included.
func (y *FS) Handles() int {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.handles
}

// Stopped returns a hook's answer that stops the machine in the middle of the
// operation: of a write, the first keep bytes reach the cache. Every later
// operation returns ErrCrashed.
func (y *FS) Stopped(keep int) *Fault {
	y.dead = true // the hook runs under the lock
	return &Fault{Err: ErrCrashed, Keep: keep}
}

// FailAt installs a hook that calls fired and fails operation number at, from 1, with
// failure: half of a write is done, and ErrCrashed stops the machine there.
func (y *FS) FailAt(at int, failure error, fired func()) {
	ops := 0
	y.SetHook(func(op Op) *Fault {
		if ops++; ops != at {
			return nil
		}
		fired()
		if errors.Is(failure, ErrCrashed) {
			return y.Stopped(op.Len / 2)
		}
		return &Fault{Err: failure, Keep: op.Len / 2}
	})
}

// Stop stops the machine between two operations.
func (y *FS) Stop() {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.dead = true
}

// node is a file or a directory.
type node struct {
	isDir bool

	// Of a directory: what is there, what a crash leaves, and what is between.
	names   map[string]*node
	durable map[string]*node
	moves   []move

	// Of a file: what can be read, what a crash leaves, and what is between.
	data    []byte
	disk    []byte
	changes []change
	modTime time.Time
}

// move is a change of a directory's names.
type move struct {
	from, to string // "": nothing is taken away or added
	node     *node  // what is at to from now on
}

// change is a write to a file, or its truncation when data is nil.
type change struct {
	at   int
	data []byte
}

func newDir() *node {
	return &node{isDir: true, names: map[string]*node{}, durable: map[string]*node{}}
}

func (n *node) move(m move) {
	m.apply(n.names)
	n.moves = append(n.moves, m)
}

func (m *move) apply(names map[string]*node) {
	if m.from != "" {
		delete(names, m.from)
	}
	if m.to != "" {
		names[m.to] = m.node
	}
}

func (n *node) change(c change) {
	n.data = c.apply(n.data)
	n.changes = append(n.changes, c)
}

func (c *change) apply(b []byte) []byte {
	end := c.at + len(c.data)
	if end > len(b) {
		b = slices.Grow(b, end-len(b))
		clear(b[len(b):end])
		b = b[:end]
	}
	if c.data == nil {
		return b[:c.at]
	}
	copy(b[c.at:], c.data)
	return b
}

// check runs the hook. It returns how much of a write to do and the error to
// return.
func (y *FS) check(op Op) (keep int, err error) {
	if y.dead {
		return 0, ErrCrashed
	}
	if y.hook != nil {
		if f := y.hook(op); f != nil {
			return min(f.Keep, op.Len), f.Err
		}
	}
	return op.Len, nil
}

func pathError(op Kind, name string, err error) error {
	return &fs.PathError{Op: string(op), Path: name, Err: err}
}

// find returns the node at name, its directory and the last element of name.
func (y *FS) find(op Kind, name string) (n, dir *node, last string, err error) {
	clean := strings.Trim(path.Clean("/"+name), "/")
	if clean == "" {
		return y.root, nil, "", nil
	}
	parts := strings.Split(clean, "/")
	dir = y.root
	for _, p := range parts[:len(parts)-1] {
		next := dir.names[p]
		if next == nil || !next.isDir {
			return nil, nil, "", pathError(op, name, fs.ErrNotExist)
		}
		dir = next
	}
	last = parts[len(parts)-1]
	return dir.names[last], dir, last, nil
}

func (y *FS) open(op Kind, name string, create, anew bool) (vfs.File, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if _, err := y.check(Op{Kind: op, Path: name}); err != nil {
		return nil, pathError(op, name, err)
	}
	n, dir, last, err := y.find(op, name)
	if err != nil {
		return nil, err
	}
	if n == nil && !create {
		return nil, pathError(op, name, fs.ErrNotExist)
	}
	if n == nil || anew {
		if dir == nil || n != nil && n.isDir {
			return nil, pathError(op, name, syscall.EISDIR)
		}
		if n != nil {
			y.used -= int64(len(n.data))
		}
		n = &node{}
		dir.move(move{to: last, node: n})
	}
	y.handles++
	return &file{fs: y, node: n, path: name}, nil
}

// Create implements vfs.FS.
func (y *FS) Create(name string) (vfs.File, error) {
	return y.open(OpCreate, name, true, true)
}

// Open implements vfs.FS.
func (y *FS) Open(name string) (vfs.File, error) {
	return y.open(OpOpen, name, false, false)
}

// OpenReadWrite implements vfs.FS. It counts as a creation.
func (y *FS) OpenReadWrite(name string) (vfs.File, error) {
	return y.open(OpCreate, name, true, false)
}

// OpenDir implements vfs.FS.
func (y *FS) OpenDir(name string) (vfs.File, error) { return y.open(OpOpenDir, name, false, false) }

// Remove implements vfs.FS.
func (y *FS) Remove(name string) error {
	y.mu.Lock()
	defer y.mu.Unlock()
	if _, err := y.check(Op{Kind: OpRemove, Path: name}); err != nil {
		return pathError(OpRemove, name, err)
	}
	n, dir, last, err := y.find(OpRemove, name)
	switch {
	case err != nil:
		return err
	case n == nil:
		return pathError(OpRemove, name, fs.ErrNotExist)
	case len(n.names) > 0 || dir == nil:
		return pathError(OpRemove, name, syscall.ENOTEMPTY)
	}
	y.used -= int64(len(n.data))
	dir.move(move{from: last})
	return nil
}

// RemoveAll implements vfs.FS.
func (y *FS) RemoveAll(name string) error {
	y.mu.Lock()
	defer y.mu.Unlock()
	if _, err := y.check(Op{Kind: OpRemove, Path: name}); err != nil {
		return pathError(OpRemove, name, err)
	}
	n, dir, last, err := y.find(OpRemove, name)
	if err == nil && n != nil && dir != nil {
		y.used -= n.size()
		dir.move(move{from: last})
	}
	return nil
}

func (n *node) size() int64 {
	total := int64(len(n.data))
	for _, c := range n.names {
		total += c.size()
	}
	return total
}

// Rename implements vfs.FS. It is atomic, and durable with a sync of the
// directory; both names must be in one.
func (y *FS) Rename(oldname, newname string) error {
	y.mu.Lock()
	defer y.mu.Unlock()
	if _, err := y.check(Op{Kind: OpRename, Path: oldname}); err != nil {
		return pathError(OpRename, oldname, err)
	}
	n, dir, from, err := y.find(OpRename, oldname)
	if err != nil {
		return err
	}
	old, dir2, to, err := y.find(OpRename, newname)
	switch {
	case err != nil:
		return err
	case n == nil:
		return pathError(OpRename, oldname, fs.ErrNotExist)
	case dir == nil || dir != dir2:
		return pathError(OpRename, newname, vfs.ErrUnsupported)
	}
	if old != nil {
		y.used -= old.size()
	}
	dir.move(move{from: from, to: to, node: n})
	return nil
}

// MkdirAll implements vfs.FS.
func (y *FS) MkdirAll(name string) error {
	y.mu.Lock()
	defer y.mu.Unlock()
	if _, err := y.check(Op{Kind: OpMkdir, Path: name}); err != nil {
		return pathError(OpMkdir, name, err)
	}
	dir := y.root
	for p := range strings.SplitSeq(strings.Trim(path.Clean("/"+name), "/"), "/") {
		if p == "" {
			continue
		}
		next := dir.names[p]
		if next == nil {
			next = newDir()
			dir.move(move{to: p, node: next})
		}
		if !next.isDir {
			return pathError(OpMkdir, name, syscall.ENOTDIR)
		}
		dir = next
	}
	return nil
}

// Lock implements vfs.FS.
func (y *FS) Lock(name string) (io.Closer, error) {
	f, err := y.open(OpLock, name, true, false)
	if err != nil {
		return nil, err
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.locks[name] {
		return nil, pathError(OpLock, name, vfs.ErrHeld)
	}
	y.locks[name] = true
	return &lock{File: f, fs: y, name: name}, nil
}

type lock struct {
	vfs.File
	fs   *FS
	name string
}

func (l *lock) Close() error {
	l.fs.mu.Lock()
	delete(l.fs.locks, l.name)
	l.fs.mu.Unlock()
	return l.File.Close()
}

// List implements vfs.FS. The names are ordered.
func (y *FS) List(name string) ([]string, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if _, err := y.check(Op{Kind: OpList, Path: name}); err != nil {
		return nil, pathError(OpList, name, err)
	}
	n, _, _, err := y.find(OpList, name)
	if err != nil {
		return nil, err
	}
	if n == nil || !n.isDir {
		return nil, pathError(OpList, name, fs.ErrNotExist)
	}
	return slices.Sorted(maps.Keys(n.names)), nil
}

// Stat implements vfs.FS.
func (y *FS) Stat(name string) (vfs.FileInfo, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if _, err := y.check(Op{Kind: OpStat, Path: name}); err != nil {
		return nil, pathError(OpStat, name, err)
	}
	n, _, last, err := y.find(OpStat, name)
	if err != nil {
		return nil, err
	}
	if n == nil {
		return nil, pathError(OpStat, name, fs.ErrNotExist)
	}
	return n.info(last), nil
}

// PathBase implements vfs.FS.
func (*FS) PathBase(p string) string { return path.Base(p) }

// PathJoin implements vfs.FS.
func (*FS) PathJoin(elem ...string) string { return path.Join(elem...) }

// PathDir implements vfs.FS.
func (*FS) PathDir(p string) string { return path.Dir(p) }

// DiskUsage implements vfs.FS.
func (y *FS) DiskUsage(string) (vfs.DiskUsage, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.limit == 0 {
		return vfs.DiskUsage{}, vfs.ErrUnsupported
	}
	return vfs.DiskUsage{Available: uint64(max(0, y.limit-y.used)), Total: uint64(y.limit)}, nil
}
