package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"metaq/protocol"
)

const (
	// RoomEvery is how often a full disk is looked at.
	RoomEvery = time.Second
	// RoomCalm is how long nothing may have been refused before a disk counts as one with
	// room again: while small messages fit and large ones do not, it is full all the time.
	RoomCalm = 5 * time.Second
	// roomEnough is how many bytes beyond diskReserve have to be free.
	roomEnough = 1 << 20
)

// Room knows whether the data disks are full, from when the first write is refused until
// there is room again, and tells it once each: in the log, in a metric, to /readyz and
// to who pings. It may be used from any goroutine, and by nobody who is in a hurry while
// a disk is full.
type Room struct {
	dirs *Dirs
	log  *slog.Logger
	now  func() time.Time

	any atomic.Bool // a disk is full

	gauge *prometheus.GaugeVec
	stop  chan struct{}
	watch sync.WaitGroup // of look

	mu      sync.Mutex // guards the fields below
	full    map[string]*shortage
	looking bool // look runs, or is about to
	closed  bool
}

// shortage is one disk that is full.
type shortage struct {
	since, refused time.Time // the first and the last refusal
	why            string
}

// NewRoom returns a Room for the disks of dirs, with its metric registered in metrics
// unless that is nil. Close it.
func NewRoom(dirs *Dirs, now func() time.Time, log *slog.Logger, metrics prometheus.Registerer) *Room {
	r := &Room{
		dirs: dirs, log: log, now: now, full: make(map[string]*shortage), stop: make(chan struct{}),
		gauge: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "metaq", Name: "disk_full",
			Help: "1 while messages are refused because the disk of a data directory is full, else 0: make room.",
		}, []string{"dir"}),
	}
	for _, dir := range dirs.all {
		r.gauge.WithLabelValues(dir).Set(0)
	}
	if metrics != nil {
		metrics.MustRegister(r.gauge)
	}
	return r
}

// Note takes the result of a write to the data directory dir, and returns it.
func (r *Room) Note(dir string, err error) error {
	switch {
	case r == nil:
	case errors.Is(err, protocol.ErrDiskFull):
		r.refuse(dir, err)
	case err == nil && r.any.Load():
		r.wrote(dir)
	}
	return err
}

// refuse begins a shortage, or prolongs it.
func (r *Room) refuse(dir string, err error) {
	now := r.now()
	r.mu.Lock()
	s := r.full[dir]
	first := s == nil
	if first {
		s = &shortage{since: now}
		r.full[dir] = s
		r.any.Store(true)
		if !r.looking && !r.closed {
			r.looking = true
			r.watch.Go(r.look)
		}
	}
	s.refused, s.why = now, err.Error()
	r.mu.Unlock()
	if first {
		r.gauge.WithLabelValues(dir).Set(1)
		r.log.Error("disk is full: messages are refused until there is room, reads and commits are not", "dir", dir, "error", err)
	}
}

// wrote ends a shortage when nothing was refused for long enough: something fits.
func (r *Room) wrote(dir string) {
	r.mu.Lock()
	s := r.full[dir]
	over := s != nil && r.now().Sub(s.refused) >= RoomCalm
	if over {
		r.endLocked(dir)
	}
	r.mu.Unlock()
	if over {
		r.tell(dir, s)
	}
}

func (r *Room) endLocked(dir string) {
	delete(r.full, dir)
	r.any.Store(len(r.full) > 0)
}

func (r *Room) tell(dir string, s *shortage) {
	r.gauge.WithLabelValues(dir).Set(0)
	r.log.Info("disk has room again", "dir", dir, "after", r.now().Sub(s.since).Round(time.Millisecond))
}

// look looks at the full disks until there are none: nobody may put any more.
func (r *Room) look() {
	tick := time.NewTicker(RoomEvery)
	defer tick.Stop()
	for {
		select {
		case <-r.stop:
			return
		case <-tick.C:
			if r.check(); r.idle() {
				return
			}
		}
	}
}

// idle reports whether look may end. The next shortage begins it again.
func (r *Room) idle() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.looking = len(r.full) > 0
	return !r.looking
}

// check ends the shortages of disks that have room.
func (r *Room) check() {
	for _, dir := range r.dirs.all {
		u, err := r.dirs.FS.DiskUsage(dir)
		if err != nil || u.Total == 0 || u.Available < uint64(max(r.dirs.Reserve, 0))+roomEnough {
			continue
		}
		r.wrote(dir)
	}
}

// Trouble tells which disk is full, "" when none is.
func (r *Room) Trouble() string {
	if r == nil || !r.any.Load() {
		return ""
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, dir := range r.dirs.all {
		if s := r.full[dir]; s != nil {
			return fmt.Sprintf("the disk of %s is full since %s and messages are refused: make room, or shorten deletePolicy (%s)",
				dir, s.since.UTC().Format(time.RFC3339), s.why)
		}
	}
	return ""
}

// Close joins the goroutine. It may be called twice.
func (r *Room) Close(context.Context) error {
	r.mu.Lock()
	if !r.closed {
		r.closed = true
		close(r.stop)
	}
	r.mu.Unlock()
	r.watch.Wait()
	return nil
}
