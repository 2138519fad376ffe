package persistence

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"metaq/internal/vfs"
	"metaq/protocol"
)

const (
	lockName   = "lock"
	holderName = "lock.holder" // beside the lock, since taking a lock empties its file
	maxHolder  = 4 << 10
)

// Store is a broker's data directory: one directory for each partition. It may
// be used from any goroutine.
type Store struct {
	fs   vfs.FS
	dir  string
	lock io.Closer

	mu sync.Mutex // guards the field below
	// names maps the lower-case name of each directory to its name. On some
	// systems two names that differ only so are one directory.
	names map[string]string
}

// PartitionDir names a partition that has a directory.
type PartitionDir struct {
	Topic string
	ID    protocol.PartitionID
}

// DirName is the name of a partition's directory.
func DirName(topic string, id protocol.PartitionID) string { return topic + "-" + id.String() }

// ParseDirName reads a name that DirName makes. A topic may contain "-".
func ParseDirName(name string) (PartitionDir, bool) {
	i := strings.LastIndexByte(name, '-')
	if i < 0 {
		return PartitionDir{}, false
	}
	if i = strings.LastIndexByte(name[:i], '-'); i < 0 {
		return PartitionDir{}, false
	}
	id, err := protocol.ParsePartitionID(name[i+1:])
	if err != nil || protocol.CheckName("topic", name[:i]) != nil {
		return PartitionDir{}, false
	}
	return PartitionDir{Topic: name[:i], ID: id}, true
}

// OpenStore takes the data directory dir, and makes it when it is not there.
// Only one process may have it at a time. holder is a line that tells another
// one who has it, such as "broker 0, process 4711". fsys nil means the operating
// system's.
func OpenStore(fsys vfs.FS, dir, holder string) (*Store, error) {
	if fsys == nil {
		fsys = vfs.Default
	}
	if err := vfs.MakeDir(fsys, dir); err != nil {
		return nil, diskError("open data directory", dir, err)
	}
	lock, err := fsys.Lock(fsys.PathJoin(dir, lockName))
	if err != nil {
		return nil, inUse(fsys, dir, err)
	}
	s := &Store{fs: fsys, dir: dir, lock: lock, names: map[string]string{}}
	if err := s.begin(holder); err != nil {
		_ = lock.Close() // the first error counts
		return nil, err
	}
	return s, nil
}

// inUse tells who holds the data directory, as far as the holder has said.
func inUse(fsys vfs.FS, dir string, err error) error {
	who := "another process"
	if b, rerr := vfs.ReadFile(fsys, fsys.PathJoin(dir, holderName), maxHolder); rerr == nil && len(b) > 0 {
		who = strings.ToValidUTF8(strings.TrimSpace(strings.SplitN(string(b), "\n", 2)[0]), "?")
	}
	return fmt.Errorf("data directory %s is in use by %s: stop it, or choose another directory with --data (%w)", dir, who, err)
}

func (s *Store) begin(holder string) error {
	err := vfs.Publish(s.fs, s.dir, holderName, func(w io.Writer) error {
		_, err := io.WriteString(w, holder+"\n")
		return err
	})
	if err != nil && !vfs.IsDiskFull(err) { // reads must go on without room
		return err
	}
	names, err := s.fs.List(s.dir)
	if err != nil {
		return fmt.Errorf("list data directory: %w", err)
	}
	names, err = vfs.RemoveTemps(s.fs, s.dir, names)
	for _, name := range names {
		if _, ok := ParseDirName(name); ok {
			s.names[strings.ToLower(name)] = name
		}
	}
	return err
}

// Dir is the data directory.
func (s *Store) Dir() string { return s.dir }

// Partitions lists the partitions that have a directory, ordered by topic and
// id. Other names, such as what was set aside, are not in it.
func (s *Store) Partitions() ([]PartitionDir, error) {
	names, err := s.fs.List(s.dir)
	if err != nil {
		return nil, fmt.Errorf("list data directory: %w", err)
	}
	var out []PartitionDir
	for _, name := range names {
		if p, ok := ParseDirName(name); ok {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b PartitionDir) int {
		if c := strings.Compare(a.Topic, b.Topic); c != 0 {
			return c
		}
		return a.ID.Compare(b.ID)
	})
	return out, nil
}

// Path is the directory of a partition, which need not exist.
func (s *Store) Path(topic string, id protocol.PartitionID) string {
	return s.fs.PathJoin(s.dir, DirName(topic, id))
}

// Claim returns the directory of a partition for Options.Dir. It refuses a name
// that differs from one that is there only in upper and lower case.
func (s *Store) Claim(topic string, id protocol.PartitionID) (string, error) {
	if err := protocol.CheckName("topic", topic); err != nil {
		return "", err
	}
	name := DirName(topic, id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if other, ok := s.names[strings.ToLower(name)]; ok && other != name {
		return "", fmt.Errorf("topic name %q differs from the directory %q only in upper and lower case: choose another name", topic, other)
	}
	s.names[strings.ToLower(name)] = name
	return s.fs.PathJoin(s.dir, name), nil
}

// SetAside durably renames a partition's directory to a name that says reason,
// and returns the new path. reason is a word or two joined by "-". No log may
// have the directory open.
func (s *Store) SetAside(topic string, id protocol.PartitionID, reason string) (string, error) {
	path, err := vfs.SetAside(s.fs, s.Path(topic, id), reason)
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.names, strings.ToLower(DirName(topic, id)))
	return path, nil
}

// Close gives the data directory up. All logs must be closed.
func (s *Store) Close() error {
	if err := s.lock.Close(); err != nil {
		return fmt.Errorf("unlock data directory %s: %w", s.dir, err)
	}
	return nil
}
