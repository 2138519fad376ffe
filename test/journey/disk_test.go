package journey

import (
	"strings"
	"sync"

	"metaq/internal/vfs"
)

// disk is the operating system's. It notes what is done to the files of segments, and can
// hold their syncs back.
type disk struct {
	vfs.FS
	trace *trace
	gate  *gate
}

// gate holds syncs back while it is shut.
type gate struct {
	mu    sync.Mutex
	open  chan struct{} // nil: it is not shut
	there chan struct{} // gets one for each sync that is held back
}

// shut lets no sync pass until the function that it returns is called.
func (g *gate) shut() (open func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open, g.there = make(chan struct{}), make(chan struct{}, 1)
	return sync.OnceFunc(func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		close(g.open)
		g.open = nil
	})
}

func (g *gate) pass() {
	g.mu.Lock()
	wait, there := g.open, g.there
	g.mu.Unlock()
	if wait != nil {
		there <- struct{}{}
		<-wait
	}
}

func (d disk) wrap(path string, f vfs.File, err error) (vfs.File, error) {
	if err != nil || !strings.HasSuffix(path, ".log") {
		return f, err
	}
	return segment{f, d.trace, d.gate}, nil
}

func (d disk) Create(path string) (vfs.File, error) {
	f, err := d.FS.Create(path)
	return d.wrap(path, f, err)
}

func (d disk) Open(path string) (vfs.File, error) {
	f, err := d.FS.Open(path)
	return d.wrap(path, f, err)
}

func (d disk) OpenReadWrite(path string) (vfs.File, error) {
	f, err := d.FS.OpenReadWrite(path)
	return d.wrap(path, f, err)
}

// segment is a segment's file.
type segment struct {
	vfs.File
	trace *trace
	gate  *gate
}

func (s segment) Write(b []byte) (int, error) {
	s.trace.note("append")
	return s.File.Write(b)
}

func (s segment) WriteAt(b []byte, at int64) (int, error) {
	s.trace.note("append")
	return s.File.WriteAt(b, at)
}

func (s segment) ReadAt(b []byte, at int64) (int, error) {
	s.trace.note("read")
	return s.File.ReadAt(b, at)
}

func (s segment) Sync() error {
	s.trace.note("sync")
	s.gate.pass()
	return s.File.Sync()
}

func (s segment) SyncData() error {
	s.trace.note("sync")
	s.gate.pass()
	return s.File.SyncData()
}
