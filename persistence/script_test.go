package persistence

import (
	"errors"
	"fmt"
	"time"

	"metaq/internal/aligned"
	"metaq/protocol"
)

// step does one random operation and returns its error.
func (w *world) step() error {
	w.pass(time.Duration(w.rng.IntN(3)) * time.Second)
	if w.rng.IntN(30) == 0 {
		w.setClock()
	}
	if w.crowd(); w.log.failed != nil {
		return w.log.failed // a sync for the sake of others
	}
	switch n := w.rng.IntN(100); {
	case n < 50:
		return w.append()
	case n < 75:
		return w.sync()
	case n < 80:
		return w.setEpoch()
	case n < 84:
		return w.expire()
	case n < 88:
		return w.disposeNow()
	case n < 90:
		return w.truncate()
	case n < 93:
		w.tracef("park")
		err := w.log.Park()
		if err == nil {
			w.acked = len(w.sent)
		}
		w.tolerate(err)
		return err
	case n < 95:
		return w.restart()
	case n < 97:
		w.limit()
		return nil
	default:
		w.compare()
		return nil
	}
}

// crowd lets others take the log's files, or the process's descriptors.
func (w *world) crowd() {
	if w.files == nil || w.crowding.IntN(4) > 0 {
		return
	}
	if w.starving = 0; w.crowding.IntN(4) == 0 {
		w.starving = 1 + w.crowding.IntN(6)
		w.stats.starved++
	}
	evicted := w.files.evict(w.crowding.IntN(2) == 0)
	if evicted {
		w.stats.evicted++
	}
	w.tracef("files closed for others: %t, opens that will fail: %d", evicted, w.starving)
}

// pass lets time pass.
func (w *world) pass(d time.Duration) {
	w.clock.advance(d)
	w.elapsed += d.Milliseconds()
}

// setClock corrects the clock: by little, by hours, or by years.
func (w *world) setClock() {
	by := time.Duration(w.rng.Int64N(int64([]time.Duration{20 * time.Second, 10 * time.Hour, 80_000 * time.Hour}[w.rng.IntN(3)])))
	if w.rng.IntN(2) == 0 {
		by = -by
	}
	w.clock.advance(by)
	w.tracef("the clock is set by %s", by)
	w.stats.set++
}

func (w *world) append() error {
	now := protocol.HeldTime(w.clock.ms, w.log.LastTime())
	var group []byte
	var added []sent
	var bounds []int
	base, position := w.log.Next(), w.log.NextPosition()
	unsynced := int(base - w.log.Synced())
	for range 1 + w.rng.IntN(3) {
		var b protocol.BatchBuilder
		bounds = append(bounds, len(w.sent)+len(added))
		first := base
		for range 1 + w.rng.IntN(4) {
			size := w.rng.IntN(200)
			if w.rng.IntN(50) == 0 {
				size = 3000
			}
			r := protocol.Record{Time: now, Value: fmt.Appendf(nil, "%d/%d:%0*d", w.seed, base, size, w.ops)}
			if err := b.Add(&r); err != nil {
				w.failf("encode: %v", err)
			}
			added = append(added, sent{value: string(r.Value), time: now, position: position, epoch: w.log.LastEpoch(), appended: w.elapsed})
			position += protocol.Position(r.MetaqSize())
			base++
		}
		c := protocol.Compression(w.rng.IntN(3))
		enc := b.Encode(c, protocol.Producer{ID: protocol.NoProducer})
		protocol.StampBatch(enc, protocol.Stamp{
			Base: first, Position: position - protocol.Position(b.MetaqLen()), Epoch: w.log.LastEpoch(),
			Unsynced: unsynced + int(first-w.log.Next()), MaxTime: now, MetaqLen: b.MetaqLen(),
		})
		group = append(group, enc...)
	}
	err := w.log.AppendIn(w.inBlocks(group))
	w.tracef("append %d records, %d bytes at %d: %v", len(added), len(group), len(w.sent), err)
	if errors.Is(err, protocol.ErrDiskFull) || errors.Is(err, protocol.ErrUnavailable) {
		if errors.Is(err, protocol.ErrDiskFull) {
			w.stats.full++
		}
		if w.log.Next() != protocol.Offset(len(w.sent)) {
			w.failf("a refused append moved the end to %d", w.log.Next())
		}
		return err // nothing was kept
	}
	w.tolerate(err)
	// Also after an error: nobody knows what is on disk.
	w.sent = append(w.sent, added...)
	w.boundaries = append(w.boundaries, bounds...)
	return err
}

