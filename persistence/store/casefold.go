package store

import (
	"fmt"
	"strings"
	"sync"

	"metaq/protocol"
)

// names knows whose a partition's directory is where the file system takes Orders
// and orders for one name, as those of Windows and macOS do: two topics would write
// into one log there. Its methods may be called from any goroutine.
type names struct {
	mu     sync.Mutex        // guards what follows
	owners map[string]string // topics by lower-case path of a directory that is in use
}

// folds says whether the file system takes two names in dir that differ only in
// case for one: the lock file is found under a name that nobody gave it.
func (d *Dirs) folds(dir string) (bool, error) {
	return Exists(d.FS, d.FS.PathJoin(dir, strings.ToUpper(lockName)))
}

// Claim gives a partition's directory to its topic. It refuses when that of another
// topic has the same name but for case.
func (d *Dirs) Claim(topic string, id protocol.PartitionID) error {
	if !d.folding[d.Of(topic)] {
		return nil
	}
	path := d.Path(topic, id)
	d.names.mu.Lock()
	defer d.names.mu.Unlock()
	key := strings.ToLower(path)
	if owner, taken := d.names.owners[key]; taken && owner != topic {
		return fmt.Errorf("topic %s cannot have the directory %s: topic %s has it, and this file system does not tell upper from lower case: delete one of the two and choose another name",
			topic, path, owner)
	}
	d.names.owners[key] = topic
	return nil
}

// Owns says whether a partition's directory, when it is there, is its topic's.
func (d *Dirs) Owns(topic string, id protocol.PartitionID) bool {
	if !d.folding[d.Of(topic)] {
		return true
	}
	d.names.mu.Lock()
	defer d.names.mu.Unlock()
	return d.names.owners[strings.ToLower(d.Path(topic, id))] == topic
}

// Disclaim forgets the owner of a directory that is gone.
func (d *Dirs) Disclaim(topic string, id protocol.PartitionID) {
	d.names.mu.Lock()
	defer d.names.mu.Unlock()
	delete(d.names.owners, strings.ToLower(d.Path(topic, id)))
}
