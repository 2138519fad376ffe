package partition

import (
	"errors"
	"iter"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"metaq/actors"
	"metaq/internal/aligned"
	"metaq/protocol"
)

// State is what a partition is doing.
type State uint8

const (
	opening   State = iota // waits for its log and its epoch
	serving                // takes requests
	reopening              // its log failed and is being opened again
	// Failed partitions have a damaged log.
	Failed
	stopped // its log is closed
)

// String returns the state's name in metrics and logs.
func (s State) String() string {
	return [...]string{"opening", "serving", "reopening", "failed", "stopped"}[s]
}

// core decides what a partition does with the requests that come: it
// gives offsets, collects, says what to write, and knows what is durable and who
// is to be answered. It is pure: the shell in partition.go writes, syncs and
// sends, and tells it the results and the time.
//
// While one flush is written and synced the next requests are collected. Whoever
// asked moves from staged to writing.
//
// Invariant: synced <= committed = written <= next.
type core struct {
	topic string
	id    protocol.PartitionID
	opts  actors.Options // with defaults

	state   State
	refusal *protocol.Error // what requests get in every state but serving
	noPuts  *protocol.Error // what puts get although it serves: the epoch is not on disk yet

	epoch     protocol.Epoch
	threshold int // records that may be acknowledged before a sync; 0: none
	interval  time.Duration

	next      protocol.Offset // of the next request: the end of what is staged
	written   protocol.Offset
	synced    protocol.Offset
	committed protocol.Offset
	lead      int               // what the log's Lead is expected to be when what is written is in it
	position  protocol.Position // MetaQ position of written
	lastTime  int64             // of the last record written, Unix milliseconds

	parts    []part    // what is staged, in order
	staged   []waiting // who waits for what is staged, in order
	requests int       // of staged
	bytes    int       // staged
	flushing bool      // a flush message is on its way
	seen     int       // requests when it was sent

	busy     bool      // the shell writes, or syncs, or both
	inFlight stamped   // what it writes
	syncs    bool      // it also syncs all that is written then
	writing  []waiting // who waits for it, in order
	owed     bool      // a sync is to follow, since one was due meanwhile

	timer      uint64 // generation of the newest sync timer
	timerArmed bool

	producers *producers // nil until the first batch of an idempotent producer
	former    *producers // of the log before it was opened again

	window   time.Duration // of ids; 0: none
	maxIDs   int
	ids      *messageIDs // nil until the first put that has an id
	idBudget *idBudget   // of all partitions of the broker
	last     lastID      // of what is staged
	lastWas  lastID      // of what is written
}

// part is one batch to be: a producer's own, or one that is built from single
// messages.
type part struct {
	batch    []byte        // nil while singles are added
	memory   actors.Memory // of batch, or nil
	singles  *protocol.BatchBuilder
	base     protocol.Offset
	metaqLen int64
}

// stamped is where the log stands once the batches being written are in it, and
// their memory.
type stamped struct {
	next     protocol.Offset
	position protocol.Position
	time     int64
	last     lastID
	parts    []part
	joined   *[]byte
}

// work is what the shell does to the log: it appends bytes, if there are any, and
// syncs if it is to. They are the core's again when the shell calls worked.
type work struct {
	bytes  []byte
	around []byte // in which bytes lie, see Log.Append
	sync   bool
	beside bool // the partition goes on meanwhile
}

// InlineSize is how many bytes are written and synced beside the partition, which
// goes on meanwhile; so is what covers earlier writes. With less hardly anything comes
// meanwhile, and the hop to another goroutine and back would be a fifth of what one who
// waits for his answer sees.
const InlineSize = 4 << 10

// verdict is what accept says about a request, or about puts that came together. With
// flush the shell sends the flush message to itself; with full it flushes at once.
type verdict struct {
	err   error // refused: answer now
	done  bool  // nothing to wait for: acknowledge now
	w     waiting
	flush bool
	full  bool
}

