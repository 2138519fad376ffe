package messagedir

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"metaq/client"
	"metaq/internal/vfs"
	"metaq/protocol"
)

// The limits of Options.Limit, in bytes.
const (
	DefaultLimit = 64 << 20
	MaxLimit     = 256 << 20
)

// Options change a Dir. The zero value works.
type Options struct {
	// Limit is how many bytes the kept records of one consumer may take. Default
	// DefaultLimit, at most MaxLimit. The file that they are in may be twice as long.
	// When it is reached a partition whose record is to be kept waits.
	Limit int64
	// Log is told of a torn end that was cut. Default: nobody.
	Log *slog.Logger
	// FS takes the place of the system's files in tests.
	FS vfs.FS
}

// Dir is a messagedir. Its methods may be called from any goroutine.
type Dir struct {
	path  string
	o     Options
	slack int64
}

var _ client.MessageDir = (*Dir)(nil)

// New returns the messagedir at path, with the default options. Nothing is made
// there before a consumer is opened.
func New(path string) *Dir { return NewWith(path, Options{}) }

// NewWith is New with options.
func NewWith(path string, o Options) *Dir {
	if o.Limit == 0 {
		o.Limit = DefaultLimit
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.FS == nil {
		o.FS = vfs.Default
	}
	return &Dir{path, o, defaultSlack}
}

const lockName = "consumer.lock"

// OpenConsumer locks and reads what a consumer keeps: the only one of its group
// here, or the one called instance. ErrInUse while another one has it; a
// *DamageError when it cannot be read.
func (d *Dir) OpenConsumer(group, instance string) (client.ConsumerStore, error) {
	s, err := d.open(group, instance)
	if err != nil {
		return nil, fmt.Errorf("open messagedir %s: %w", d.path, err)
	}
	return s, nil
}

func (d *Dir) open(group, instance string) (*Store, error) {
	if err := protocol.CheckName("group", group); err != nil {
		return nil, err
	}
	name := group
	if instance != "" {
		if err := protocol.CheckName("instance", instance); err != nil {
			return nil, err
		}
		name += "/" + instance
	}
	if d.o.Limit < 1 || d.o.Limit > MaxLimit {
		return nil, fmt.Errorf("limit %d is not within 1..%d", d.o.Limit, MaxLimit)
	}
	// One name for one directory: the system's locks do not tell two consumers of one
	// process apart, names do.
	root, err := filepath.Abs(d.path)
	if err != nil {
		return nil, err
	}
	s := &Store{o: d.o, slack: d.slack, dir: d.o.FS.PathJoin(root, group, instance), consumer: name}
	if err := vfs.MakeDir(s.o.FS, s.dir); err != nil {
		return nil, err
	}
	s.lock, err = s.o.FS.Lock(s.o.FS.PathJoin(s.dir, lockName))
	switch {
	case vfs.IsHeld(err):
		return nil, fmt.Errorf("what consumer %s keeps there is %w: stop that one, or give each its instance (client.WithInstance, --instance)", name, ErrInUse)
	case err != nil:
		return nil, err
	}
	if err := s.enter(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// enter tidies up and reads what is there.
func (s *Store) enter() error {
	names, err := s.o.FS.List(s.dir)
	if err != nil {
		return err
	}
	if _, err := vfs.RemoveTemps(s.o.FS, s.dir, names); err != nil {
		return err
	}
	// An earlier MakeDir may have failed there.
	if err := vfs.SyncDir(s.o.FS, s.o.FS.PathDir(s.dir)); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.readyLocked()
}
