package persistence

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"time"

	"metaq/internal/vfs/faultfs"
	"metaq/protocol"
)

// A world is one simulated machine: a log on a file system that crashes and
// fails, and a model of what the log must hold. Everything in it follows from
// its seed.
type world struct {
	seed    uint64
	rng     *rand.Rand
	fs      *faultfs.FS
	clock   *clock
	elapsed int64 // what the append clock shows
	log     *Log
	dispose []func() error

	files    *Files     // shared with others, or nil
	crowding *rand.Rand // when they take them
	starving int        // opens that fail for lack of a descriptor

	// The model. sent are all records in order of their offsets from 0 on, also
	// those that retention dropped; acked of them were acknowledged.
	sent       []sent
	acked      int
	boundaries []int // offsets at which a batch begins
	start      protocol.Offset
	expired    protocol.Offset // greatest start ever: a crash may bring records below it back, but not their epochs
	epoch      protocol.Epoch  // acknowledged
	epochTried protocol.Epoch
	cutTo      int // a truncation whose outcome is not known, or -1

	// The fault of this life.
	ops     int // operations so far that change something
	crashAt int
	failAt  int
	failure error
	limited bool

	trace strings.Builder
	stats stats
}

// sent is one record as the model knows it.
type sent struct {
	value    string
	time     int64
	appended int64 // of the append clock
	position protocol.Position
	epoch    protocol.Epoch
}

// stats tell that a run did what it is for.
type stats struct{ crashes, torn, rolls, faults, full, truncations, expired, set, evicted, starved int }

func (s *stats) add(o stats) {
	s.crashes += o.crashes
	s.torn += o.torn
	s.rolls += o.rolls
	s.faults += o.faults
	s.full += o.full
	s.truncations += o.truncations
	s.expired += o.expired
	s.set += o.set
	s.evicted += o.evicted
	s.starved += o.starved
}

// verdict is what a failed oracle panics with.
type verdict string

func (w *world) failf(format string, args ...any) {
	panic(verdict(fmt.Sprintf(format, args...) + "\n" + w.trace.String()))
}

func (w *world) tracef(format string, args ...any) {
	fmt.Fprintf(&w.trace, format+"\n", args...)
}

const worldDir = "/data/t-0-0"

func newWorld(seed uint64) *world {
	w := &world{seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), fs: faultfs.New(seed), clock: newClock(), elapsed: epochTime, cutTo: -1}
	w.crowding = rand.New(rand.NewPCG(seed, 2))
	w.newFiles()
	return w
}

// newFiles gives every second world a budget of files that is too small for its log.
func (w *world) newFiles() {
	if w.seed%4 < 2 {
		w.files = NewFiles(2 + int(w.seed%3))
		w.files.wait = 0
	}
}

// simulate runs the world of seed and returns what went wrong.
func simulate(seed uint64) (st stats, err error) {
	w := newWorld(seed)
	defer func() { st = w.stats }()
	defer w.rescue(&err)
	for range 2 + w.rng.IntN(3) {
		w.live()
		w.crashWith([]int{0, 50, 100}[w.rng.IntN(3)])
	}
	w.crashAt, w.failAt = 0, 0
	w.reopen()
	w.mustClose()
	return w.stats, nil
}

// rescue turns a verdict into an error.
func (w *world) rescue(err *error) {
	switch v := recover().(type) {
	case nil:
	case verdict:
		*err = fmt.Errorf("seed %d: %s", w.seed, string(v))
	default:
		panic(v)
	}
}

func (w *world) options() Options {
	return Options{
		FS: w.fs, Dir: worldDir, Files: w.files, Now: w.clock.now, Elapsed: func() int64 { return w.elapsed },
		SegmentSize: int64(1500 + 500*(w.seed%7)), IndexInterval: int64(200 + 100*(w.seed%5)),
		Preallocate: []int64{-1, 4096, 0}[w.seed%3], SegmentAge: []time.Duration{0, time.Minute}[w.seed%2],
		DirectLeast: []int{-1, 1, 300}[w.seed/3%3], DirectUnread: []int64{1, 2000}[w.seed/2%2],
		Events: Events{Rolled: func(protocol.Offset) { w.stats.rolls++ }},
	}
}

