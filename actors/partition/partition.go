package partition

import (
	"cmp"
	"fmt"
	"iter"
	"log/slog"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"metaq/actors"
	"metaq/protocol"
)

// Messages to a partition from its topic, its workers, its timers and itself.
type (
	flushNow struct{}
	syncDue  struct {
		actors.IgnoreDeadLetter
		generation uint64
	}
	workDone struct { // by the goroutine that did it
		actors.IgnoreDeadLetter
		job *job
	}
	retryOpen struct{ actors.IgnoreDeadLetter }
	opened    struct { // by the worker that opened the log
		owner *partition
		log   actors.Log
		err   error
	}
	// Grant lets the partition serve under an epoch.
	Grant struct{ Epoch protocol.Epoch }
	// Configure changes its settings.
	Configure struct{ Settings actors.Settings }
	// Expire applies its retention.
	Expire struct{}
	// Sweep has it give up files and buffers if it was idle since the last one.
	Sweep      struct{}
	readFailed struct { // by the reader
		log actors.Log
		err error
	}
	// ReaderIdle says that its reader has nothing to do; Gets tells whether that is still so.
	ReaderIdle struct{ Gets uint64 }
	// Stop ends it.
	Stop struct{ Refusal *protocol.Error } // answered with Stopped
)

// Messages from a partition to its topic.
type (
	// Opened asks for an epoch.
	Opened struct { // it has a log and waits for an epoch above floor
		N     int
		Floor protocol.Epoch
	}
	// Serving says that it takes requests.
	Serving struct{ N int }
	// InTrouble says that it does not.
	InTrouble struct{ N int } // it cannot serve now; its status says why
	// Stopped says that it has ended.
	Stopped struct{ N int } // its log is closed
)

// flushMessage is sent without an allocation.
var flushMessage any = flushNow{}

// partition is the shell around core: the actor that owns one log.
// Writes and syncs are done beside it: meanwhile it collects what the next flush
// will cover. Small ones block its Receive, since that is faster. Reads are its
// reader's.
type partition struct {
	env      *Env
	core     *core
	status   *Status
	topic    *actor.PID
	settings actors.Settings
	log      *slog.Logger
	stream   string

	store   actors.Log // nil unless it is open and ours to use
	running *job       // what is done to it beside this actor; nil: nothing
	epoch   protocol.Epoch
	busy    bool // a worker opens the log
	attempt int  // opens since the last good sync

	stopping *Stop
	shown    protocol.Offset // committed, as the status shows it
	timer    *time.Timer     // sync of a relaxed policy
	retry    *time.Timer     // next attempt to open
	current  waiting         // what of the message in hand is still to be taken, for crashed
	inHand   bool
	rest     *actors.Puts // what came with it, for crashed
	since    ages
	answered chan struct{} // closed when the last acknowledgements are on their way; nil: they are

	reader  *actor.PID
	gets    uint64     // handed to the reader
	touched bool       // since the last sweep
	reading bool       // a worker reads the message ids
	held    []heldPuts // puts that wait for it, in their order
	parked  bool       // the log gave up its files
}

// ages are when the first request came of what the core has staged and of what is
// being written; zero: there is none.
type ages struct{ staged, writing time.Time }

func (a *ages) accepted(now func() time.Time) {
	if a.staged.IsZero() {
		a.staged = now()
	}
}

func (a *ages) flushed() { a.writing, a.staged = a.staged, time.Time{} }

// committed returns when the first request came of what is committed now.
func (a *ages) committed() (since time.Time) {
	since, a.writing = a.writing, time.Time{}
	return since
}

// New returns a partition, for Spawn.
func New(e *Env, topic string, parent *actor.PID, status *Status, settings actors.Settings) actors.Receiver {
	p := &partition{
		env: e, status: status, topic: parent, settings: settings,
		core:   newCore(topic, status.ID, e.Options),
		stream: protocol.StreamName(topic, status.ID),
		log:    e.Log.With("topic", topic, "partition", status.ID.String()),
	}
	p.core.idBudget = e.ids
	p.core.configure(settings)
	return p
}