// outcome is what the shell's work led to. The waiting belong to who gets them;
// recycle takes them back.
type outcome struct {
	sync     bool      // sync: do the work that syncNow returns
	flush    bool      // flush at once
	arm      bool      // send syncDue with timer's generation after the interval
	answer   []waiting // acknowledge these, or refuse them with err
	err      error
	poisoned bool // close the log and open it again
}

var (
	builders = sync.Pool{New: func() any { return new(protocol.BatchBuilder) }}
	joins    = sync.Pool{New: func() any { return new([]byte) }} // of aligned.New
)

// maxPooled is the largest buffer that is kept for the next flush.
const maxPooled = 8 << 20

func newCore(topic string, id protocol.PartitionID, opts actors.Options) *core {
	c := &core{topic: topic, id: id, opts: opts}
	c.become(opening, protocol.ErrUnavailable.With("partition %s of topic %s is opening: try again", id, topic))
	return c
}

func (c *core) become(s State, refusal *protocol.Error) {
	c.state, c.refusal = s, refusal
}

// configure takes new settings. It returns true when what is written has to be
// synced now, because nobody would do it later.
func (c *core) configure(s actors.Settings) (sync bool) {
	c.threshold = max(s.UnflushThreshold, 0)
	c.interval = s.UnflushInterval
	if c.interval <= 0 {
		c.interval = time.Second
	}
	c.configureIDs(s)
	return c.threshold == 0 && c.due()
}

// open starts to serve a log whose content is durable.
func (c *core) open(log actors.Log, epoch protocol.Epoch) {
	c.epoch = epoch
	c.next = log.Next()
	c.written, c.synced, c.committed = c.next, c.next, c.next
	c.lead, c.position, c.lastTime = log.Lead(), log.NextPosition(), log.LastTime()
	if c.producers != nil {
		c.producers.trim(c.next)
		c.former, c.producers = c.producers, nil
	}
	c.dropIDs()
	c.last, c.lastWas = lastID{}, lastID{}
	c.become(serving, nil)
	c.noPuts = nil
}

// granted takes a newer epoch while the partition serves.
func (c *core) granted(epoch protocol.Epoch) {
	c.epoch, c.noPuts = max(c.epoch, epoch), nil
}

// put accepts messages that came together, up to one that asks for a check, one that is
// refused, or the one that is enough for a write. The verdict is about the first n of
// them: at least the first, which asks for no check, and all while no puts are taken.
func (c *core) put(all []actors.Put, memory actors.Memory) (n int, v verdict) {
	w := waiting{puts: all, memory: memory, first: c.next}
	if refusal := c.refusesPuts(); refusal != nil {
		return len(all), verdict{err: refusal, w: w}
	}
	for enough := false; n < len(all) && all[n].Check == nil && !enough; n++ {
		if err := c.add(&all[n].Record); err != nil && n == 0 {
			w.puts = all[:1]
			return 1, verdict{err: err, w: w}
		} else if err != nil {
			break
		}
		enough = c.enough(n + 1)
	}
	w.puts = all[:n]
	return n, c.stage(w)
}

// add collects a record.
func (c *core) add(r *protocol.Record) error {
	// The broker's clock gives the time, when the batch is stamped.
	r.Time = 0
	b := c.openSingles()
	before := b.Size()
	if err := b.Add(r); errors.Is(err, protocol.ErrBatchFull) && b.Count() > 0 {
		b, before = c.addSingles(), 0
		if err := b.Add(r); err != nil {
			return c.tooLarge(r)
		}
	} else if err != nil {
		return c.tooLarge(r)
	}
	c.next++
	c.bytes += b.Size() - before
	c.last = lastID{known: true}
	return nil
}

func (c *core) refusesPuts() *protocol.Error {
	if c.state != serving {
		return c.refusal
	}
	return c.noPuts
}

