package actorstest

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"metaq/actors"
	"metaq/internal/aligned"
	"metaq/protocol"
)

// Log is a Log in memory. It checks what it is given as a real one does.
type Log struct {
	Mu       sync.Mutex // guards what follows
	Opened   bool
	poison   error
	Batches  []Batch
	Synced   int // batches
	LogStart protocol.Offset
	Gone     []protocol.GoneID
	Epoch    protocol.Epoch
	Syncs    int
	Appends  int
	InPlace  int // of them, those that lay where Lead said
	Rolls    int // batches of a segment; 0: there is one
	Parks    int
	Expires  int

	AppendErr, SyncErr, ReadErr, closeErr, EpochErr error // of the next call
	KeepUnsynced                                    bool  // on recovery, as a crash of only the process does
	PanicNext                                       bool  // in Append
	PanicRead                                       bool
	OnStart                                         func() // called once by Start, without the lock
	BeforeSync, BeforeAppend                        func() // called without the lock
}

// Batch is a batch in a Log.
type Batch struct {
	Header protocol.BatchHeader
	Bytes  []byte
}

// Open opens the log as its store does: what was not synced is lost unless KeepUnsynced.
func (l *Log) Open() error {
	l.Mu.Lock()
	defer l.Mu.Unlock()
	if l.Opened {
		return errors.New("log is open already")
	}
	l.Opened, l.poison = true, nil
	if !l.KeepUnsynced {
		l.Batches = l.Batches[:l.Synced]
	}
	l.Synced = len(l.Batches)
	return nil
}

// IsOpen reports whether the log is open.
func (l *Log) IsOpen() bool {
	l.Mu.Lock()
	defer l.Mu.Unlock()
	return l.Opened
}

// Update changes the log's faults.
func (l *Log) Update(f func(*Log)) {
	l.Mu.Lock()
	defer l.Mu.Unlock()
	f(l)
}

// StallSyncs lets each sync say that it begins, and wait until it may go on.
func (l *Log) StallSyncs() (syncing, goOn chan bool) {
	syncing, goOn = make(chan bool), make(chan bool)
	l.Update(func(l *Log) {
		l.BeforeSync = func() {
			syncing <- true
			<-goOn
		}
	})
	return syncing, goOn
}

// Take returns an error and clears it: it is returned once.
func Take(err *error) error {
	e := *err
	*err = nil
	return e
}

// Append implements actors.Log.
func (l *Log) Append(b, around []byte) error {
	l.Mu.Lock()
	before := l.BeforeAppend
	l.Mu.Unlock()
	if before != nil {
		before()
	}
	l.Mu.Lock()
	defer l.Mu.Unlock()
	l.Appends++
	if l.PanicNext {
		l.PanicNext = false
		panic("planted")
	}
	if l.poison != nil || !l.Opened {
		return errors.Join(errors.New("append to a log that is gone"), l.poison)
	}
	if err := Take(&l.AppendErr); err != nil {
		if !actors.KeptNothing(err) {
			l.poison = err
		}
		return err
	}
	switch {
	case around == nil:
	case &around[:cap(around)][cap(around)-1] != &b[:cap(b)][cap(b)-1]:
		return errors.New("batches do not lie where it was said")
	case aligned.Within(around, b, l.leadLocked()) != nil:
		l.InPlace++
	}
	for len(b) > 0 {
		h, err := protocol.CheckBatch(b, 0)
		if err != nil {
			return err
		}
		if h.Base != l.nextLocked() {
			return fmt.Errorf("batch at %d does not continue the log, which ends at %d", h.Base, l.nextLocked())
		}
		if most := l.SyncedLocked(); h.Base-protocol.Offset(h.Unsynced) > most {
			return fmt.Errorf("batch at %d claims that only %d are not synced, synced is %d", h.Base, h.Unsynced, most)
		}
		if h.Position != l.positionLocked() || h.MaxTime != protocol.HeldTime(h.MaxTime, l.timeLocked()) || h.Epoch != l.Epoch {
			return fmt.Errorf("batch at %d has position %d, time %d, epoch %d", h.Base, h.Position, h.MaxTime, h.Epoch)
		}
		l.Batches = append(l.Batches, Batch{h, slices.Clone(b[:h.Length])})
		b = b[h.Length:]
	}
	return nil
}

// Lead implements actors.Log.
func (l *Log) Lead() int {
	l.Mu.Lock()
	defer l.Mu.Unlock()
	return l.leadLocked()
}

// leadLocked is as if each rolls batches began a segment, where a log has so many.
func (l *Log) leadLocked() (n int) {
	from := 0
	if l.Rolls > 0 {
		from = len(l.Batches) / l.Rolls * l.Rolls
	}
	for _, b := range l.Batches[from:] {
		n += len(b.Bytes)
	}
	return n % aligned.Block
}

// Sync implements actors.Log.
func (l *Log) Sync() error {
	l.Mu.Lock()
	before := l.BeforeSync
	l.Mu.Unlock()
	if before != nil {
		before()
	}
	l.Mu.Lock()
	defer l.Mu.Unlock()
	l.Syncs++
	if l.poison == nil {
		l.poison = Take(&l.SyncErr)
	}
	if l.poison != nil {
		return l.poison
	}
	l.Synced = len(l.Batches)
	return nil
}

// SetEpoch implements actors.Log.
func (l *Log) SetEpoch(e protocol.Epoch) error {
	l.Mu.Lock()
	defer l.Mu.Unlock()
	if err := Take(&l.EpochErr); err != nil {
		return err
	}
	if e < l.Epoch {
		return fmt.Errorf("epoch %d is below %d", e, l.Epoch)
	}
	l.Epoch = e
	return nil
}