// Receive is the actor.
func (p *partition) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case flushNow:
		p.flush(ctx, false)
	case *actors.Puts:
		p.puts(ctx, m)
	case *actors.PutBatch:
		p.batch(ctx, m)
	case *actors.Get:
		p.get(ctx, m.Ticket)
	case *actors.Offsets:
		p.offsets(ctx, m)
	case actors.Describe:
		actors.Respond(ctx, ctx.Sender(), p.status.Info())
	case syncDue:
		if p.core.syncDue(m.generation) {
			p.do(ctx, p.core.syncNow())
		}
	case workDone:
		if m.job == p.running {
			p.finish(ctx)
		}
	case *idsRead:
		p.idsRead(ctx, m)
	case *opened:
		p.opened(ctx, m)
	case Grant:
		p.granted(ctx, m.Epoch)
	case Configure:
		p.settings = m.Settings
		if p.core.configure(m.Settings) {
			p.do(ctx, p.core.syncNow())
		}
	case Expire:
		p.expire(ctx)
	case Sweep:
		p.sweep(ctx)
	case retryOpen:
		p.openNow(ctx)
	case readFailed:
		p.readFailed(ctx, m)
	case ReaderIdle:
		p.readerIdle(ctx, m)
	case *Stop:
		p.stop(ctx, m)
	case *actor.Started:
		p.started(ctx)
	case *actor.Restarting, *actor.Stopping:
		p.end(ctx)
		p.core.dropIDs()
	case *actor.Terminated:
		if m.Who.Equal(p.reader) {
			p.reader = nil
		}
	}
}

// puts is the hop "accept" for messages that came together.
func (p *partition) puts(ctx actor.Context, m *actors.Puts) {
	for p.rest = m; p.rest != nil; {
		m := p.rest
		p.rest = m.Cut(ctx.Sender())
		p.take(ctx, waiting{puts: m.All, memory: m.Memory})
		for p.inHand && !p.hold(ctx, nil) {
			p.put(ctx)
		}
	}
}

// put accepts the first messages in hand. Their records have been copied when it returns.
func (p *partition) put(ctx actor.Context) {
	all, memory := p.current.puts, p.current.memory
	var v verdict
	n := 1
	if all[0].Check == nil {
		n, v = p.core.put(all, memory)
	} else {
		v = p.core.putChecked(all[:1], memory, p.env.deps.Elapsed())
	}
	p.current.puts = all[n:]
	if p.inHand = n < len(all); !p.inHand {
		p.current = waiting{}
	}
	releaseRecords(all[:n])
	p.accepted(ctx, v)
}

// releaseRecords forgets records, which have been copied. Many lie in one memory.
func releaseRecords(all []actors.Put) {
	var memory actors.Memory // of the last so many
	many := 0
	for i := range all {
		put := &all[i]
		if put.Memory != memory {
			actors.ReleaseMemory(memory, many)
			memory, many = put.Memory, 0
		}
		many++
		put.Record, put.Memory = protocol.Record{}, nil // who waits is kept longer
	}
	actors.ReleaseMemory(memory, many)
}

func (p *partition) batch(ctx actor.Context, m *actors.PutBatch) {
	p.take(ctx, waiting{to: ctx.Sender(), ticket: m.Ticket})
	if !p.hold(ctx, m) {
		p.putBatch(ctx, m)
	}
}

// putBatch accepts the batch in hand.
func (p *partition) putBatch(ctx actor.Context, m *actors.PutBatch) {
	if p.core.mustLearn(&m.Header) {
		if err := p.core.learn(logTail(p.store, p.core.written, p.env.Options.ProducerTail)); err != nil {
			p.inHand = false
			p.refuse(ctx, &p.current, actors.ReadRefusal("read the end of the log: ", err))
			p.readFailed(ctx, readFailed{log: p.store, err: err})
			return
		}
	}
	v := p.core.putBatch(m, p.current.to, p.env.deps.Elapsed())
	p.inHand = false
	if v.err != nil || v.w.duplicate { // it is not stored
		actors.ReleaseMemory(m.Memory, 1)
	}
	p.accepted(ctx, v)
}