func (c *core) tooLarge(r *protocol.Record) error {
	c.dropEmptySingles()
	return protocol.ErrTooLarge.With("message of %d bytes is too large: a batch holds %d", len(r.Value), protocol.MaxRawSize)
}

func (c *core) openSingles() *protocol.BatchBuilder {
	if n := len(c.parts); n > 0 && c.parts[n-1].singles != nil {
		return c.parts[n-1].singles
	}
	return c.addSingles()
}

func (c *core) addSingles() *protocol.BatchBuilder {
	b := builders.Get().(*protocol.BatchBuilder)
	b.Align(c.lead)
	c.parts = append(c.parts, part{singles: b, base: c.next})
	return b
}

func (c *core) dropEmptySingles() {
	if last := len(c.parts) - 1; last >= 0 && c.parts[last].singles != nil && c.parts[last].singles.Count() == 0 {
		releaseBuilder(c.parts[last].singles)
		c.parts = c.parts[:last]
	}
}

// putBatch accepts a producer's batch. now is as Deps.Elapsed tells.
func (c *core) putBatch(m *actors.PutBatch, to *actor.PID, now int64) verdict {
	h := &m.Header
	w := waiting{to: to, ticket: m.Ticket, first: c.next, count: h.Count}
	if refusal := c.refusesPuts(); refusal != nil {
		return verdict{err: refusal, w: w}
	}
	if h.Control || h.Transactional {
		return verdict{err: protocol.ErrBatchRefused.With("transactional and control batches are not supported: send plain ones"), w: w}
	}
	if h.ProducerID != protocol.NoProducer {
		from := sourceOf(to)
		first, duplicate, err := c.producers.check(h, from, now)
		if err != nil {
			return verdict{err: err, w: w}
		}
		if duplicate {
			w.first, w.duplicate = first, true
			return c.again(w)
		}
		c.producers.add(h, c.next, from, now)
	}
	c.parts = append(c.parts, part{batch: m.Batch[:h.Length], memory: m.Memory, base: c.next, metaqLen: h.MetaqLen})
	c.next += protocol.Offset(h.Count)
	c.bytes += h.Length
	c.last = lastID{known: true}
	return c.stage(w)
}

func (c *core) stage(w waiting) verdict {
	c.staged = append(c.staged, w)
	c.requests += w.requests()
	// The end of the work that is done writes what was collected meanwhile.
	v := verdict{w: w, flush: !c.flushing && !c.busy, full: c.enough(0)}
	if v.flush {
		c.flushing, c.seen = true, c.requests
	}
	return v
}

// again answers a duplicate when its original is safe.
func (c *core) again(w waiting) verdict {
	switch {
	case w.first < c.committed:
		return verdict{done: true, w: w}
	case c.busy && w.first < c.inFlight.next:
		c.writing = append(c.writing, w)
		return verdict{w: w}
	}
	return c.stage(w)
}

// enough says whether to write at once when so many more requests are staged.
func (c *core) enough(more int) bool {
	return c.bytes >= c.opts.FlushBytes || c.requests+more >= c.opts.FlushCount
}

// flush is called when the flush message arrives, or at once when there is
// enough (force). It returns again while requests keep coming: what is already
// in the mailbox shares the sync. Else it returns the work to do. While other work
// is done there is none: its end flushes.
func (c *core) flush(now time.Time, force bool) (w work, again bool) {
	switch {
	case c.busy || len(c.staged) == 0:
		c.flushing = c.flushing && force
		return work{}, false
	case !force && !c.enough(0) && c.requests > c.seen:
		c.seen = c.requests
		return work{}, true
	}
	if !force {
		c.flushing = false
	}
	w.bytes, w.around = c.stamp(now.UnixMilli())
	c.lead = (c.lead + len(w.bytes)) % aligned.Block
	// The one that fills the measure waits for the sync, and with 0 each does: so
	// fewer than threshold acknowledged records are ever in the system's cache alone.
	w.sync = c.owed || c.next-c.synced >= protocol.Offset(c.threshold)
	w.beside = len(w.bytes) >= InlineSize || w.sync && c.synced < c.written
	c.busy, c.syncs, c.owed = true, w.sync, false
	c.staged, c.writing = c.writing, c.staged
	c.requests, c.bytes, c.seen = 0, 0, 0
	return w, false
}