// hook stops the machine or fails an operation when its time has come.
func (w *world) hook(op faultfs.Op) *faultfs.Fault {
	switch op.Kind {
	case faultfs.OpOpen, faultfs.OpOpenDir, faultfs.OpCreate:
		if w.starving > 0 {
			w.starving--
			w.tracef("  no descriptor for %s %s", op.Kind, op.Path)
			return &faultfs.Fault{Err: syscall.EMFILE}
		}
	default:
	}
	if !op.Kind.Changes() {
		return nil
	}
	w.ops++
	switch w.ops {
	case w.crashAt:
		keep := w.rng.IntN(op.Len + 1)
		w.tracef("  crash at %s %s at %d, %d of %d bytes", op.Kind, op.Path, op.At, keep, op.Len)
		return w.fs.Stopped(keep)
	case w.failAt:
		w.stats.faults++
		w.tracef("  %v at %s %s at %d", w.failure, op.Kind, op.Path, op.At)
		return &faultfs.Fault{Err: w.failure, Keep: w.rng.IntN(op.Len + 1)}
	}
	return nil
}

// live runs operations until the machine stops.
func (w *world) live() {
	w.ops, w.crashAt, w.failAt = 0, 1+w.rng.IntN(150), 0
	if w.rng.IntN(3) == 0 {
		w.failAt = 1 + w.rng.IntN(100)
		w.failure = []error{syscall.EIO, syscall.ENOSPC}[w.rng.IntN(2)]
	}
	w.fs.SetHook(w.hook)
	if !w.reopen() {
		return
	}
	for !w.crashed(w.step()) {
		if !w.mend() {
			return
		}
	}
}

// mend opens a log again that has failed. Until then it must acknowledge
// nothing. It returns false when the machine stopped.
func (w *world) mend() bool {
	if w.log.failed == nil {
		return true
	}
	w.tracef("failed: %v", w.log.failed)
	if errors.Is(w.log.failed, syscall.EMFILE) && w.cutTo < 0 {
		w.failf("the log failed for lack of a descriptor: %v", w.log.failed)
	}
	w.starving = 0
	for range 2 {
		if err := w.log.Sync(); err == nil {
			w.failf("a log that has failed acknowledges")
		}
	}
	w.mustClose()
	return w.reopen()
}

func (w *world) crashed(err error) bool { return errors.Is(err, faultfs.ErrCrashed) }

// crashWith replaces the file system by what a crash leaves of it.
func (w *world) crashWith(percent int) {
	w.stats.crashes++
	w.tracef("after the crash, %d%% of what was not synced", percent)
	w.fs.SetHook(nil)
	w.fs.Stop()
	w.log, w.dispose = nil, nil
	w.fs, w.limited, w.starving = w.fs.Crash(percent), false, 0
	w.newFiles()
	if w.rng.IntN(3) == 0 {
		w.setClock() // a machine without a battery starts in 1970
	}
}

// reopen opens the log and judges what it holds. It returns false when the
// machine stopped meanwhile.
func (w *world) reopen() bool {
	for range 5 {
		l, r, err := Open(w.options())
		if err != nil {
			w.noHandles()
		}
		if w.crashed(err) {
			return false
		}
		var damage *DamageError
		if errors.As(err, &damage) {
			w.failf("a crash or fault looks like damage: %v", err)
		}
		if err != nil {
			// The fault hit recovery: it must leave everything for the next try.
			w.tracef("open: %v", err)
			w.fs.SetLimit(0)
			w.limited, w.starving = false, 0
			continue
		}
		w.log = l
		if r.TornFile != "" {
			w.stats.torn++
		}
		w.tracef("open: %+v", r)
		w.judge()
		return true
	}
	w.failf("five attempts to open the log failed")
	return false
}

