package store

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"metaq/configs"
	"metaq/internal/vfs"
	"metaq/persistence"
	"metaq/protocol"
)

// lockName is the lock in a data directory. Beside it lie the broker's stamp, the
// registry's files and one directory for each partition.
const lockName = "broker.lock"

// Dirs are the data directories of one broker, locked for this process.
type Dirs struct {
	FS    vfs.FS
	Home  int
	Main  string              // of the broker: dataPath in [system]
	Of    func(string) string // the data directory of a topic
	all   []string            // main first
	Token string
	// reserve is what messages leave free of the disk, in bytes.
	Reserve int64
	locks   []io.Closer
	Found   []partitionDir
	// SetAside are damaged files that were made again, for the log.
	SetAside []replaced
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

// Open makes, locks and checks every data directory of the configuration
// and lists the partitions that they hold. Close unlocks them.
func Open(fsys vfs.FS, cfg *configs.Server) (_ *Dirs, err error) {
	d := &Dirs{
		FS: fsys, Home: cfg.System.BrokerID, Main: cfg.System.DataPath, Reserve: cfg.System.DiskReserve,
		Of:      func(topic string) string { return cfg.Topic(topic).DataPath },
		folding: make(map[string]bool), names: names{owners: make(map[string]string)},
	}
	d.all = []string{d.Main}
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

func (d *Dirs) open(dir string) error {
	if err := vfs.MakeDir(d.FS, dir); err != nil {
		return DirError(dir, err)
	}
	lock, err := d.FS.Lock(d.FS.PathJoin(dir, lockName))
	switch {
	case err == nil:
	case !vfs.IsHeld(err):
		return DirError(dir, err)
	default:
		return fmt.Errorf("data directory %s is in use by another broker: stop that one, or choose another directory with --data or dataPath=", dir)
	}
	d.locks = append(d.locks, lock)
	if d.folding[dir], err = d.folds(dir); err != nil {
		return DirError(dir, err)
	}
	names, err := d.FS.List(dir)
	if err != nil {
		return DirError(dir, err)
	}
	if names, err = vfs.RemoveTemps(d.FS, dir, names); err != nil {
		return DirError(dir, err)
	}
	for _, name := range names {
		if isDeleted(name) {
			// A stop came between a topic's deletion and the removal of its data.
			if err := d.FS.RemoveAll(d.FS.PathJoin(dir, name)); err != nil {
				return DirError(dir, err)
			}
		}
		if p, ok := persistence.ParseDirName(name); ok {
			d.Found = append(d.Found, partitionDir{dir, p.Topic, p.ID})
			if d.Of(p.Topic) == dir { // else it is refused below
				if err := d.Claim(p.Topic, p.ID); err != nil {
					return err
				}
			}
		}
	}
	return d.identify(dir)
}

// identify checks that the directory's data is this broker's, and stamps it when
// nobody has done so.
func (d *Dirs) identify(dir string) error {
	for _, p := range d.Found {
		if p.dir == dir && p.id.Home != d.Home {
			return d.foreign(dir, p.id.Home)
		}
	}
	s, err := d.readStamp(dir)
	if err != nil {
		return DirError(dir, err)
	}
	if s != nil && s.BrokerID != d.Home {
		return d.foreign(dir, s.BrokerID)
	}
	if s != nil && dir == d.Main {
		d.Token = s.Token
	}
	if s != nil && s.Sum != "" {
		return nil
	}
	if d.Token == "" {
		d.Token = rand.Text()
	}
	if s == nil {
		return DirError(dir, d.writeStamp(dir, d.Token))
	}
	// An older release wrote it, without a checksum. It can wait for room.
	if err := d.writeStamp(dir, s.Token); !vfs.IsDiskFull(err) {
		return DirError(dir, err)
	}
	return nil
}

func (d *Dirs) foreign(dir string, owner int) error {
	return fmt.Errorf("data directory %s belongs to broker %d, this is broker %d: start it with --broker-id %d, or choose another directory with --data or dataPath=",
		dir, owner, d.Home, owner)
}

// inPlace refuses data of a topic that lies elsewhere than its dataPath says: the
// topic would start empty beside it.
func (d *Dirs) inPlace() error {
	var errs []error
	for _, p := range d.Found {
		if want := d.Of(p.topic); want != p.dir {
			errs = append(errs, fmt.Errorf("topic %s has data in %s, but its dataPath is %s: move %s there, or set dataPath=%s for the topic",
				p.topic, p.dir, want, p.name(), p.dir))
		}
	}
	return errors.Join(errs...)
}

// Path is the directory of a partition.
func (d *Dirs) Path(topic string, id protocol.PartitionID) string {
	return d.FS.PathJoin(d.Of(topic), persistence.DirName(topic, id))
}

// Topics says how many partitions of each topic there are directories for.
func (d *Dirs) Topics() map[string]int {
	out := make(map[string]int)
	for _, p := range d.Found {
		out[p.topic] = max(out[p.topic], p.id.N+1)
	}
	return out
}

// SetAsideUnknown renames the directories of partitions that are not in known
// (partitions by topic), so that nothing of the same name starts with them. It
// returns their new paths.
func (d *Dirs) SetAsideUnknown(known map[string]int) ([]string, error) {
	var paths []string
	for _, p := range d.Found {
		if p.id.N < known[p.topic] {
			continue
		}
		path, err := vfs.SetAside(d.FS, d.FS.PathJoin(p.dir, p.name()), "unknown")
		if err != nil {
			return paths, DirError(p.dir, err)
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// Gone returns the directories that are missing of partitions that this broker has led
// before: those with an epoch above 0 in highest, the witness. topics are numbers of
// partitions by name.
func (d *Dirs) Gone(topics map[string]int, highest func(topic string, home int) []protocol.Epoch) []string {
	there := make(map[string]bool, len(d.Found))
	for _, p := range d.Found {
		there[p.name()] = true
	}
	var paths []string
	for _, topic := range slices.Sorted(maps.Keys(topics)) {
		for n, epoch := range highest(topic, d.Home) {
			if epoch == 0 || n >= topics[topic] {
				continue
			}
			id := protocol.PartitionID{Home: d.Home, N: n}
			if !there[persistence.DirName(topic, id)] {
				paths = append(paths, d.Path(topic, id))
			}
		}
	}
	return paths
}

// Deleted is the reason in the name of what may be removed.
const Deleted = "deleted"

func isDeleted(name string) bool {
	return vfs.IsAside(name) && strings.Contains(name, "-"+Deleted+"-")
}

// Close unlocks the directories.
func (d *Dirs) Close() error {
	var errs []error
	for _, l := range slices.Backward(d.locks) {
		errs = append(errs, l.Close())
	}
	d.locks = nil
	return errors.Join(errs...)
}

// Describe is for logs.
func (d *Dirs) Describe() string {
	if len(d.all) == 1 {
		return d.Main
	}
	return d.Main + " and " + strconv.Itoa(len(d.all)-1) + " more"
}