// stamp turns what is staged into batches that continue the log.
func (c *core) stamp(millis int64) (batches, around []byte) {
	s := stamped{next: c.next, position: c.position, time: protocol.HeldTime(millis, c.lastTime), last: c.last}
	size := 0
	s.parts, c.parts = c.parts, c.inFlight.parts
	for i := range s.parts {
		p := &s.parts[i]
		if p.singles != nil {
			p.metaqLen = p.singles.MetaqLen()
			p.batch = p.singles.Encode(protocol.CompressionNone, protocol.Producer{ID: protocol.NoProducer})
		}
		protocol.StampBatch(p.batch, protocol.Stamp{
			Base: p.base, Position: s.position, Epoch: c.epoch,
			Unsynced: int(p.base - c.synced), MaxTime: s.time, MetaqLen: p.metaqLen,
		})
		s.position += protocol.Position(p.metaqLen)
		size += len(p.batch)
	}
	if len(s.parts) == 1 {
		c.inFlight = s
		if b := s.parts[0].singles; b != nil {
			around = b.Around()
		}
		return s.parts[0].batch, around
	}
	s.joined = joins.Get().(*[]byte) //nolint:forcetypeassert // the pool's own
	if room := aligned.Up(c.lead + size); room > len(*s.joined) {
		*s.joined = aligned.New(max(room, min(2*len(*s.joined), maxPooled)))
	}
	batches = (*s.joined)[c.lead:c.lead]
	for i := range s.parts {
		batches = append(batches, s.parts[i].batch...)
	}
	c.inFlight = s
	return batches, *s.joined
}

// syncNow returns the work of a sync alone. Nothing else is done meanwhile.
func (c *core) syncNow() work {
	c.inFlight.next, c.inFlight.position, c.inFlight.time, c.inFlight.last = c.written, c.position, c.lastTime, c.lastWas
	c.busy, c.syncs, c.owed = true, true, false
	return work{sync: true, beside: true}
}

// worked takes the result of the work: that of the write, or of the sync after it; and the
// log's Lead.
func (c *core) worked(err error, lead int) outcome {
	c.busy, c.lead = false, lead
	c.inFlight.release()
	switch {
	case actors.KeptNothing(err):
		// The log is as before, and the next flush may find room.
		// What was collected meanwhile has offsets behind it.
		c.release()
		c.takeBack(c.written)
		out := outcome{answer: c.handOut(&c.writing), err: c.noRoom(err)}
		out.answer = c.join(out.answer, &c.staged)
		out.sync = (c.syncs || c.owed) && c.synced < c.written
		return out
	case err != nil:
		return c.poison(err)
	}
	c.written, c.position, c.lastTime, c.lastWas = c.inFlight.next, c.inFlight.position, c.inFlight.time, c.inFlight.last
	if c.syncs {
		c.synced, c.timerArmed = c.written, false
	}
	// Without a sync it is safe enough: the policy says so.
	c.commit(c.written)
	out := outcome{answer: c.handOut(&c.writing)}
	out.flush = len(c.staged) > 0
	out.sync = c.owed && !out.flush && c.synced < c.written
	if !out.sync && !c.timerArmed && c.synced < c.written {
		c.timer++
		c.timerArmed, out.arm = true, true
	}
	return out
}

// due says whether to sync what is written now, by itself. While work is done that
// comes after it.
func (c *core) due() bool {
	if c.state != serving || c.busy {
		c.owed = c.busy && !c.syncs
		return false
	}
	return c.synced < c.written
}