func (w *world) mustClose() {
	if err := w.log.Close(); err != nil && !w.crashed(err) {
		w.tracef("close: %v", err)
	}
	w.dispose = nil
	w.noHandles()
}

// noHandles wants that a closed log, and one that did not open, holds no file.
func (w *world) noHandles() {
	if n := w.fs.Handles(); n > 0 {
		w.failf("%d files are still open", n)
	}
	if n := w.files.Stats().Open; n > 0 {
		w.failf("%d files are still counted as open", n)
	}
}

// judge is the oracle: acknowledged records are in the log, what is in the log
// was sent, in order, without gaps, with its position, time and epoch; and all
// of it is durable.
func (w *world) judge() {
	l := w.log
	next, start := int(l.Next()), l.Start()
	low := w.acked
	if w.cutTo >= 0 && next == w.cutTo {
		low = w.cutTo
	}
	switch {
	case next < low:
		w.failf("recovered %d records of %d acknowledged ones", next, w.acked)
	case next > len(w.sent):
		w.failf("recovered %d records of %d that were sent", next, len(w.sent))
	case start > w.start:
		w.failf("log start %d instead of at most %d", start, w.start)
	case l.LastEpoch() < w.epoch || l.LastEpoch() > w.epochTried:
		w.failf("epoch %d is not within %d..%d", l.LastEpoch(), w.epoch, w.epochTried)
	case next > 0 && l.LastEpoch() < w.sent[next-1].epoch:
		w.failf("epoch %d, but the last record was written under epoch %d", l.LastEpoch(), w.sent[next-1].epoch)
	case l.Synced() != l.Next():
		w.failf("after Open %d of %d records are durable", l.Synced(), l.Next())
	}
	w.forget(next)
	w.judgeEpochs()
	// An epoch that Open found is durable only after SetEpoch or Append.
	w.acked, w.cutTo, w.start = next, -1, start
	w.compare()
	if w.crashAt == 0 || w.ops < w.crashAt {
		w.judgeDurable()
	}
}

// judgeEpochs wants that the log knows where the epoch of each record ended.
func (w *world) judgeEpochs() {
	end := w.log.Next()
	for o := end - 1; o >= max(w.log.Start(), w.expired); o-- {
		e := w.sent[o].epoch
		if o+1 < w.log.Next() && w.sent[o+1].epoch > e {
			end = o + 1
		}
		if got := w.log.EpochEnd(e); got != end {
			w.failf("epoch %d of record %d ended at %d, not at %d", e, o, end, got)
		}
	}
}

// forget drops what did not survive from the model.
func (w *world) forget(next int) {
	w.sent = w.sent[:next]
	for n := len(w.boundaries); n > 0 && w.boundaries[n-1] >= next; n-- {
		w.boundaries = w.boundaries[:n-1]
	}
}

// judgeDurable opens what a crash right now would leave at worst.
func (w *world) judgeDurable() {
	if w.rng.IntN(4) > 0 {
		return
	}
	// Records are durable after Open, an epoch after SetEpoch.
	setEpoch := w.rng.IntN(2) == 0
	if setEpoch && w.tolerate(w.log.SetEpoch(w.log.LastEpoch())) {
		return
	}
	o := w.options()
	o.FS, o.Files = w.fs.Crash(0), nil
	before, err := Inspect(o.FS, worldDir)
	// A cut whose sync failed becomes durable with the next sync: until then a
	// crash brings the torn tail back, which is only cut again.
	cutPending := w.failAt > 0 && w.ops >= w.failAt
	// The name of an empty log's segment is made durable with its first record.
	nameless := w.log.Next() == 0
	if err != nil && !nameless || len(before.Damage) > 0 || before.Torn && !cutPending {
		w.failf("inspection after recovery: %v, %+v", err, before)
	}
	l, _, err := Open(o)
	if err != nil {
		w.failf("open after a crash right after recovery: %v", err)
	}
	if l.Next() != w.log.Next() || setEpoch && l.LastEpoch() != w.log.LastEpoch() {
		w.failf("recovery ended at %d, a crash later the log ends at %d", w.log.Next(), l.Next())
	}
	if err := l.Close(); err != nil {
		w.failf("close: %v", err)
	}
}