// take notes what is in hand.
func (p *partition) take(ctx actor.Context, w waiting) {
	p.inHand, p.current = true, w
	if p.core.noPuts != nil && p.core.state == serving {
		p.renew(ctx)
	}
}

func (p *partition) accepted(ctx actor.Context, v verdict) {
	p.touched = true
	switch {
	case v.err != nil:
		p.refuse(ctx, &v.w, v.err)
		v.w.release()
		return
	case v.done:
		p.acknowledge(ctx, []waiting{v.w})
		v.w.release()
		return
	}
	if p.env.deps.Events.Accept != nil {
		p.env.deps.Events.Accept(p.event(v.w.first, v.w.next(), nil))
	}
	p.since.accepted(p.env.Now)
	if v.flush {
		ctx.Send(ctx.Self(), flushMessage)
	}
	if v.full {
		p.finish(ctx) // no more is collected than one write takes
		p.flush(ctx, true)
	}
}

// flush begins the hops "append" and "sync": one write, and one sync, for all that was
// collected.
func (p *partition) flush(ctx actor.Context, force bool) {
	w, again := p.core.flush(p.env.Now(), force)
	switch {
	case again:
		ctx.Send(ctx.Self(), flushMessage)
	case w.bytes != nil:
		p.since.flushed()
		p.parked = false
		p.do(ctx, w)
	}
}

// do does the work, or lets another goroutine do it.
func (p *partition) do(ctx actor.Context, w work) {
	j := &job{work: w, done: make(chan struct{})}
	p.running = j
	if !w.beside {
		j.run(p.env, p.store)
		p.finish(ctx)
		return
	}
	env, store, self := p.env, p.store, ctx.Self()
	env.hands.Run(func() {
		j.run(env, store)
		env.Tell(self, workDone{job: j})
	})
}

// finish waits for the work that is done, if there is some, and takes its result.
func (p *partition) finish(ctx actor.Context) {
	j := p.running
	if j == nil {
		return
	}
	p.own()
	p.running = nil
	if !p.core.busy {
		return // it was abandoned, and everybody has been answered
	}
	if j.crash != nil {
		panic(j.crash)
	}
	p.show(j)
	err := cmp.Or(j.failed, j.unsynced)
	switch {
	case err != nil:
		p.since = ages{} // those who were collected meanwhile are refused, too
	case j.sync:
		p.attempt = 0
	}
	p.perform(ctx, p.core.worked(err, p.store.Lead()))
}

// show counts the work and tells of it.
func (p *partition) show(j *job) {
	from, to := p.core.written, p.core.inFlight.next
	if j.failed != nil {
		to = from
	}
	if len(j.bytes) > 0 && p.env.deps.Events.Append != nil {
		p.env.deps.Events.Append(p.event(from, to, j.failed))
	}
	if j.failed != nil {
		return
	}
	p.env.metrics.bytesIn.Add(float64(len(j.bytes)))
	p.env.metrics.messagesIn.Add(float64(to - from))
	if j.sync && p.env.deps.Events.Sync != nil {
		p.env.deps.Events.Sync(p.event(p.core.synced, to, j.unsynced))
	}
}

// own waits until nobody else uses the log. The result of what was done stays.
func (p *partition) own() {
	if p.running != nil {
		<-p.running.done
	}
}

// quiet waits until everybody who was accepted is answered.
func (p *partition) quiet(ctx actor.Context) {
	for p.running != nil {
		p.finish(ctx)
	}
}

// perform carries out what the core decided after a write or a sync.
func (p *partition) perform(ctx actor.Context, out outcome) {
	// Move committed before answering: who has an acknowledgement may read.
	p.commit(ctx)
	p.answer(ctx, out)
	if out.arm {
		p.timer = p.env.Later(p.core.interval, ctx.Self(), syncDue{generation: p.core.timer})
	}
	if out.flush {
		p.flush(ctx, true)
	}
	if out.sync {
		p.do(ctx, p.core.syncNow())
	}
	if out.poisoned {
		p.log.Error("log failed and is opened again", "error", p.core.refusal.Description)
		p.env.metrics.reopened.Inc()
		p.leave(ctx, p.core.refusal.Description)
		p.open(ctx)
	}
}

