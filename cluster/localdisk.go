package cluster

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"metaq/internal/vfs"
)

// generations keeps two generations of one small file in a directory: the current
// one and the one before it. A file that cannot be read is set aside, never deleted.
//
// publish makes a generation visible in this order: temporary file, its sync, rename
// of the current file to ".prev", rename of the temporary file, sync of the
// directory. Stopping between any two steps leaves a file that was complete.
type generations struct {
	fs   vfs.FS
	dir  string
	name string
}

func (g generations) current() string  { return g.fs.PathJoin(g.dir, g.name) }
func (g generations) previous() string { return g.fs.PathJoin(g.dir, g.name+".prev") }

// errBeforeRename marks a publish that failed and changed nothing: the next may succeed.
var errBeforeRename = errors.New("nothing was changed")

// publish replaces the current generation. After an error without errBeforeRename
// nobody knows which generation a crash would leave: publish no more.
func (g generations) publish(data []byte) error {
	tmp := g.fs.PathJoin(g.dir, g.name+".tmp")
	if err := writeFile(g.fs, tmp, data); err != nil {
		return fmt.Errorf("write %s: %w (%w)", tmp, err, errBeforeRename)
	}
	if err := g.fs.Rename(g.current(), g.previous()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("keep the previous generation: %w", err)
	}
	if err := g.fs.Rename(tmp, g.current()); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	return syncDir(g.fs, g.dir)
}

func writeFile(fs vfs.FS, path string, data []byte) (err error) {
	f, err := fs.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Sync()
}

func syncDir(fs vfs.FS, dir string) (err error) {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return fmt.Errorf("open directory: %w", err)
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return nil
}

// makeDir makes a directory that is still there after a crash: every directory that
// has a new entry is synced.
func makeDir(fs vfs.FS, dir string) error {
	var changed []string
	for at := dir; ; {
		_, err := fs.Stat(at)
		if err == nil {
			break
		}
		up := fs.PathDir(at)
		if !errors.Is(err, os.ErrNotExist) || up == at {
			return err
		}
		at = up
		changed = append(changed, at)
	}
	if err := fs.MkdirAll(dir); err != nil {
		return err
	}
	for _, at := range slices.Backward(changed) {
		if err := syncDir(fs, at); err != nil {
			return err
		}
	}
	return nil
}

// Recovery says what opening found besides a good current file.
type Recovery struct {
	SetAside []string // names of damaged files, kept in the directory
	Previous bool     // the previous generation was read: the last change may be missing
}

// load calls read with the newest generation that read accepts. It returns false
// when there is none: nothing was ever published. Damaged files are set aside; when
// no generation is left, now or since an earlier load, the error is a *DamagedError.
// With startEmpty the leftovers of an earlier load are no error.
func (g generations) load(startEmpty bool, read func([]byte) error) (bool, Recovery, error) {
	var rec Recovery
	for _, path := range []string{g.current(), g.previous()} {
		data, err := readFile(g.fs, path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return false, rec, fmt.Errorf("read %s: %w", path, err)
		}
		if err := read(data); err == nil {
			// The current file is absent, and the previous one is the last that was
			// published, after a stop between the two renames: no loss, no remark.
			rec.Previous = path == g.previous() && len(rec.SetAside) > 0
			return true, rec, nil
		}
		aside, err := g.setAside(path)
		if err != nil {
			return false, rec, err
		}
		rec.SetAside = append(rec.SetAside, aside)
	}
	damaged, err := g.damaged()
	if err != nil {
		return false, rec, err
	}
	if len(rec.SetAside) > 0 || len(damaged) > 0 && !startEmpty {
		return false, rec, &DamagedError{Dir: g.dir, Files: damaged}
	}
	return false, rec, nil
}

func readFile(fs vfs.FS, path string) (data []byte, err error) {
	info, err := fs.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxLocalFile {
		return nil, nil // no generation is that large; nil is never accepted
	}
	f, err := fs.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(f)
}

// setAside renames a damaged file to the first free name <name>.damaged-<n>.
func (g generations) setAside(path string) (string, error) {
	taken, err := g.damaged()
	if err != nil {
		return "", err
	}
	name := g.name + damagedMark + "1"
	for n := 2; slices.Contains(taken, name); n++ {
		name = g.name + damagedMark + strconv.Itoa(n)
	}
	if err := g.fs.Rename(path, g.fs.PathJoin(g.dir, name)); err != nil {
		return "", fmt.Errorf("set %s aside: %w", path, err)
	}
	return name, syncDir(g.fs, g.dir)
}

const damagedMark = ".damaged-"

// damaged lists what was set aside, now or earlier.
func (g generations) damaged() ([]string, error) {
	names, err := g.fs.List(g.dir)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", g.dir, err)
	}
	names = slices.DeleteFunc(names, func(n string) bool { return !strings.HasPrefix(n, g.name+damagedMark) })
	slices.Sort(names)
	return names, nil
}
