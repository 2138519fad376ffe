package front

import (
	"container/list"
	"sync"
	"time"
)

// unfinished bounds the memory of messages of which a part has come. Who announces a large
// message and sends all but its last byte pins what was read of it for as long as the
// connection is open: a hundred connections pinned a hundred times the largest payload.
//
// At the limit a connection is not read until there is room. The message that began first
// does not wait, so that there is always one that can end; of the others the newest is served
// first, since the old ones are likely to be those that are held back. While others wait, a
// message whose client has had patience to send the rest is given up, and its client cut off;
// the time that it waited for room does not count. It is safe for concurrent use.
type unfinished struct {
	limit    int64 // bytes; 0: none
	patience time.Duration

	mu    sync.Mutex
	total int64         // guarded by mu
	all   list.List     // of *unfinishedMessage in the order in which they began; guarded by mu
	last  uint64        // number of the message that began last; guarded by mu
	queue list.List     // of those that wait, the one that began last first; guarded by mu
	freed chan struct{} // closed when one has ended; nil: nobody waits; guarded by mu
}

// unfinishedPatience is how long a client may take to send the rest of a message while others
// wait for room.
const unfinishedPatience = time.Second

// unfinishedMessage is one of them. Its fields are guarded by of.mu.
type unfinishedMessage struct {
	of      *unfinished
	cut     func() // ends its connection; it does not wait
	number  uint64 // in the order in which they began
	since   time.Time
	bytes   int64
	at      *list.Element // nil: it has ended, or was given up
	waiting *list.Element // in queue; nil: it does not wait
}

func (u *unfinished) init(limit int64) {
	u.limit, u.patience = limit, unfinishedPatience
}

// begin notes a message. End it when it is whole, or never will be.
func (u *unfinished) begin(cut func()) *unfinishedMessage {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.last++
	m := &unfinishedMessage{of: u, cut: cut, number: u.last, since: time.Now()}
	m.at = u.all.PushBack(m)
	return m
}

// growTo returns true when there is room for n bytes of the message. It waits for that, unless
// the message is the first. False means that its client was cut off.
func (m *unfinishedMessage) growTo(n int) bool {
	u := m.of
	u.mu.Lock()
	defer u.mu.Unlock()
	for m.at != nil && !m.mayGrowLocked(int64(n)-m.bytes) {
		if m.waiting == nil {
			m.joinLocked()
		}
		wait, cut := u.giveUpLocked()
		if cut != nil {
			u.mu.Unlock()
			cut()
			u.mu.Lock()
			continue
		}
		if u.freed == nil {
			u.freed = make(chan struct{})
		}
		freed := u.freed
		u.mu.Unlock()
		late := time.NewTimer(wait)
		select {
		case <-freed:
		case <-late.C:
		}
		late.Stop()
		u.mu.Lock()
	}
	if m.at == nil {
		return false
	}
	if m.waiting != nil {
		m.since = time.Now()
		m.leaveLocked()
	}
	u.total += int64(n) - m.bytes
	m.bytes = int64(n)
	return true
}

// mayGrowLocked reports whether n more bytes may be read now.
func (m *unfinishedMessage) mayGrowLocked(n int64) bool {
	u := m.of
	switch {
	case u.limit == 0, u.all.Front() == m.at:
		return true
	case m.waiting != nil && u.queue.Front() != m.waiting:
		return false // it is another one's turn
	default:
		return u.total+n <= u.limit
	}
}

// joinLocked puts a message into the queue.
func (m *unfinishedMessage) joinLocked() {
	for e := m.of.queue.Front(); e != nil; e = e.Next() {
		if other := e.Value.(*unfinishedMessage); other.number < m.number { //nolint:forcetypeassert // the list's only type
			m.waiting = m.of.queue.InsertBefore(m, e)
			return
		}
	}
	m.waiting = m.of.queue.PushBack(m)
}

// leaveLocked takes a message out of the queue, so that it is the next one's turn.
func (m *unfinishedMessage) leaveLocked() {
	if m.waiting != nil {
		m.of.queue.Remove(m.waiting)
		m.waiting = nil
		m.of.wakeLocked()
	}
}

// wakeLocked lets all that wait look again.
func (u *unfinished) wakeLocked() {
	if u.freed != nil {
		close(u.freed)
		u.freed = nil
	}
}

// giveUpLocked gives up the first message whose time is over and returns what cuts its client
// off; or, when there is none, how long to wait before the next look.
func (u *unfinished) giveUpLocked() (wait time.Duration, cut func()) {
	wait = u.patience
	for e := u.all.Front(); e != nil; e = e.Next() {
		m := e.Value.(*unfinishedMessage) //nolint:forcetypeassert // the list's only type
		if m.waiting != nil || m.bytes == 0 {
			continue
		}
		left := u.patience - time.Since(m.since)
		if left <= 0 {
			m.endLocked()
			return 0, m.cut
		}
		wait = min(wait, left)
	}
	return wait, nil
}

// end forgets the message: it is whole and counts elsewhere, or its connection has ended.
func (m *unfinishedMessage) end() {
	m.of.mu.Lock()
	defer m.of.mu.Unlock()
	m.endLocked()
}

func (m *unfinishedMessage) endLocked() {
	if m.at == nil {
		return
	}
	u := m.of
	u.all.Remove(m.at)
	u.total -= m.bytes
	m.at = nil
	m.leaveLocked()
	u.wakeLocked()
}

// Unfinished is the number of bytes of messages of which a part has come.
func (f *Front) Unfinished() int64 {
	f.unfinished.mu.Lock()
	defer f.unfinished.mu.Unlock()
	return f.unfinished.total
}

// unfinished notes a message of which a part has come.
func (c *conn) unfinished() *unfinishedMessage {
	return c.front.unfinished.begin(func() {
		c.front.cutOff.Add(1)
		c.front.told(c.socket, "cut off: it does not send the rest of a large message while others wait for room")
		c.close()
	})
}
