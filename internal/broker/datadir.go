package broker

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"metaq/cluster"
	"metaq/configs"
	"metaq/internal/vfs"
	"metaq/persistence"
	"metaq/protocol"
)

// lockName is the lock in a data directory. Beside it lie the broker's stamp, the
// registry's files and one directory for each partition.
const lockName = "broker.lock"

// dataDirs are the data directories of one broker, locked for this process.
type dataDirs struct {
	fs    vfs.FS
	home  int
	main  string              // of the broker: dataPath in [system]
	of    func(string) string // the data directory of a topic
	all   []string            // main first
	token string
	// reserve is what messages leave free of the disk, in bytes.
	reserve int64
	locks   []io.Closer
	found   []partitionDir
	// setAside are damaged files that were made again, for the log.
	setAside []replaced
	folding  map[string]bool // data directories that do not tell upper from lower case
	names    names
}

// partitionDir is the directory of one partition.
type partitionDir struct {
	dir   string // the data directory that it lies in
	topic string
	id    protocol.PartitionID
}

func (p partitionDir) name() string { return persistence.DirName(p.topic, p.id) }

// openDataDirs makes, locks and checks every data directory of the configuration
// and lists the partitions that they hold. Close unlocks them.
func openDataDirs(fsys vfs.FS, cfg *configs.Server) (_ *dataDirs, err error) {
	d := &dataDirs{
		fs: fsys, home: cfg.System.BrokerID, main: cfg.System.DataPath, reserve: cfg.System.DiskReserve,
		of:      func(topic string) string { return cfg.Topic(topic).DataPath },
		folding: make(map[string]bool), names: names{owners: make(map[string]string)},
	}
	d.all = []string{d.main}
	for _, t := range cfg.Topics {
		if !slices.Contains(d.all, t.DataPath) {
			d.all = append(d.all, t.DataPath)
		}
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
		}
	}()
	for _, dir := range d.all {
		if err := d.open(dir); err != nil {
			return nil, err
		}
	}
	return d, d.inPlace()
}

func (d *dataDirs) open(dir string) error {
	if err := vfs.MakeDir(d.fs, dir); err != nil {
		return dirError(dir, err)
	}
	lock, err := d.fs.Lock(d.fs.PathJoin(dir, lockName))
	switch {
	case err == nil:
	case !vfs.IsHeld(err):
		return dirError(dir, err)
	default:
		return fmt.Errorf("data directory %s is in use by another broker: stop that one, or choose another directory with --data or dataPath=", dir)
	}
	d.locks = append(d.locks, lock)
	if d.folding[dir], err = d.folds(dir); err != nil {
		return dirError(dir, err)
	}
	names, err := d.fs.List(dir)
	if err != nil {
		return dirError(dir, err)
	}
	if names, err = vfs.RemoveTemps(d.fs, dir, names); err != nil {
		return dirError(dir, err)
	}
	for _, name := range names {
		if isDeleted(name) {
			// A stop came between a topic's deletion and the removal of its data.
			if err := d.fs.RemoveAll(d.fs.PathJoin(dir, name)); err != nil {
				return dirError(dir, err)
			}
		}
		if p, ok := persistence.ParseDirName(name); ok {
			d.found = append(d.found, partitionDir{dir, p.Topic, p.ID})
			if d.of(p.Topic) == dir { // else it is refused below
				if err := d.claim(p.Topic, p.ID); err != nil {
					return err
				}
			}
		}
	}
	return d.identify(dir)
}

// identify checks that the directory's data is this broker's, and stamps it when
// nobody has done so.
func (d *dataDirs) identify(dir string) error {
	for _, p := range d.found {
		if p.dir == dir && p.id.Home != d.home {
			return d.foreign(dir, p.id.Home)
		}
	}
	s, err := d.readStamp(dir)
	if err != nil {
		return dirError(dir, err)
	}
	if s != nil && s.BrokerID != d.home {
		return d.foreign(dir, s.BrokerID)
	}
	if s != nil && dir == d.main {
		d.token = s.Token
	}
	if s != nil && s.Sum != "" {
		return nil
	}
	if d.token == "" {
		d.token = rand.Text()
	}
	if s == nil {
		return dirError(dir, d.writeStamp(dir, d.token))
	}
	// An older release wrote it, without a checksum. It can wait for room.
	if err := d.writeStamp(dir, s.Token); !vfs.IsDiskFull(err) {
		return dirError(dir, err)
	}
	return nil
}

func (d *dataDirs) foreign(dir string, owner int) error {
	return fmt.Errorf("data directory %s belongs to broker %d, this is broker %d: start it with --broker-id %d, or choose another directory with --data or dataPath=",
		dir, owner, d.home, owner)
}

// inPlace refuses data of a topic that lies elsewhere than its dataPath says: the
// topic would start empty beside it.
func (d *dataDirs) inPlace() error {
	var errs []error
	for _, p := range d.found {
		if want := d.of(p.topic); want != p.dir {
			errs = append(errs, fmt.Errorf("topic %s has data in %s, but its dataPath is %s: move %s there, or set dataPath=%s for the topic",
				p.topic, p.dir, want, p.name(), p.dir))
		}
	}
	return errors.Join(errs...)
}

// path is the directory of a partition.
func (d *dataDirs) path(topic string, id protocol.PartitionID) string {
	return d.fs.PathJoin(d.of(topic), persistence.DirName(topic, id))
}

// topics says how many partitions of each topic there are directories for.
func (d *dataDirs) topics() map[string]int {
	out := make(map[string]int)
	for _, p := range d.found {
		out[p.topic] = max(out[p.topic], p.id.N+1)
	}
	return out
}

// setAsideUnknown renames the directories of partitions that are not in known
// (partitions by topic), so that nothing of the same name starts with them. It
// returns their new paths.
func (d *dataDirs) setAsideUnknown(known map[string]int) ([]string, error) {
	var paths []string
	for _, p := range d.found {
		if p.id.N < known[p.topic] {
			continue
		}
		path, err := vfs.SetAside(d.fs, d.fs.PathJoin(p.dir, p.name()), "unknown")
		if err != nil {
			return paths, dirError(p.dir, err)
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// gone returns the directories of partitions that this broker has led before, as
// the witness says, and that are not there any more.
func (d *dataDirs) gone(topics []cluster.Topic, w *cluster.Witness) []string {
	there := make(map[string]bool, len(d.found))
	for _, p := range d.found {
		there[p.name()] = true
	}
	var paths []string
	for _, t := range topics {
		for n, epoch := range w.Highest(t.Name, d.home) {
			if epoch == 0 || n >= t.Partitions {
				continue
			}
			id := protocol.PartitionID{Home: d.home, N: n}
			if !there[persistence.DirName(t.Name, id)] {
				paths = append(paths, d.path(t.Name, id))
			}
		}
	}
	return paths
}

// deleted is the reason in the name of what may be removed.
const deleted = "deleted"

func isDeleted(name string) bool {
	return vfs.IsAside(name) && strings.Contains(name, "-"+deleted+"-")
}

// Close unlocks the directories.
func (d *dataDirs) Close() error {
	var errs []error
	for _, l := range slices.Backward(d.locks) {
		errs = append(errs, l.Close())
	}
	d.locks = nil
	return errors.Join(errs...)
}

// describe is for logs.
func (d *dataDirs) describe() string {
	if len(d.all) == 1 {
		return d.main
	}
	return d.main + " and " + strconv.Itoa(len(d.all)-1) + " more"
}