// inBlocks lets batches lie in memory from which they are written without a copy, mostly,
// with rubbish beside them.
func (w *world) inBlocks(batches []byte) (in, around []byte) {
	lead := w.log.Lead()
	switch w.rng.IntN(6) {
	case 0:
		return batches, nil
	case 1:
		lead = w.rng.IntN(aligned.Block) // it was going to be elsewhere
	}
	around = aligned.New(aligned.Up(lead+len(batches)) + aligned.Block*w.rng.IntN(2))
	for i := range around {
		around[i] = 0xa5
	}
	in = around[lead:]
	return in[:copy(in, batches)], around
}

func (w *world) sync() error {
	err := w.log.Sync()
	w.tracef("sync: %v", err)
	if !w.tolerate(err) {
		w.acked = len(w.sent)
	}
	return err
}

func (w *world) setEpoch() error {
	e := w.log.LastEpoch() + protocol.Epoch(1+w.rng.IntN(3))
	w.epochTried = max(w.epochTried, e)
	if w.rng.IntN(2) == 0 {
		err := w.log.AdoptEpoch(e)
		w.tracef("adopt epoch %d: %v", e, err)
		w.tolerate(err)
		return err
	}
	err := w.log.SetEpoch(e)
	w.tracef("epoch %d: %v", e, err)
	if !w.tolerate(err) {
		w.epoch = e
	}
	return err
}

func (w *world) expire() error {
	return w.expireBy(Retention{
		Age:     time.Duration(w.rng.IntN(120)) * time.Second,
		Bytes:   int64(w.rng.IntN(3)) * 4000,
		Archive: w.rng.IntN(3) == 0, Compress: w.rng.IntN(2) == 0,
	})
}

// expireHalf drops half of the log by its size.
func (w *world) expireHalf() error { return w.expireBy(Retention{Bytes: w.log.Size() / 2}) }

func (w *world) expireBy(r Retention) error {
	before := w.log.Start()
	dispose, err := w.log.Expire(r)
	w.tracef("expire %+v: start %d, %v", r, w.log.Start(), err)
	if w.tolerate(err) {
		return err
	}
	w.stats.expired += int(w.log.Start() - before)
	for o := before; o < w.log.Start(); o++ {
		if r.Bytes == 0 && w.sent[o].appended > w.elapsed-r.Age.Milliseconds()+maxParted.Milliseconds() {
			w.failf("retention of %s dropped record %d, which is younger", r.Age, o)
		}
	}
	w.start = w.log.Start()
	w.expired = max(w.expired, w.start)
	// What retention dropped must have been durable, or the rest is not whole.
	w.acked = max(w.acked, int(w.log.Start()))
	if dispose != nil {
		w.dispose = append(w.dispose, dispose)
	}
	return nil
}

func (w *world) disposeNow() error {
	if len(w.dispose) == 0 {
		return nil
	}
	err := w.dispose[0]()
	w.tracef("dispose: %v", err)
	w.dispose = w.dispose[1:]
	w.tolerate(err)
	return err
}

func (w *world) truncate() error {
	if len(w.boundaries) == 0 {
		return nil
	}
	to := w.boundaries[len(w.boundaries)-1-w.rng.IntN(min(len(w.boundaries), 20))]
	if to < int(w.log.Start()) {
		return nil
	}
	w.cutTo = to
	err := w.log.TruncateTo(protocol.Offset(to))
	w.tracef("truncate to %d: %v", to, err)
	if w.tolerate(err) {
		return err
	}
	w.stats.truncations++
	w.forget(to)
	w.acked, w.cutTo = to, -1
	return nil
}

// restart closes and opens the log without a crash.
func (w *world) restart() error {
	err := w.log.Close()
	w.tracef("close: %v", err)
	if !w.tolerate(err) {
		w.acked = len(w.sent)
	}
	w.dispose = nil
	if w.crashed(err) || !w.reopen() {
		return errStopped
	}
	return nil
}

// limit makes the disk full soon, or makes room.
func (w *world) limit() {
	if w.limited = !w.limited && w.failAt == 0; w.limited {
		w.fs.SetLimit(w.fs.Used() + w.rng.Int64N(3000))
	} else {
		w.fs.SetLimit(0)
	}
	w.tracef("disk full soon: %t", w.limited)
}
