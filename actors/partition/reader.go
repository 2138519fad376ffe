package partition

import (
	"errors"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"metaq/actors"
	"metaq/protocol"
)

// Messages to a reader from its partition and its timer.
type (
	wake     struct{} // committed moved, or the partition stopped serving
	goOn     struct{} // there is a fetch that gets another answer
	fetchDue struct {
		actors.IgnoreDeadLetter
		generation uint64
	}
	areYouIdle  struct{ gets uint64 } // answered with ReaderIdle when nothing is parked
	readBuffers struct{ pool sync.Pool }
)

// reader answers the gets of one partition: the hops "fetch" and "read". It runs
// beside the partition and reads while that syncs. What it may read it learns
// from the partition's status.
type reader struct {
	env    *Env
	topic  string
	status *Status
	core   readerCore

	timer      *time.Timer
	generation uint64 // of the timer
	timerAt    time.Time

	current fetch // in hand, for crashed
	inHand  bool
}

var buffers = readBuffers{pool: sync.Pool{New: func() any { return new([]byte) }}}

func newReader(e *Env, topic string, status *Status) *reader {
	return &reader{env: e, topic: topic, status: status, core: readerCore{opts: e.Options}}
}

// Receive is the actor.
func (r *reader) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actors.Get:
		r.get(ctx, m)
	case *actors.Offsets:
		r.offsets(ctx, m)
	case wake:
		r.again(ctx, r.core.unpark())
	case goOn:
		if f, ok := r.core.nextGoing(); ok {
			r.serve(ctx, f, r.env.Now())
		}
	case fetchDue:
		if m.generation == r.generation {
			r.timer = nil
			r.again(ctx, r.core.due(r.env.Now()))
		}
	case areYouIdle:
		if len(r.core.parked)+len(r.core.going) == 0 {
			ctx.Send(ctx.Parent(), ReaderIdle{Gets: m.gets})
		}
	case *actor.Stopping, *actor.Restarting:
		r.end(ctx)
	}
}

// get is the hop "fetch".
func (r *reader) get(ctx actor.Context, m *actors.Get) {
	f := r.core.newFetch(&m.Request, m.Ticket, ctx.Sender(), r.env.Now())
	if r.env.deps.Events.Fetch != nil {
		r.env.deps.Events.Fetch(r.event(f.from, f.from, nil))
	}
	r.serve(ctx, f, f.since)
	r.arm(ctx)
}

// again serves fetches that were parked.
func (r *reader) again(ctx actor.Context, fetches []fetch) {
	r.env.metrics.parked.Sub(float64(len(fetches)))
	now := r.env.Now()
	for _, f := range fetches {
		r.env.metrics.stageFetch.Observe(now.Sub(f.since).Seconds())
		r.serve(ctx, f, now)
	}
	r.arm(ctx)
}

func (r *reader) serve(ctx actor.Context, f fetch, now time.Time) {
	r.current, r.inHand = f, true
	v := r.status.look(false)
	for {
		if v.refusal != nil {
			r.refuse(ctx, &f, v.refusal)
			return
		}
		start := v.log.Start()
		if f.epoch > 0 {
			if err := r.core.diverged(&f, lineageOf(&v), r.status.Born); err != nil {
				r.refuse(ctx, &f, err)
				return
			}
		}
		what, err := r.core.decide(&f, start, v.end, now)
		if what == parkFetch {
			// Say that we park, then look again: had committed moved in between,
			// nobody would wake us.
			if again := r.status.look(true); again != v {
				v = again
				continue
			}
			r.inHand = false
			r.core.park(f)
			r.env.metrics.parked.Inc()
			return
		}
		switch what {
		case refuseFetch:
			r.refuse(ctx, &f, err)
		case emptyFetch:
			r.answer(ctx, &f, &actors.GetResult{LogStart: start, EndOffset: v.end, From: max(f.from, start), Epoch: r.epochBefore(&f, v, start), Release: func() {}})
		case readFetch:
			r.read(ctx, &f, v, start)
		}
		return
	}
}

// lineageOf is the lineage of the log in a view that has one.
func lineageOf(v *view) protocol.Lineage {
	return protocol.Lineage{LogStart: v.log.Start(), EndOffset: v.end, Epochs: v.log.Epochs()}
}

// epochBefore is the epoch of the record before the first one of an answer, for a client
// that does not see the batches.
func (r *reader) epochBefore(f *fetch, v view, start protocol.Offset) protocol.Epoch {
	if f.format != protocol.FormatJSON {
		return 0
	}
	log := lineageOf(&v)
	return log.EpochBefore(max(f.from, start))
}

// read is the hop "read".
func (r *reader) read(ctx actor.Context, f *fetch, v view, start protocol.Offset) {
	buf := buffers.get()
	begin := r.env.Now()
	from := max(f.from, start)
	b, err := v.log.Read(frameHeader(*buf, start, v.end, false), from, v.end, f.maxBytes)
	var out *protocol.RangeError
	if errors.As(err, &out) && f.from < 0 && out.LogStart > start && out.LogStart < v.end {
		// Retention moved the log start, which was asked for, just now.
		start, from = out.LogStart, out.LogStart
		b, err = v.log.Read(frameHeader(*buf, start, v.end, false), from, v.end, f.maxBytes)
	}
	if err != nil {
		buffers.put(buf)
		r.readFailed(ctx, f, v, err)
		return
	}
	*buf = b
	r.env.metrics.stageRead.Observe(r.env.Now().Sub(begin).Seconds())
	batches := b[protocol.FetchHeaderSize:]
	next, epoch := r.count(batches, from)
	if r.env.deps.Events.Read != nil {
		r.env.deps.Events.Read(r.event(from, next, nil))
	}
	more := f.answers > 1 && f.to != nil && next > from && next < v.end
	if more {
		frameHeader(b, start, v.end, more)
	}
	r.answer(ctx, f, &actors.GetResult{
		LogStart: start, EndOffset: v.end, From: from, Epoch: r.epochBefore(f, v, from), Frame: b, Batches: batches, More: more,
		Release: sync.OnceFunc(func() { buffers.put(buf) }),
	})
	if more {
		// By a message to ourselves, so that others get their turn in between.
		r.core.goOn(*f, next, epoch)
		ctx.Send(ctx.Self(), goOn{})
	}
}

