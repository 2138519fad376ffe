package persistence

import "metaq/internal/vfs"

// countedFS opens files of a log within its budget.
type countedFS struct {
	vfs.FS
	log  *Log
	need need
}

// fsFor returns the file system whose opens do what n says.
func (l *Log) fsFor(n need) vfs.FS {
	if l.files == nil {
		return l.opts.FS
	}
	return &countedFS{FS: l.opts.FS, log: l, need: n}
}

// Create implements vfs.FS.
func (c *countedFS) Create(path string) (vfs.File, error) { return c.file(c.FS.Create, path) }

// Open implements vfs.FS.
func (c *countedFS) Open(path string) (vfs.File, error) { return c.file(c.FS.Open, path) }

// OpenReadWrite implements vfs.FS.
func (c *countedFS) OpenReadWrite(path string) (vfs.File, error) {
	return c.file(c.FS.OpenReadWrite, path)
}

// OpenDir implements vfs.FS.
func (c *countedFS) OpenDir(path string) (vfs.File, error) { return c.file(c.FS.OpenDir, path) }

func (c *countedFS) file(open func(path string) (vfs.File, error), path string) (vfs.File, error) {
	f, err := counted(c, open, path)
	if err != nil {
		return nil, err
	}
	file := countedFile{f, c.log}
	if t, ok := f.(truncater); ok {
		return &truncatedFile{file, t}, nil
	}
	return &file, nil
}

// OpenDirect is what vfs.OpenDirect looks for.
func (c *countedFS) OpenDirect(path string) (vfs.DirectFile, error) {
	f, err := counted(c, func(path string) (vfs.DirectFile, error) { return vfs.OpenDirect(c.FS, path) }, path)
	if err != nil {
		return nil, err
	}
	return &countedDirect{f, c.log}, nil
}

// counted opens a file that has a place. When the system has no descriptor all the same,
// because others took it, an idle log gives one up.
func counted[F any](c *countedFS, open func(path string) (F, error), path string) (F, error) {
	files := c.log.files
	if err := files.take(c.log, c.need); err != nil {
		var none F
		return none, err
	}
	for {
		f, err := open(path)
		if err == nil {
			return f, nil
		}
		if !vfs.IsTooManyOpen(err) || !files.evict(c.need != ifSpare) {
			files.put(c.log)
			return f, err
		}
	}
}

type countedFile struct {
	vfs.File
	log *Log
}

// Close implements vfs.File. It is called once.
func (f *countedFile) Close() error {
	defer f.log.files.put(f.log)
	return f.File.Close()
}

// truncatedFile is a countedFile that vfs.Cut can shorten.
type truncatedFile struct {
	countedFile
	truncater
}

type truncater interface{ Truncate(size int64) error }

type countedDirect struct {
	vfs.DirectFile
	log *Log
}

// Close implements vfs.DirectFile. It is called once.
func (f *countedDirect) Close() error {
	defer f.log.files.put(f.log)
	return f.DirectFile.Close()
}
