package vfs

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// maxGeneration is the largest file that Load reads, in bytes: no registry is that large.
const maxGeneration = 1 << 30

// ErrDamaged says that no readable generation of a file is left; see DamagedError.
var ErrDamaged = errors.New("registry file is damaged")

// DamagedError lists the files that could not be read. They were set aside under these
// names and never deleted. errors.Is(err, ErrDamaged) holds.
type DamagedError struct {
	Dir   string
	Files []string // names in Dir
}

// Error names the directory, the files and the way out.
func (e *DamagedError) Error() string {
	return fmt.Sprintf("%v in %s: kept as %q; rebuild it from the partitions' directories, or restore it",
		ErrDamaged, e.Dir, e.Files)
}

// Is makes errors.Is(err, ErrDamaged) true.
func (e *DamagedError) Is(target error) bool { return target == ErrDamaged }

// Generations keeps two generations of one small file in a directory: the current
// one and the one before it. A file that cannot be read is set aside, never deleted.
//
// Publish makes a generation visible in this order: temporary file, its sync, rename
// of the current file to ".prev", rename of the temporary file, sync of the
// directory. Stopping between any two steps leaves a file that was complete.
type Generations struct {
	FS   FS
	Dir  string
	Name string
}

func (g Generations) current() string  { return g.FS.PathJoin(g.Dir, g.Name) }
func (g Generations) previous() string { return g.FS.PathJoin(g.Dir, g.Name+".prev") }

// ErrBeforeRename marks a publish that failed and changed nothing: the next may succeed.
var ErrBeforeRename = errors.New("nothing was changed")

// Publish replaces the current generation. After an error without ErrBeforeRename
// nobody knows which generation a crash would leave: publish no more.
func (g Generations) Publish(data []byte) error {
	tmp := g.FS.PathJoin(g.Dir, g.Name+".tmp")
	if err := writeTemp(g.FS, tmp, func(w io.Writer) error { _, err := w.Write(data); return err }); err != nil {
		return fmt.Errorf("write %s: %w (%w)", tmp, err, ErrBeforeRename)
	}
	if err := g.FS.Rename(g.current(), g.previous()); err != nil && !IsNotExist(err) {
		return fmt.Errorf("keep the previous generation: %w", err)
	}
	if err := g.FS.Rename(tmp, g.current()); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	return SyncDir(g.FS, g.Dir)
}

// Recovery says what opening found besides a good current file.
type Recovery struct {
	SetAside []string // names of damaged files, kept in the directory
	Previous bool     // the previous generation was read: the last change may be missing
}

// Load calls read with the newest generation that read accepts. It returns false
// when there is none: nothing was ever published. Damaged files are set aside; when
// no generation is left, now or since an earlier load, the error is a *DamagedError.
// With startEmpty the leftovers of an earlier load are no error.
func (g Generations) Load(startEmpty bool, read func([]byte) error) (bool, Recovery, error) {
	var rec Recovery
	for _, path := range []string{g.current(), g.previous()} {
		data, err := g.read(path)
		if IsNotExist(err) {
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
		return false, rec, &DamagedError{Dir: g.Dir, Files: damaged}
	}
	return false, rec, nil
}

// read returns nil for a file that is too large to be a generation, which nobody accepts.
func (g Generations) read(path string) ([]byte, error) {
	if info, err := g.FS.Stat(path); err != nil || info.Size() > maxGeneration {
		return nil, err
	}
	return ReadFile(g.FS, path, maxGeneration)
}

// setAside renames a damaged file to the first free name <name>.damaged-<n>.
func (g Generations) setAside(path string) (string, error) {
	taken, err := g.damaged()
	if err != nil {
		return "", err
	}
	name := g.Name + damagedMark + "1"
	for n := 2; slices.Contains(taken, name); n++ {
		name = g.Name + damagedMark + strconv.Itoa(n)
	}
	if err := g.FS.Rename(path, g.FS.PathJoin(g.Dir, name)); err != nil {
		return "", fmt.Errorf("set %s aside: %w", path, err)
	}
	return name, SyncDir(g.FS, g.Dir)
}

const damagedMark = ".damaged-"

// damaged lists what was set aside, now or earlier.
func (g Generations) damaged() ([]string, error) {
	names, err := g.FS.List(g.Dir)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", g.Dir, err)
	}
	names = slices.DeleteFunc(names, func(n string) bool { return !strings.HasPrefix(n, g.Name+damagedMark) })
	slices.Sort(names)
	return names, nil
}
