package broker

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"metaq/actors"
	"metaq/internal/vfs"
	"metaq/persistence"
	"metaq/persistence/store"
	"metaq/protocol"
)

// logs is the actors' LogStore over package persistence.
type logs struct {
	dirs *store.Dirs
	room *store.Room
	// files bounds how many files all logs have open. The groups' log does not take part:
	// commits must not wait for partitions.
	files *persistence.Files
	log   *slog.Logger
	now   func() time.Time
	// elapsed is the append clock.
	elapsed func() int64
}

// Open implements actors.LogStore.
func (s *logs) Open(topic string, id protocol.PartitionID, set actors.Settings) (actors.Log, error) {
	if err := s.dirs.Claim(topic, id); err != nil {
		return nil, err
	}
	l, rec, err := persistence.Open(persistence.Options{
		FS: s.dirs.FS, Dir: s.dirs.Path(topic, id),
		Files: s.files, SegmentSize: set.MaxSegmentSize, SegmentAge: set.MaxSegmentAge,
		Now: s.now, Elapsed: s.elapsed, Logger: s.log,
	})
	if err != nil {
		return nil, marked(s.room.Note(s.dirs.Of(topic), err))
	}
	if rec.TornFile != "" {
		s.log.Warn("torn tail was cut: writes that were never acknowledged as durable",
			"topic", topic, "partition", id, "file", rec.TornFile, "at", rec.TornAt, "bytes", rec.TornBytes)
	}
	return &partitionLog{Log: l, room: s.room, disk: s.dirs.Of(topic), reserve: s.dirs.Reserve, fs: s.dirs.FS}, nil
}

// SetAside implements actors.LogStore. The data is out of the way once it has
// another name; then it is removed, which a stop may interrupt and the next
// start completes.
func (s *logs) SetAside(topic string, id protocol.PartitionID) error {
	if !s.dirs.Owns(topic, id) {
		return nil // it never had one
	}
	path := s.dirs.Path(topic, id)
	if _, err := s.dirs.FS.Stat(path); vfs.IsNotExist(err) {
		return nil
	}
	aside, err := vfs.SetAside(s.dirs.FS, path, store.Deleted)
	if err != nil {
		return err
	}
	s.dirs.Disclaim(topic, id)
	if err := s.dirs.FS.RemoveAll(aside); err != nil {
		return fmt.Errorf("remove %s: %w", aside, err)
	}
	return nil
}

// partitionLog is a persistence.Log in the actors' words.
type partitionLog struct {
	*persistence.Log
	fs      vfs.FS
	room    *store.Room
	disk    string // the data directory
	reserve int64  // bytes that it leaves free; 0: it may use the disk to its end
}

// Append implements actors.Log. It refuses messages a little before the disk is
// full: committed offsets, topics and a restart need room, too.
func (l *partitionLog) Append(batches, around []byte) error {
	return l.room.Note(l.disk, l.append(batches, around))
}

func (l *partitionLog) append(batches, around []byte) error {
	if l.reserve > 0 {
		// A few microseconds, beside a sync. Where nobody knows, the write will tell.
		u, err := l.fs.DiskUsage(l.Dir())
		if err == nil && u.Total > 0 && u.Available < uint64(l.reserve)+uint64(len(batches)) {
			return fmt.Errorf("append to %s: %w: %d bytes are free and diskReserve=%d", l.Dir(), protocol.ErrDiskFull, u.Available, l.reserve)
		}
	}
	return l.AppendIn(batches, around)
}

// SetEpoch implements actors.Log. A granted epoch is durable before anybody gets
// it: cluster.Witness has it, in one file for all partitions. So the log need not
// sync its own, which at the start of 10,000 partitions takes seconds.
func (l *partitionLog) SetEpoch(epoch protocol.Epoch) error { return l.AdoptEpoch(epoch) }

// Read implements actors.Log.
func (l *partitionLog) Read(dst []byte, from, limit protocol.Offset, maxBytes int) ([]byte, error) {
	b, err := l.Log.Read(dst, from, limit, maxBytes)
	return b, marked(err)
}

// Expire implements actors.Log.
func (l *partitionLog) Expire(r actors.Retention) (func() error, error) {
	return l.Log.Expire(persistence.Retention(r))
}

// marked lets actors.Damaged see damage.
func marked(err error) error {
	var d *persistence.DamageError
	if errors.As(err, &d) {
		return damage{err}
	}
	return err
}

type damage struct{ error }

// Damaged implements what actors.Damaged looks for.
func (damage) Damaged() bool { return true }

// Unwrap gives the error that says where.
func (d damage) Unwrap() error { return d.error }
