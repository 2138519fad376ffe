package vfs

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync/atomic"
)

// tempMark is in the name of every file that is not published yet, so that
// RemoveTemps finds what a crash left behind. No other name has it.
const tempMark = ".tmp-"

var tempCount atomic.Uint64 // makes the names of concurrent Publish calls differ

// Publish makes the file name in dir visible with the content that write
// gives, replacing the file that was there. After a crash at any moment the
// name holds all of the old or all of the new content; when Publish returns nil
// it is durably the new. It may be called from any goroutine.
func Publish(fsys FS, dir, name string, write func(io.Writer) error) error {
	temp := fsys.PathJoin(dir, name+tempMark+strconv.FormatUint(tempCount.Add(1), 36))
	if err := writeTemp(fsys, temp, write); err != nil {
		// What cannot be removed now goes at the next RemoveTemps.
		_ = fsys.Remove(temp)
		return fmt.Errorf("write %s: %w", temp, err)
	}
	if err := fsys.Rename(temp, fsys.PathJoin(dir, name)); err != nil {
		_ = fsys.Remove(temp)
		return fmt.Errorf("publish %s: %w", temp, err)
	}
	return SyncDir(fsys, dir)
}

func writeTemp(fsys FS, path string, write func(io.Writer) error) error {
	f, err := fsys.Create(path)
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// IsTemp says whether name is that of a file which was never published.
func IsTemp(name string) bool { return strings.Contains(name, tempMark) }

// RemoveTemps removes what an interrupted Publish left in dir. names is dir's
// list; the rest of it is returned.
func RemoveTemps(fsys FS, dir string, names []string) ([]string, error) {
	kept := names[:0]
	for _, name := range names {
		if !IsTemp(name) {
			kept = append(kept, name)
			continue
		}
		if err := fsys.Remove(fsys.PathJoin(dir, name)); err != nil && !IsNotExist(err) {
			return kept, fmt.Errorf("remove %s: %w", name, err)
		}
	}
	return kept, nil
}

// asideMark is in the name of what SetAside renamed.
const asideMark = ".set-aside-"

// SetAside durably renames a file or directory to a name beside it that says
// why, such as "epochs.set-aside-corrupt-1", and returns the new path. Nothing
// is ever overwritten.
func SetAside(fsys FS, path, reason string) (string, error) {
	for n := 1; ; n++ {
		aside := path + asideMark + reason + "-" + strconv.Itoa(n)
		if _, err := fsys.Stat(aside); err == nil {
			continue
		} else if !IsNotExist(err) {
			return "", fmt.Errorf("set %s aside: %w", path, err)
		}
		if err := fsys.Rename(path, aside); err != nil {
			return "", fmt.Errorf("set %s aside: %w", path, err)
		}
		return aside, SyncDir(fsys, fsys.PathDir(path))
	}
}

// IsAside says whether name is that of something that SetAside renamed.
func IsAside(name string) bool { return strings.Contains(name, asideMark) }