// commit is the hop "commit": shows the committed offset to the reader.
func (p *partition) commit(ctx actor.Context) {
	from := p.shown
	if p.core.state != serving || p.core.committed == from {
		return
	}
	p.shown = p.core.committed
	if p.status.commit(p.core.committed) && p.reader != nil {
		ctx.Send(p.reader, wake{})
	}
	if since := p.since.committed(); !since.IsZero() {
		p.env.metrics.stageCommit.Observe(p.env.Now().Sub(since).Seconds())
	}
	if p.env.deps.Events.Commit != nil {
		p.env.deps.Events.Commit(p.event(from, p.core.committed, nil))
	}
}

// answer is the hop "reply".
func (p *partition) answer(ctx actor.Context, out outcome) {
	switch {
	case len(out.answer) == 0:
		return
	case out.err != nil:
		for i := range out.answer {
			p.refuse(ctx, &out.answer[i], out.err)
		}
	case requestsOf(out.answer) >= ManyAnswers:
		p.answerBeside(out.answer)
		return
	default:
		p.acknowledge(ctx, out.answer)
	}
	recycle(out.answer)
}

// ManyAnswers take so long that the next write should not wait for them.
const ManyAnswers = 16

// answerBeside acknowledges while the partition goes on. Answers keep their order:
// settle comes before every other one.
func (p *partition) answerBeside(all []waiting) {
	p.settle()
	done := make(chan struct{})
	p.answered = done
	p.env.hands.Run(func() {
		defer close(done)
		releaseTickets(all)
		p.env.deps.Acknowledge(p.acks(all))
		recycle(all)
	})
}

// settle returns when all acknowledgements so far are on their way.
func (p *partition) settle() {
	if p.answered != nil {
		<-p.answered
		p.answered = nil
	}
}

func (p *partition) acknowledge(ctx actor.Context, all []waiting) {
	p.settle()
	releaseTickets(all)
	for to, ack := range p.acks(all) {
		actors.Respond(ctx, to, *ack)
	}
}

// acks are the acknowledgements of all. They use nothing of the partition that changes,
// and may be asked for on any goroutine.
func (p *partition) acks(all []waiting) iter.Seq2[*actor.PID, *protocol.PubAck] {
	return func(yield func(*actor.PID, *protocol.PubAck) bool) {
		ack := protocol.PubAck{Stream: p.stream, Topic: p.core.topic, Partition: p.core.id}
		for i := range all {
			w := &all[i]
			if p.env.deps.Events.Reply != nil {
				p.env.deps.Events.Reply(p.event(w.first, w.next(), nil))
			}
			ack.Offset, ack.Count, ack.Duplicate = w.first, w.count, w.duplicate
			for k := range w.requests() {
				ack.Seq = uint64(ack.Offset) + 1
				if !yield(w.asker(k), &ack) {
					return
				}
				ack.Offset++
			}
		}
	}
}

func (p *partition) refuse(ctx actor.Context, w *waiting, err error) {
	p.settle()
	releaseTickets([]waiting{*w})
	if p.env.deps.Events.Reply != nil {
		p.env.deps.Events.Reply(p.event(w.first, w.first, err))
	}
	for k := range w.requests() {
		p.env.Refuse(ctx, w.asker(k), err)
	}
}

func (p *partition) event(first, next protocol.Offset, err error) actors.Event {
	return actors.Event{Topic: p.core.topic, Partition: p.core.id, First: first, Next: next, Err: err}
}

