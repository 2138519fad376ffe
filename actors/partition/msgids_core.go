package partition

import (
	"errors"
	"sync/atomic"
	"time"

	"metaq/actors"
	"metaq/protocol"
)

type messageID = protocol.MessageID

func messageIDOf(id string) messageID { return protocol.MessageIDOf(id) }

// messageIDs is what a partition remembers of the ids of its messages: those of
// the last window, and of these at most limit: when there are more, the oldest go
// first. An id costs about 80 bytes; see BenchmarkAMillionMessageIDs.
//
// What is remembered of messages that are not yet safe can be taken back: see
// keep and rollback. It is pure.
type messageIDs struct {
	window time.Duration
	limit  int
	at     map[messageID]protocol.Offset
	ring   []seenID // Invariant: len(ring) is 0 or a power of two
	head   int      // place of the oldest
	n      int      // Invariant: n == len(at)
	fresh  int      // newest that are not safe yet
	budget *idBudget
}

// idBudget counts the ids of all partitions of a broker. Nil bounds nothing.
type idBudget struct {
	used  atomic.Int64
	limit int64
}

func (b *idBudget) add(n int) {
	if b != nil {
		b.used.Add(int64(n))
	}
}

// attach makes the ids count in a budget. What the log has told is taken in any case.
func (m *messageIDs) attach(b *idBudget) {
	m.budget = b
	b.add(m.n)
}

// release takes the ids out of their budget: nobody uses them any more.
func (m *messageIDs) release() {
	m.budget.add(-m.n)
	m.budget = nil
}

// room reports whether one more id can be remembered: in the place of the partition's
// oldest, or in the broker's budget.
func (m *messageIDs) room() bool {
	return m.budget == nil || m.n >= m.limit || m.budget.used.Load() < m.budget.limit
}

type seenID struct {
	id     messageID
	millis int64 // when it was accepted, as Deps.Elapsed tells
}

func newMessageIDs(window time.Duration, limit int) *messageIDs {
	return &messageIDs{window: window, limit: limit, at: make(map[messageID]protocol.Offset)}
}

// find returns where the message with that id is, if it came within the window.
func (m *messageIDs) find(id messageID, now int64) (protocol.Offset, bool) {
	m.expire(now)
	at, ok := m.at[id]
	return at, ok
}

// add remembers an id that find did not know. The oldest goes when there are too
// many.
func (m *messageIDs) add(id messageID, at protocol.Offset, now int64) {
	if _, known := m.at[id]; known {
		return // in a log that was written with a shorter window
	}
	for m.n >= m.limit {
		m.dropOldest()
	}
	if m.n == len(m.ring) {
		m.resize(max(2*m.n, 16))
	}
	m.ring[(m.head+m.n)&(len(m.ring)-1)] = seenID{id, now}
	m.at[id] = at
	m.n++
	m.budget.add(1)
	m.fresh++
}

// expire forgets the ids that are older than the window.
func (m *messageIDs) expire(now int64) {
	for m.n > 0 && m.ring[m.head].millis+m.window.Milliseconds() <= now {
		m.dropOldest()
	}
}

func (m *messageIDs) dropOldest() {
	delete(m.at, m.ring[m.head].id)
	m.head = (m.head + 1) & (len(m.ring) - 1)
	m.n--
	m.budget.add(-1)
	m.fresh = min(m.fresh, m.n)
}

// keep makes final what was added of the messages below end.
func (m *messageIDs) keep(end protocol.Offset) {
	for m.fresh > 0 && m.at[m.newest(m.fresh)] < end {
		m.fresh--
	}
}

// rollback takes back what was added of the messages from offset end on.
func (m *messageIDs) rollback(end protocol.Offset) {
	for m.fresh > 0 && m.at[m.newest(1)] >= end {
		delete(m.at, m.newest(1))
		m.n--
		m.budget.add(-1)
		m.fresh--
	}
}

