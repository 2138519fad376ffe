package messagedir

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"metaq/client"
	"metaq/internal/vfs"
)

const (
	keptName = "kept.log"

	// maxFile bounds what is read at once: a file of MaxLimit with as many dead bytes
	// and a torn end.
	maxFile = 4 * MaxLimit

	// defaultSlack keeps a short file from being rewritten for each record that
	// leaves it.
	defaultSlack = 1 << 20
)

// Store is what one consumer keeps: a client.ConsumerStore. Its methods may be
// called from any goroutine.
type Store struct {
	o        Options
	dir      string
	consumer string // <group> or <group>/<instance>
	slack    int64  // how many bytes of a file may be dead however few are live
	lock     io.Closer

	// mu guards what follows and is held over the work on the files: the calls of one
	// consumer come one after the other, each with its sync.
	mu     sync.Mutex
	led    *ledger  // nil after a failure: what the file holds is to be read again
	file   vfs.File // nil when there is none
	closed bool
}

var _ client.ConsumerStore = (*Store)(nil)

// path is that of the file of kept records.
func (s *Store) path() string { return s.o.FS.PathJoin(s.dir, keptName) }

// Keep keeps r; when it returns nil r is on disk. A record that is kept already
// stays kept once. ErrFull when there is no room.
func (s *Store) Keep(r client.Record) error {
	record, err := encodeRecord(&r)
	if err != nil {
		return fmt.Errorf("keep record: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.readyLocked(); err != nil {
		return err
	}
	if s.led.number(record) != 0 {
		return nil
	}
	e := entry{kind: kindKept, number: s.led.next, record: record}
	if s.led.bytes+e.size() > s.o.Limit {
		return fmt.Errorf("%w: %s holds %d records in %d bytes, another %d would be more than the limit of %d: "+
			"make the handler process them, or raise the limit", ErrFull, s.path(), len(s.led.live), s.led.bytes, e.size(), s.o.Limit)
	}
	if s.file == nil {
		if err := s.renewLocked(nil, newLedger(0)); err != nil {
			return err
		}
	}
	return s.appendLocked(&e)
}

// Kept lists the numbers of the records that are kept, the oldest first.
func (s *Store) Kept() ([]int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.readyLocked(); err != nil {
		return nil, err
	}
	return s.led.numbers(), nil
}

// Record returns a kept record. The number is one of Kept's and was not dropped.
func (s *Store) Record(number int64) (client.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.readyLocked(); err != nil {
		return client.Record{}, err
	}
	p, kept := s.led.live[number]
	if !kept {
		return client.Record{}, fmt.Errorf("%s keeps no record %d", s.path(), number)
	}
	b := make([]byte, p.size)
	if _, err := s.file.ReadAt(b, p.at); err != nil && !errors.Is(err, io.EOF) {
		return client.Record{}, fmt.Errorf("read %s: %w", s.path(), err)
	}
	e, ok := parseEntry(b, p.at)
	if !ok {
		return client.Record{}, &DamageError{Path: s.path(), Pos: p.at, Why: "the entry has changed since it was read first"}
	}
	r, err := decodeRecord(e.record)
	if err != nil {
		return client.Record{}, &DamageError{Path: s.path(), Pos: p.at, Why: err.Error()}
	}
	return r, nil
}

// Drop lets go of a record; when it returns nil that is on disk. One that is not
// kept is none of its business.
func (s *Store) Drop(number int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.readyLocked(); err != nil {
		return err
	}
	if _, kept := s.led.live[number]; !kept {
		return nil
	}
	if err := s.appendLocked(&entry{kind: kindDone, number: number}); err != nil {
		return err
	}
	if s.led.wasteful(s.slack) {
		_ = s.forgetLocked() // all of it is synced; the next call rewrites it
	}
	return nil
}

// Close unlocks what the consumer keeps, for the next one. It may be called again.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	return errors.Join(s.forgetLocked(), s.lock.Close())
}

// appendLocked writes e at the end and syncs it.
func (s *Store) appendLocked(e *entry) error {
	e.at = s.led.end
	_, err := s.file.WriteAt(appendEntry(nil, e), e.at)
	if err == nil {
		err = s.file.SyncData()
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", s.path(), errors.Join(err, s.forgetLocked()))
	}
	return s.led.add(e)
}

// forgetLocked closes the file and makes the next call read it. After a failed sync
// nobody knows what of the file is on disk.
func (s *Store) forgetLocked() error {
	f := s.file
	s.file, s.led = nil, nil
	if f == nil {
		return nil
	}
	return f.Close()
}

// readyLocked reads the file unless what it holds is known.
func (s *Store) readyLocked() error {
	if s.closed {
		return fmt.Errorf("what consumer %s keeps: %w", s.consumer, client.ErrClosed)
	}
	if s.led != nil {
		return nil
	}
	b, err := vfs.ReadFile(s.o.FS, s.path(), maxFile)
	if vfs.IsNotExist(err) {
		s.led = newLedger(0)
		return nil
	}
	if err != nil {
		return err
	}
	led, torn, err := read(b, s.consumer)
	if err != nil {
		var damage *DamageError
		if errors.As(err, &damage) {
			damage.Path = s.path()
		}
		return err
	}
	if torn > 0 {
		s.o.Log.Warn("end of kept records was torn and is cut", "path", s.path(), "position", led.end, "bytes", torn)
	}
	return s.renewLocked(b, led)
}

// renewLocked publishes a file with what is live in file, which led describes, and
// opens it. Each reading ends here: an entry that can be read may still be one whose
// sync has failed, and which no later sync would write. Only new bytes are sure.
func (s *Store) renewLocked(file []byte, led *ledger) error {
	b, fresh := led.compact(file, s.consumer)
	if err := vfs.Publish(s.o.FS, s.dir, keptName, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	}); err != nil {
		return errors.Join(err, s.forgetLocked())
	}
	f, err := s.o.FS.OpenReadWrite(s.path())
	if err != nil {
		return fmt.Errorf("open %s: %w", s.path(), errors.Join(err, s.forgetLocked()))
	}
	s.file, s.led = f, fresh
	return nil
}