// get hands the request on to the reader with its sender.
func (p *partition) get(ctx actor.Context, t actors.Ticket) {
	if p.core.state != serving {
		t.Release()
		p.env.Refuse(ctx, ctx.Sender(), p.core.refusal)
		return
	}
	p.touched, p.parked = true, false
	p.gets++
	if p.reader == nil {
		// The one before may not have gone yet: each has a name of its own.
		reader, err := actors.Spawn(ctx, fmt.Sprintf("reader-%d", p.gets), p.env.Log, func() actors.Receiver {
			return newReader(p.env, p.core.topic, p.status)
		})
		if err != nil {
			t.Release()
			p.env.Refuse(ctx, ctx.Sender(), protocol.ErrUnavailable.With("%v: try again", err))
			return
		}
		p.reader = reader
	}
	ctx.Forward(p.reader)
}

func (p *partition) offsets(ctx actor.Context, m *actors.Offsets) {
	if p.core.state == serving && m.Request.Time == nil {
		m.Ticket.Release()
		end := p.core.committed
		reply := protocol.OffsetsReply{LogStart: p.store.Start(), EndOffset: end, Offset: end}
		if m.Request.Epochs {
			reply.Epochs = actors.NewestEpochs(p.store)
		}
		actors.Respond(ctx, ctx.Sender(), reply)
		return
	}
	p.get(ctx, m.Ticket) // a search by time reads the disk
}

// Crashed answers everybody: the core can no longer be trusted.
func (p *partition) Crashed(ctx actor.Context, err error) {
	refusal := protocol.ErrPartition.With("%v: try again", err)
	if p.inHand {
		p.inHand = false
		p.refuse(ctx, &p.current, refusal)
	}
	rest := p.rest
	p.rest = nil
	for m := range rest.Each(ctx.Sender()) {
		p.refuse(ctx, &waiting{puts: m.All}, refusal)
	}
	p.answer(ctx, p.core.abandon(reopening, refusal))
	p.refuseHeld(ctx, refusal)
}

// readFailed stops the partition when the reader found damage.
func (p *partition) readFailed(ctx actor.Context, m readFailed) {
	if p.store == nil || m.log != p.store || !actors.Damaged(m.err) {
		return
	}
	refusal := protocol.ErrPartition.With("%v", m.err)
	p.log.Error("log is damaged, partition stops", "error", m.err)
	p.answer(ctx, p.core.abandon(Failed, refusal))
	p.leave(ctx, m.err.Error())
	p.closeLog()
	ctx.Send(p.topic, InTrouble{p.core.id.N})
}

// sweep gives up what an idle partition does not need.
func (p *partition) sweep(ctx actor.Context) {
	idle := !p.touched
	p.touched = false
	p.core.forgetIDs(p.env.deps.Elapsed())
	if !idle || p.core.state != serving {
		return
	}
	if !p.parked && p.running == nil && p.core.synced == p.core.written {
		p.parked = true
		p.core.shrink()
		if err := p.store.Park(); err != nil {
			p.perform(ctx, p.core.poison(err))
			return
		}
	}
	if p.reader != nil {
		ctx.Send(p.reader, areYouIdle{p.gets})
	}
}

// ReaderIdle stops the reader, unless a get was sent to it meanwhile.
func (p *partition) readerIdle(ctx actor.Context, m ReaderIdle) {
	if p.reader != nil && m.Gets == p.gets {
		ctx.Poison(p.reader)
		p.reader = nil
	}
}

func (p *partition) expire(ctx actor.Context) {
	p.quiet(ctx)
	if p.core.state != serving {
		return
	}
	before := p.store.Size()
	retention := p.settings.Retention
	retention.IDs = p.settings.DuplicateWindow
	dispose, err := p.store.Expire(retention)
	if err != nil {
		p.log.Error("retention failed", "error", err)
		return
	}
	if p.core.producers != nil {
		p.core.producers.expire(p.store.Start())
	}
	if gone := before - p.store.Size(); gone > 0 {
		p.env.metrics.expired.Add(float64(gone))
		p.log.Info("retention dropped segments", "bytes", gone, "log_start", int64(p.store.Start()))
	}
	if dispose != nil {
		log := p.log
		p.env.Workers.Run(func() {
			if err := dispose(); err != nil {
				log.Error("cannot dispose of dropped segments", "error", err)
			}
		})
	}
}
