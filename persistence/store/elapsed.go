package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"sync"
	"time"

	"metaq/internal/vfs"
)

// elapsedName is the file in the main data directory that keeps the append clock from
// run to run.
const elapsedName = "elapsed"

const (
	// elapsedEvery is how often the append clock is saved: a crash loses no more of it.
	elapsedEvery = 30 * time.Second
	// maxOutage is how much of the time between two runs the append clock counts. Who
	// was away longer finds records younger than they are, which deletes nothing early; and
	// a machine that starts with a clock years ahead deletes nothing either.
	maxOutage = 24 * time.Hour
)

// Elapsed is the append clock of a broker, see docs/adr/0019: what has passed while it
// ran, as the machine's monotonic clock tells, and between two runs what the clock
// tells, if that can be. It begins like the clock, in Unix milliseconds.
type Elapsed struct {
	dirs *Dirs
	wall func() time.Time
	log  *slog.Logger

	base  int64     // what it showed at begin
	begin time.Time // with the monotonic clock's reading

	once sync.Once
	stop chan struct{}
	done chan struct{}
}

// savedElapsed is the content of elapsedName.
type savedElapsed struct {
	Elapsed int64  `json:"elapsed_ms"` // what the append clock showed
	At      int64  `json:"at_ms"`      // what the clock showed then, Unix milliseconds
	Sum     string `json:"crc32c"`     // of both
}

func (s *savedElapsed) sum() string {
	return fmt.Sprintf("%08x", crc32.Checksum(fmt.Appendf(nil, "%d %d", s.Elapsed, s.At), castagnoli))
}

var errBadElapsed = errors.New("not a broker's append clock, or a damaged one")

func parseElapsed(b []byte) (savedElapsed, error) {
	var s savedElapsed
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		return s, fmt.Errorf("%w: %w", errBadElapsed, err)
	}
	if s.Elapsed <= 0 || s.Sum != s.sum() {
		return s, errBadElapsed
	}
	return s, nil
}

// resumed returns what the append clock shows when the clock shows now.
func (s savedElapsed) resumed(now int64) int64 {
	return s.Elapsed + min(max(now-s.At, 0), maxOutage.Milliseconds())
}

// StartElapsed continues the append clock of the run before. Without one, and with a
// damaged one, it starts from the clock. Close ends its goroutine.
func StartElapsed(dirs *Dirs, wall func() time.Time, log *slog.Logger) (*Elapsed, error) {
	e := &Elapsed{dirs: dirs, wall: wall, log: log, begin: wall(), stop: make(chan struct{}), done: make(chan struct{})}
	e.base = max(e.begin.UnixMilli(), 1)
	path := dirs.FS.PathJoin(dirs.Main, elapsedName)
	b, err := vfs.ReadFile(dirs.FS, path, 1<<16)
	switch {
	case vfs.IsNotExist(err):
	case err != nil:
		return nil, DirError(dirs.Main, err)
	default:
		s, err := parseElapsed(b)
		if err != nil {
			aside, err := vfs.SetAside(dirs.FS, path, "corrupt")
			if err != nil {
				return nil, DirError(dirs.Main, err)
			}
			dirs.SetAside = append(dirs.SetAside, replaced{path, aside})
			break
		}
		now := e.base
		e.base = s.resumed(now)
		if away := time.Duration(now-s.At) * time.Millisecond; away < -elapsedEvery || away > maxOutage {
			log.Warn("the clock was set, or the broker was stopped for long: ages of messages count on from the run before",
				"between", away, "counted", time.Duration(e.base-s.Elapsed)*time.Millisecond)
		}
	}
	if err := e.save(); err != nil && !vfs.IsDiskFull(err) {
		return nil, DirError(dirs.Main, err)
	}
	go e.run()
	return e, nil
}

// Now is what the append clock shows. It may be called from any goroutine.
func (e *Elapsed) Now() int64 { return e.base + max(e.wall().Sub(e.begin).Milliseconds(), 0) }

// run saves the append clock now and then.
func (e *Elapsed) run() {
	defer close(e.done)
	tick := time.NewTicker(elapsedEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := e.save(); err != nil && !vfs.IsDiskFull(err) {
				e.log.Warn("cannot save the append clock: after a crash messages look younger than they are", "error", err)
			}
		case <-e.stop:
			return
		}
	}
}

func (e *Elapsed) save() error {
	s := savedElapsed{Elapsed: e.Now(), At: e.wall().UnixMilli()}
	s.Sum = s.sum()
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return vfs.Publish(e.dirs.FS, e.dirs.Main, elapsedName, func(w io.Writer) error {
		_, err := w.Write(append(b, '\n'))
		return err
	})
}

// Close saves the append clock a last time. It may be called twice.
func (e *Elapsed) Close(context.Context) error {
	var err error
	e.once.Do(func() {
		close(e.stop)
		<-e.done
		if err = e.save(); vfs.IsDiskFull(err) {
			err = nil
		}
	})
	return err
}
