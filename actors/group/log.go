package group

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"metaq/actors"
	"metaq/actors/group/core"
	"metaq/protocol"
)

// groupLog is the log of all groups: one record for each step that changed
// something. Many steps share a write and a sync.
type groupLog struct {
	store    actors.Log // nil while it is not open
	images   core.Images
	staged   []groupWrite
	flushing bool      // a flush message is on its way
	seen     int       // staged when it was sent
	since    time.Time // when the oldest entry was staged

	builder protocol.BatchBuilder
	synced  protocol.Offset // all below is durable
	every   int64           // bytes between two snapshots, at least
	logged  int64           // bytes since the last snapshot began, itself included
	last    int64           // size of the last snapshot
}

// replayed and snapshots are read and written in pieces of this size.
const groupLogPiece = 1 << 20

// newGroupLog continues a log that was replayed to images. Where its last
// snapshot is, is not known: all of it counts as needed.
func newGroupLog(store actors.Log, images core.Images, every int64) groupLog {
	return groupLog{store: store, images: images, every: every, logged: store.Size(), synced: store.Next()}
}

// replayGroups reads the images from a log.
func replayGroups(store actors.Log) (core.Images, error) {
	images := core.Images{}
	var buf []byte
	for at, end := store.Start(), store.Next(); at < end; {
		var err error
		if buf, err = store.Read(buf[:0], at, end, groupLogPiece); err != nil {
			return nil, fmt.Errorf("read the groups' log at offset %d: %w", at, err)
		}
		if len(buf) == 0 {
			return nil, actors.ErrNothingRead
		}
		for b := buf; len(b) > 0; {
			h, err := protocol.ParseBatchHeader(b)
			if err != nil || h.Length > len(b) {
				return nil, fmt.Errorf("the groups' log at offset %d: %w", at, errors.Join(err, protocol.ErrShortBatch))
			}
			for rec, err := range protocol.DecodeRecords(&h, b) {
				if err != nil {
					return nil, fmt.Errorf("the groups' log at offset %d: %w", at, err)
				}
				e, err := core.DecodeEntry(rec.Value)
				if err != nil {
					return nil, fmt.Errorf("offset %d: %w", rec.Offset, err)
				}
				images.Apply(&e)
			}
			b, at = b[h.Length:], h.Next()
		}
	}
	return images, nil
}

// stage takes an entry for the next write; true when a flush must be sent.
func (g *groups) stage(ctx actor.Context, w groupWrite) bool {
	if g.journal.store == nil {
		ctx.Send(w.from, groupAbandon{g.refusal})
		return false
	}
	if c := g.children[w.entry.Group]; !g.stopping && (c == nil || !c.pid.Equal(w.from)) {
		// Another actor may have begun from an image without this entry.
		ctx.Send(w.from, groupAbandon{protocol.ErrUnavailable.With("group %s has begun anew: try again", w.entry.Group)})
		return false
	}
	if g.deletes(ctx, w) {
		return false
	}
	return g.line(ctx, w)
}

// line is stage for an entry that waits for nothing any more.
func (g *groups) line(ctx actor.Context, w groupWrite) bool {
	j := &g.journal
	if len(j.staged) == 0 {
		j.since = g.now()
	}
	if !g.put(ctx, w) {
		return false
	}
	if !j.flushing {
		j.flushing, j.seen = true, len(j.staged)
		return true
	}
	if g.gathered() {
		g.flush(ctx, true)
	}
	return false
}

// gatherTime is how long an entry waits for others to share its write. Without a bound, groups
// that change in an unbroken stream would put off the write, and with it every answer, for as
// long as the stream lasts: a commit would outlast its member's session.
const gatherTime = 10 * time.Millisecond

// gathered reports whether the oldest staged entry has waited for gatherTime.
func (g *groups) gathered() bool { return g.now().Sub(g.journal.since) >= gatherTime }

// put encodes an entry for the next write. An entry that cannot be encoded ends its
// group's actor, and with it this step alone: the next request begins from the log.
func (g *groups) put(ctx actor.Context, w groupWrite) bool {
	w.entry.Epoch = g.claims[w.entry.Group]
	var err error
	if w.value, err = w.entry.Encode(g.deps.maxEntry); err != nil {
		g.flush(ctx, true) // what the group decided before is answered as done
		g.log.Error("a step of a group cannot be logged and is refused", "group", w.entry.Group, "error", err)
		g.abandon(ctx, protocol.ErrTooLarge.With("%v", err), w.from.Equal)
		return false
	}
	g.journal.staged = append(g.journal.staged, w)
	return true
}

// flush writes all that is staged with one write and one sync, and then lets the
// groups answer. While more keeps coming it waits for what is already in the
// mailbox, for gatherTime at most, unless it is forced.
func (g *groups) flush(ctx actor.Context, force bool) {
	j := &g.journal
	if !force {
		if len(j.staged) > j.seen && !g.gathered() {
			j.seen = len(j.staged)
			ctx.Send(ctx.Self(), groupsFlush{})
			return
		}
		j.flushing = false
	}
	if len(j.staged) == 0 || j.store == nil {
		return
	}
	writes := j.staged
	j.staged = nil
	if err := j.write(writes, g.now().UnixMilli()); err != nil {
		g.writeFailed(ctx, writes, err)
		return
	}
	g.metrics.entries.Add(float64(len(writes)))
	g.metrics.known.Set(float64(len(j.images)))
	done := map[*actor.PID]uint64{}
	whose := map[*actor.PID]string{}
	for i := range writes {
		done[writes[i].from], whose[writes[i].from] = writes[i].seq, writes[i].entry.Group
		delete(g.unlogged, writes[i].entry.Group)
		g.noteMirror(ctx, &writes[i].entry)
		if g.deps.Events.Settle != nil {
			g.deps.Events.Settle(actors.Event{})
		}
	}
	for to, seq := range done {
		if !g.begins.holds(whose[to], to, seq) {
			ctx.Send(to, groupWritten{seq})
		}
	}
	for i := range writes {
		g.loseUsedUp(ctx, writes[i].entry.Group)
	}
	if j.logged > max(j.every, 4*j.last) {
		g.snapshot(ctx)
	}
}

