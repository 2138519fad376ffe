package faultfs

import (
	"io"
	"io/fs"
	"slices"
	"syscall"
	"time"

	"metaq/internal/vfs"
)

// file is an open file or directory.
type file struct {
	fs   *FS
	node *node
	path string
	pos  int64
}

var _ vfs.File = (*file)(nil)

func (f *file) Close() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.node == nil {
		return pathError("close", f.path, fs.ErrClosed)
	}
	f.fs.handles--
	f.node = nil
	return nil
}

// begin checks that the operation may be done. The caller holds the lock.
func (f *file) begin(op Op) (int, error) {
	if f.node == nil {
		return 0, pathError(op.Kind, f.path, fs.ErrClosed)
	}
	op.Path = f.path
	keep, err := f.fs.check(op)
	if err != nil {
		err = pathError(op.Kind, f.path, err)
	}
	return keep, err
}

func (f *file) Read(p []byte) (int, error) {
	n, err := f.ReadAt(p, f.pos)
	f.pos += int64(n)
	if n > 0 {
		return n, nil
	}
	return n, err
}

func (f *file) ReadAt(p []byte, at int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if _, err := f.begin(Op{Kind: OpRead, At: at, Len: len(p)}); err != nil {
		return 0, err
	}
	if at >= int64(len(f.node.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.node.data[at:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) Write(p []byte) (int, error) {
	n, err := f.WriteAt(p, f.pos)
	f.pos += int64(n)
	return n, err
}

func (f *file) WriteAt(p []byte, at int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	keep, err := f.begin(Op{Kind: OpWrite, At: at, Len: len(p)})
	if f.node == nil {
		return 0, err
	}
	// Only growth takes room.
	if limit := f.fs.limit; limit > 0 && err == nil {
		if room := int64(len(f.node.data)) + max(0, limit-f.fs.used) - at; room < int64(keep) {
			keep, err = int(max(room, 0)), pathError(OpWrite, f.path, syscall.ENOSPC)
		}
	}
	if keep > 0 {
		before := len(f.node.data)
		f.node.change(change{at: int(at), data: slices.Clone(p[:keep])})
		f.fs.used += int64(len(f.node.data) - before)
		f.node.modTime = time.Unix(0, 0)
	}
	return keep, err
}

// Truncate makes the file size bytes long.
func (f *file) Truncate(size int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if _, err := f.begin(Op{Kind: OpTruncate, At: size}); err != nil {
		return err
	}
	if before := len(f.node.data); size < int64(before) {
		f.node.change(change{at: int(size)})
		f.fs.used += size - int64(before)
	}
	return nil
}

// Sync makes the file's bytes, or the directory's names, durable. One that
// fails forgets which bytes were dirty, as Linux does: a part of them may be on
// disk, and no later sync will write the rest.
func (f *file) Sync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.node == nil {
		return pathError(OpSync, f.path, fs.ErrClosed)
	}
	kind := OpSync
	if f.node.isDir {
		kind = OpSyncDir
	}
	_, err := f.begin(Op{Kind: kind})
	switch {
	case err == nil:
		f.fs.writeBack(f.node)
	case !f.fs.dead: // else Crash decides what had been written
		f.fs.forget(f.node)
	}
	return err
}

func (f *file) SyncData() error { return f.Sync() }

func (f *file) Stat() (vfs.FileInfo, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if _, err := f.begin(Op{Kind: OpStat}); err != nil {
		return nil, err
	}
	return f.node.info(f.path), nil
}

type info struct {
	name string
	size int64
	dir  bool
	mod  time.Time
}

func (n *node) info(name string) vfs.FileInfo {
	return info{name: name, size: int64(len(n.data)), dir: n.isDir, mod: n.modTime}
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) ModTime() time.Time { return i.mod }
func (i info) IsDir() bool        { return i.dir }
func (i info) Sys() any           { return nil }

func (i info) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o755
	}
	return 0o644
}