// Read implements actors.Log.
func (l *Log) Read(dst []byte, from, limit protocol.Offset, maxBytes int) ([]byte, error) {
	l.Mu.Lock()
	defer l.Mu.Unlock()
	if l.PanicRead {
		l.PanicRead = false
		panic("planted")
	}
	if err := Take(&l.ReadErr); err != nil {
		return dst, err
	}
	if from < l.LogStart {
		return dst, protocol.NewRangeError(from, l.LogStart, limit)
	}
	base := len(dst)
	for _, b := range l.Batches {
		if b.Header.Next() <= from || b.Header.Base >= limit {
			continue
		}
		if len(dst) > base && len(dst)-base+len(b.Bytes) > maxBytes {
			break
		}
		dst = append(dst, b.Bytes...)
	}
	return dst, nil
}

// OffsetAt implements actors.Log.
func (l *Log) OffsetAt(millis int64, limit protocol.Offset) (protocol.Offset, error) {
	l.Mu.Lock()
	defer l.Mu.Unlock()
	for _, b := range l.Batches {
		if b.Header.MaxTime >= millis && b.Header.Base < limit {
			return b.Header.Base, nil
		}
	}
	return limit, nil
}

// OffsetSince has the append clock show the date.
func (l *Log) OffsetSince(at int64, limit protocol.Offset) (protocol.Offset, error) {
	return l.OffsetAt(at, limit)
}

// GoneIDs implements actors.Log.
func (l *Log) GoneIDs() ([]protocol.GoneID, error) {
	l.Mu.Lock()
	defer l.Mu.Unlock()
	return l.Gone, nil
}

// AppendedAt implements actors.Log.
func (l *Log) AppendedAt(_ protocol.Offset, millis int64) int64 { return millis }

func (l *Log) nextLocked() protocol.Offset {
	if n := len(l.Batches); n > 0 {
		return l.Batches[n-1].Header.Next()
	}
	return l.LogStart
}

// SyncedLocked returns the end of what is durable; the caller holds Mu.
func (l *Log) SyncedLocked() protocol.Offset {
	if l.Synced > 0 {
		return l.Batches[l.Synced-1].Header.Next()
	}
	return l.LogStart
}

func (l *Log) positionLocked() protocol.Position {
	if n := len(l.Batches); n > 0 {
		return l.Batches[n-1].Header.NextPosition()
	}
	return 0
}

func (l *Log) timeLocked() int64 {
	if n := len(l.Batches); n > 0 {
		return l.Batches[n-1].Header.MaxTime
	}
	return 0
}

// Start implements actors.Log.
func (l *Log) Start() protocol.Offset {
	l.Mu.Lock()
	f := l.OnStart
	l.OnStart = nil
	l.Mu.Unlock()
	if f != nil {
		f()
	}
	l.Mu.Lock()
	defer l.Mu.Unlock()
	return l.LogStart
}

// Next implements actors.Log.
func (l *Log) Next() protocol.Offset {
	l.Mu.Lock()
	defer l.Mu.Unlock()
	return l.nextLocked()
}

// NextPosition implements actors.Log.
func (l *Log) NextPosition() protocol.Position {
	l.Mu.Lock()
	defer l.Mu.Unlock()
	return l.positionLocked()
}

// LastTime implements actors.Log.
func (l *Log) LastTime() int64 {
	l.Mu.Lock()
	defer l.Mu.Unlock()
	return l.timeLocked()
}

// Size implements actors.Log.
func (l *Log) Size() int64 {
	l.Mu.Lock()
	defer l.Mu.Unlock()
	n := int64(0)
	for _, b := range l.Batches {
		if b.Header.Next() > l.LogStart {
			n += int64(len(b.Bytes))
		}
	}
	return n
}

// Expire implements actors.Log.
func (l *Log) Expire(actors.Retention) (func() error, error) {
	l.Mu.Lock()
	defer l.Mu.Unlock()
	l.Expires++
	l.LogStart = l.nextLocked()
	return func() error { return nil }, nil
}

// Park implements actors.Log.
func (l *Log) Park() error {
	l.Mu.Lock()
	defer l.Mu.Unlock()
	l.Parks++
	return nil
}

// LastEpoch implements actors.Log.
func (l *Log) LastEpoch() protocol.Epoch {
	l.Mu.Lock()
	defer l.Mu.Unlock()
	return l.Epoch
}

// Epochs implements actors.Log.
func (l *Log) Epochs() []protocol.EpochStart {
	l.Mu.Lock()
	defer l.Mu.Unlock()
	var out []protocol.EpochStart
	for _, b := range l.Batches {
		if n := len(out); n == 0 || out[n-1].Epoch != b.Header.Epoch {
			out = append(out, protocol.EpochStart{Epoch: b.Header.Epoch, First: b.Header.Base})
		}
	}
	if n := len(out); n == 0 || out[n-1].Epoch != l.Epoch {
		out = append(out, protocol.EpochStart{Epoch: l.Epoch, First: l.nextLocked()})
	}
	return out
}

// Close implements actors.Log.
func (l *Log) Close() error {
	l.Mu.Lock()
	defer l.Mu.Unlock()
	if !l.Opened {
		return errors.New("log is closed twice")
	}
	l.Opened = false
	if l.poison == nil {
		l.Synced = len(l.Batches)
	}
	return Take(&l.closeErr)
}