// commit makes final all below end.
func (c *core) commit(end protocol.Offset) {
	c.committed = max(c.committed, end)
	if c.producers != nil {
		c.producers.keep(end)
	}
	if c.ids != nil {
		c.ids.keep(end)
	}
}

// noRoom answers those whose messages the log did not keep because of err.
func (c *core) noRoom(err error) *protocol.Error {
	if errors.Is(err, protocol.ErrUnavailable) {
		return protocol.ErrUnavailable.With("%v", err)
	}
	return protocol.ErrDiskFull.With("disk full: make room on the data disk of broker %d", c.id.Home)
}

// syncDue says whether the timer of that generation finds something to sync.
func (c *core) syncDue(generation uint64) bool {
	if !c.timerArmed || generation != c.timer {
		return false
	}
	c.timerArmed = false
	return c.due()
}

// poison gives the log up after an error of a write or a sync: nobody knows
// what is on disk.
func (c *core) poison(err error) outcome {
	out := c.abandon(reopening, protocol.ErrPartition.With(
		"partition %s of topic %s failed and is being opened again: try again (%v)", c.id, c.topic, err))
	out.poisoned = true
	return out
}

// abandon answers all who wait with refusal and takes no more requests. What is being
// written is not the core's: its memory is not used again.
func (c *core) abandon(s State, refusal *protocol.Error) outcome {
	c.release()
	c.takeBack(c.committed)
	c.become(s, refusal)
	c.timerArmed, c.busy, c.owed, c.inFlight = false, false, false, stamped{}
	out := outcome{answer: c.handOut(&c.writing), err: refusal}
	out.answer = c.join(out.answer, &c.staged)
	return out
}

// takeBack forgets the offsets of what is staged, and what was learned from the
// messages from offset end on.
func (c *core) takeBack(end protocol.Offset) {
	c.next, c.last, c.requests, c.bytes, c.seen = c.written, c.lastWas, 0, 0, 0
	if c.producers != nil {
		c.producers.rollback(end)
	}
	if c.ids != nil {
		c.ids.rollback(end)
	}
}

// release gives the buffers of what is staged back.
func (c *core) release() { c.parts = releaseParts(c.parts) }

func releaseParts(parts []part) []part {
	for i := range parts {
		if b := parts[i].singles; b != nil {
			releaseBuilder(b)
		}
		actors.ReleaseMemory(parts[i].memory, 1)
		parts[i] = part{}
	}
	return parts[:0]
}

// release gives the buffers back. The list of parts stays.
func (s *stamped) release() {
	s.parts = releaseParts(s.parts)
	if j := s.joined; j != nil {
		s.joined = nil
		if len(*j) <= maxPooled {
			joins.Put(j)
		}
	}
}

func releaseBuilder(b *protocol.BatchBuilder) {
	if max(b.Size(), len(b.Around())) <= maxPooled {
		b.Reset()
		builders.Put(b)
	}
}

// mustLearn says whether learn has to come before putBatch.
func (c *core) mustLearn(h *protocol.BatchHeader) bool {
	return c.state == serving && c.producers == nil && h.ProducerID != protocol.NoProducer
}

// learn makes the batches at the log's end known as their producers'. The shell
// calls it before the first batch of an idempotent producer.
func (c *core) learn(tail iter.Seq2[protocol.BatchHeader, error]) error {
	ps := newProducers(c.opts.MaxProducers)
	for h, err := range tail {
		if err != nil {
			return err
		}
		if h.ProducerID != protocol.NoProducer {
			ps.learn(&h)
		}
	}
	ps.keep(c.written)
	if c.former != nil {
		ps.inherit(c.former)
	}
	c.producers, c.former = ps, nil
	return nil
}

// shrink gives up the room that a burst needed.
func (c *core) shrink() {
	if len(c.staged)+len(c.writing) == 0 {
		c.staged, c.writing, c.parts, c.inFlight.parts = nil, nil, nil, nil
	}
}