// newest is the id that was added as the nth from the end.
func (m *messageIDs) newest(n int) messageID {
	return m.ring[(m.head+m.n-n)&(len(m.ring)-1)].id
}

// shrink gives up the room that a burst needed.
func (m *messageIDs) shrink(now int64) {
	m.expire(now)
	size := len(m.ring)
	for size > 16 && m.n <= size/4 {
		size /= 2
	}
	if size == len(m.ring) {
		return
	}
	m.resize(size)
	at := make(map[messageID]protocol.Offset, m.n)
	for id, offset := range m.at {
		at[id] = offset
	}
	m.at = at
}

func (m *messageIDs) resize(size int) {
	ring := make([]seenID, size)
	for i := range m.n {
		ring[i] = m.ring[(m.head+i)&(len(m.ring)-1)]
	}
	m.ring, m.head = ring, 0
}

// readMessageIDs makes the ids of the last window known from the log below end, also of
// messages that retention has dropped, and returns the id of its last message. It reads
// nothing but what is younger than the window. It may run on any goroutine.
func readMessageIDs(log actors.Log, end protocol.Offset, now int64, window time.Duration, limit int) (ids *messageIDs, last string, err error) {
	for {
		start := log.Start()
		ids, last, err = readIDsOnce(log, end, now, window, limit)
		if gone := (*protocol.RangeError)(nil); !errors.As(err, &gone) || start == log.Start() {
			return ids, last, err
		}
		// Retention was faster. What it dropped is among the ids of dropped messages now.
	}
}

func readIDsOnce(log actors.Log, end protocol.Offset, now int64, window time.Duration, limit int) (ids *messageIDs, last string, err error) {
	ids = newMessageIDs(window, limit)
	from := end
	if window > 0 {
		from, err = ids.learnGone(log, end, now)
	}
	if err != nil {
		return nil, "", err
	}
	if log.Start() < end {
		from = min(from, end-1) // the last message is wanted in any case
	}
	var buf []byte
	for err == nil && from < end {
		if buf, err = log.Read(buf[:0], from, end, 1<<20); err != nil {
			break
		}
		if len(buf) == 0 {
			err = actors.ErrNothingRead
		}
		for b := buf; len(b) > 0 && err == nil; {
			var h protocol.BatchHeader
			if h, err = protocol.ParseBatchHeader(b); err == nil {
				last, err = ids.learn(log, &h, b[:min(h.Length, len(b))])
				b, from = b[min(h.Length, len(b)):], h.Next()
			}
		}
	}
	if err != nil {
		return nil, "", err
	}
	ids.expire(now)
	ids.keep(end)
	return ids, last, nil
}

// learnGone takes the ids of the last window that are not in the log any more, and returns
// where those begin that are.
func (m *messageIDs) learnGone(log actors.Log, end protocol.Offset, now int64) (protocol.Offset, error) {
	begin := now - m.window.Milliseconds()
	// The place first: what retention drops after that, the read misses and says so.
	from, err := log.OffsetSince(begin, end)
	if err != nil {
		return 0, err
	}
	gone, err := log.GoneIDs()
	for _, g := range gone {
		if g.Appended > begin {
			m.add(g.ID, g.Offset, g.Appended)
		}
	}
	return from, err
}

// learn takes the ids of one batch and returns that of its last message. IDs
// count in the batches only that the broker makes of single messages.
func (m *messageIDs) learn(log actors.Log, h *protocol.BatchHeader, b []byte) (last string, err error) {
	if !h.MayHaveIDs(b) {
		return "", nil
	}
	for r, err := range protocol.DecodeRecords(h, b) {
		if err != nil {
			return "", err
		}
		if last, _ = r.Header(protocol.HeaderMsgID); last != "" {
			m.add(messageIDOf(last), r.Offset, log.AppendedAt(r.Offset, r.Time))
		}
	}
	return last, nil
}