// compare reads the whole log and looks up times.
func (w *world) compare() {
	l := w.log
	for at := l.Start(); at < l.Next(); {
		b, err := l.Read(nil, at, l.Next(), 1+w.rng.IntN(3000))
		if w.tolerate(err) {
			return
		}
		first := true
		for len(b) > 0 {
			h, err := protocol.CheckBatch(b, 0)
			if err != nil {
				w.failf("read at %d: %v", at, err)
			}
			if first && (h.Base > at || h.Next() <= at) || !first && h.Base != at {
				w.failf("read at %d returned a batch of %d..%d", at, h.Base, h.Next())
			}
			w.compareBatch(&h, b)
			at, b, first = h.Next(), b[h.Length:], false
		}
		if first {
			w.failf("read at %d below %d returned nothing", at, l.Next())
		}
	}
	for range 3 {
		w.lookUpTime()
		w.lookUpAge()
	}
}

func (w *world) compareBatch(h *protocol.BatchHeader, b []byte) {
	position := h.Position
	for r, err := range protocol.DecodeRecords(h, b) {
		if err != nil {
			w.failf("batch of %d: %v", h.Base, err)
		}
		got := sent{value: string(r.Value), time: r.Time, position: position, epoch: h.Epoch, appended: w.sent[r.Offset].appended}
		if got != w.sent[r.Offset] {
			w.failf("record %d is %.60v, sent was %.60v", r.Offset, got, w.sent[r.Offset])
		}
		position += protocol.Position(r.MetaqSize())
	}
	if position != h.NextPosition() {
		w.failf("batch of %d ends at position %d instead of %d", h.Base, h.NextPosition(), position)
	}
}

func (w *world) lookUpTime() {
	t := w.clock.ms
	if n := len(w.sent); n > 0 {
		t = w.sent[w.rng.IntN(n)].time
	}
	t += int64(w.rng.IntN(3)) - 1
	limit := w.log.Start() + protocol.Offset(w.rng.Int64N(int64(w.log.Next()-w.log.Start())+1))
	want := limit
	for o := w.log.Start(); o < limit; o++ {
		if w.sent[o].time >= t {
			want = o
			break
		}
	}
	if got, err := w.log.OffsetAt(t, limit); !w.tolerate(err) && got != want {
		w.failf("offset at time %d below %d is %d instead of %d", t, limit, got, want)
	}
}

// lookUpAge wants that each record is as old as it is, whatever the clock was set to.
func (w *world) lookUpAge() {
	l := w.log
	if l.Start() == l.Next() {
		return
	}
	o := l.Start() + protocol.Offset(w.rng.Int64N(int64(l.Next()-l.Start())))
	r := w.sent[o]
	slack := maxParted.Milliseconds()
	at := l.AppendedAt(o, r.time)
	// A date that was held while the clock was a little behind makes it younger.
	if at < r.appended-slack || at > r.appended+slack+protocol.MaxHeld.Milliseconds() {
		w.failf("record %d was appended at %d, the log says %d", o, r.appended, at)
	}
	if got, err := l.OffsetSince(r.appended-slack, l.Next()); !w.tolerate(err) && got > o {
		w.failf("what was appended since %d begins at %d, but record %d was", r.appended-slack, got, o)
	}
}

// tolerate says whether err is the fault that the world injects, and fails on
// every other error.
func (w *world) tolerate(err error) bool {
	if err == nil {
		return false
	}
	if w.crashed(err) || errors.Is(err, syscall.EIO) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EMFILE) || errors.Is(err, protocol.ErrUnavailable) {
		return true
	}
	w.failf("unexpected error: %v", err)
	return true
}