// writeFailed stops the groups whose steps are lost. A full disk, and a file that cannot
// be opened now, spoil nothing else; after any other error the log is opened again.
func (g *groups) writeFailed(ctx actor.Context, writes []groupWrite, err error) {
	if actors.KeptNothing(err) {
		lost := map[string]bool{}
		for i := range writes {
			lost[writes[i].from.Id] = true
		}
		refusal := protocol.ErrDiskFull
		if errors.Is(err, protocol.ErrUnavailable) {
			refusal = protocol.ErrUnavailable.With("%v", err)
		}
		g.abandon(ctx, refusal, func(pid *actor.PID) bool { return lost[pid.Id] })
		return
	}
	g.log.Error("groups' log failed and is opened again", "error", err)
	g.refusal = protocol.ErrUnavailable.With("the groups' log has failed and is opened again: try again")
	g.abandon(ctx, g.refusal, func(*actor.PID) bool { return true })
	_ = g.journal.store.Close() // its error was told
	g.journal = groupLog{}
	if !g.stopping {
		g.open(ctx)
	}
}

// write appends encoded entries, syncs, and applies them.
func (j *groupLog) write(writes []groupWrite, millis int64) error {
	for left := writes; len(left) > 0; {
		n, err := j.append(left, millis)
		if err != nil {
			return err
		}
		left = left[n:]
	}
	if err := j.store.Sync(); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	j.synced = j.store.Next()
	for i := range writes {
		j.images.Apply(&writes[i].entry)
	}
	return nil
}

// append writes as many entries as make a batch of moderate size.
func (j *groupLog) append(writes []groupWrite, millis int64) (int, error) {
	j.builder.Reset()
	n := 0
	for n < len(writes) && j.builder.Size() < groupLogPiece {
		rec := protocol.Record{Time: millis, Key: []byte(writes[n].entry.Group), Value: writes[n].value}
		if err := j.builder.Add(&rec); err != nil {
			if n > 0 && errors.Is(err, protocol.ErrBatchFull) {
				break
			}
			return 0, fmt.Errorf("entry of group %s: %w", writes[n].entry.Group, err)
		}
		n++
	}
	metaqLen := j.builder.MetaqLen()
	b := j.builder.Encode(protocol.CompressionNone, protocol.Producer{ID: protocol.NoProducer})
	protocol.StampBatch(b, protocol.Stamp{
		Base: j.store.Next(), Position: j.store.NextPosition(), Epoch: j.store.LastEpoch(),
		Unsynced: int(j.store.Next() - j.synced), MaxTime: protocol.HeldTime(millis, j.store.LastTime()), MetaqLen: metaqLen,
	})
	if err := j.store.Append(b, nil); err != nil {
		return 0, fmt.Errorf("append: %w", err)
	}
	j.logged += int64(len(b))
	return n, nil
}

// snapshot writes all images anew and lets go of what came before them.
func (g *groups) snapshot(ctx actor.Context) {
	j := &g.journal
	var all []groupWrite
	var err error
	for _, name := range slices.Sorted(maps.Keys(j.images)) {
		w := groupWrite{entry: j.images[name].Snapshot(name)}
		if w.value, err = w.entry.Encode(g.deps.maxEntry); err != nil {
			// The log grows until somebody does what the error says; every group goes on.
			g.log.Error("cannot shorten the groups' log", "error", err)
			j.logged = 0
			return
		}
		all = append(all, w)
	}
	j.logged = 0
	if err := j.write(all, g.now().UnixMilli()); err != nil {
		if actors.KeptNothing(err) {
			j.logged = j.store.Size() // part of it may be there: all counts as needed
			return
		}
		g.writeFailed(ctx, nil, err)
		return
	}
	j.last = j.logged
	// Segment headers are not counted: keep a little more than the snapshot.
	const slack = 64 << 10
	dispose, err := j.store.Expire(actors.Retention{Bytes: j.logged + slack})
	if err != nil {
		g.log.Error("cannot let go of the groups' log before the snapshot", "error", err)
		return
	}
	g.log.Debug("groups' log has a snapshot", "groups", len(all), "bytes", j.logged, "log_start", int64(j.store.Start()))
	if dispose != nil {
		g.workers.Run(func() {
			if err := dispose(); err != nil {
				g.log.Error("cannot remove old segments of the groups' log", "error", err)
			}
		})
	}
}

// close closes the log, if it is open.
func (j *groupLog) close(log *slog.Logger) {
	if j.store == nil {
		return
	}
	if err := j.store.Close(); err != nil {
		log.Error("cannot close the groups' log cleanly, the next start recovers it", "error", err)
	}
	j.store = nil
}