// frameHeader begins an answer in buf, so that the batches can be read to where they
// are sent from.
func frameHeader(buf []byte, start, end protocol.Offset, more bool) []byte {
	return protocol.AppendFetchHeader(buf[:0], protocol.FetchHeader{LogStart: start, EndOffset: end, More: more})
}

// readFailed answers with a failed read. Damage stops the partition; other
// errors, such as too many open files, pass.
func (r *reader) readFailed(ctx actor.Context, f *fetch, v view, err error) {
	var out *protocol.RangeError
	if errors.As(err, &out) {
		r.refuse(ctx, f, r.core.outOfRange(f.from, out.LogStart, v.end))
		return
	}
	if r.status.look(false).log == v.log { // else it was closed under the read
		ctx.Send(ctx.Parent(), readFailed{log: v.log, err: err})
	}
	r.refuse(ctx, f, actors.ReadRefusal("", err))
}

// count counts what is handed out and returns the offset after it, and the epoch of the
// last record.
func (r *reader) count(b []byte, from protocol.Offset) (next protocol.Offset, epoch protocol.Epoch) {
	r.env.metrics.bytes.Add(float64(len(b)))
	messages := 0
	next = from
	for len(b) > 0 {
		h, err := protocol.ParseBatchHeader(b)
		if err != nil || h.Length > len(b) {
			break // the receiver decodes it and says so
		}
		messages += h.Count
		next, epoch, b = h.Next(), h.Epoch, b[h.Length:]
	}
	r.env.metrics.messages.Add(float64(messages))
	return next, epoch
}

func (r *reader) answer(ctx actor.Context, f *fetch, g *actors.GetResult) {
	r.inHand = false
	if !g.More {
		f.ticket.Release()
	}
	g.Topic, g.Partition = r.topic, r.status.ID
	g.MaxMessages, g.Format, g.Filter = f.maxMessages, f.format, f.filter
	if f.to == nil {
		g.Release()
		return
	}
	ctx.Send(f.to, g)
}

func (r *reader) refuse(ctx actor.Context, f *fetch, err error) {
	r.inHand = false
	f.ticket.Release()
	if r.env.deps.Events.Read != nil {
		r.env.deps.Events.Read(r.event(f.from, f.from, err))
	}
	r.env.Refuse(ctx, f.to, err)
}

// offsets answers a search by time.
func (r *reader) offsets(ctx actor.Context, m *actors.Offsets) {
	f := fetch{to: ctx.Sender(), ticket: m.Ticket}
	r.current, r.inHand = f, true
	v := r.status.look(false)
	if v.refusal != nil {
		r.refuse(ctx, &f, v.refusal)
		return
	}
	reply := protocol.OffsetsReply{LogStart: v.log.Start(), EndOffset: v.end, Offset: v.end}
	if m.Request.Epochs {
		reply.Epochs = actors.NewestEpochs(v.log)
	}
	if t := m.Request.Time; t != nil {
		var err error
		if reply.Offset, err = v.log.OffsetAt(t.UnixMilli(), v.end); err != nil {
			r.readFailed(ctx, &f, v, err)
			return
		}
	}
	r.inHand = false
	f.ticket.Release()
	actors.Respond(ctx, f.to, reply)
}

// arm sets the one timer for the earliest deadline of what is parked.
func (r *reader) arm(ctx actor.Context) {
	at, some := r.core.deadline()
	if r.timer != nil && some && !at.Before(r.timerAt) {
		return // it fires early enough, and looks again
	}
	if r.timer != nil {
		r.timer.Stop()
		r.timer = nil
	}
	r.generation++
	if some {
		r.timerAt = at
		r.timer = r.env.Later(at.Sub(r.env.Now()), ctx.Self(), fetchDue{generation: r.generation})
	}
}

// end answers all who wait.
func (r *reader) end(ctx actor.Context) {
	if r.timer != nil {
		r.timer.Stop()
	}
	r.env.metrics.parked.Sub(float64(len(r.core.parked)))
	all := r.core.all()
	for i := range all {
		r.refuse(ctx, &all[i], protocol.ErrUnavailable.With("partition %s of topic %s stops: try again", r.status.ID, r.topic))
	}
}

// Crashed answers the request in hand; Restarting answers those that wait.
func (r *reader) Crashed(ctx actor.Context, err error) {
	if r.inHand {
		r.refuse(ctx, &r.current, protocol.ErrPartition.With("%v: try again", err))
	}
}

func (r *reader) event(first, next protocol.Offset, err error) actors.Event {
	return actors.Event{Topic: r.topic, Partition: r.status.ID, First: first, Next: next, Err: err}
}

func (b *readBuffers) get() *[]byte { return b.pool.Get().(*[]byte) }

func (b *readBuffers) put(buf *[]byte) {
	if cap(*buf) <= maxPooled {
		b.pool.Put(buf)
	}
}
