package front

import (
	"bytes"
	"strings"
	"sync/atomic"
	"time"
)

// Most clients only ask the broker: all that they subscribe to is their inbox, whose answers
// the front gives them itself. Such a client needs no connection to the server, which would
// cost more than all the rest of it. So the front parks its subscriptions, and passes them on
// with the first thing that it says to other clients, or when somebody else says something to
// its inbox. That may be another client of the front, or the broker, and the front sees both;
// where other servers are connected, nobody is parked.

const (
	inboxPrefix = "_INBOX."
	// mostParked bounds the lines that are parked for a client.
	mostParked = 1 << 10
	// tendEvery is how often a parked client is asked whether it is there, and mostPings how
	// many times it may leave that unanswered, as with the server.
	tendEvery = 2 * time.Minute
	mostPings = 2
)

// parked is what is known of a client without a connection to the server.
type parked struct {
	lines   []byte   // SUB and UNSUB, as it said them; guarded by conn.mu
	inboxes []string // under which front.parked finds it; guarded by conn.mu
	pings   atomic.Int32
}

// inboxOf returns the inbox that a subject or filter belongs to: its first two tokens; "" when
// it belongs to none.
func inboxOf(subject []byte) string {
	if !bytes.HasPrefix(subject, []byte(inboxPrefix)) {
		return ""
	}
	rest := subject[len(inboxPrefix):]
	if dot := bytes.IndexByte(rest, '.'); dot >= 0 {
		rest = rest[:dot]
	}
	if len(rest) == 0 || len(rest) == 1 && (rest[0] == '*' || rest[0] == '>') {
		return ""
	}
	return string(subject[:len(inboxPrefix)+len(rest)])
}

// park keeps a SUB or UNSUB line of a client that is parked, and reports whether it did.
func (c *conn) park(o op, line []byte) bool {
	if !c.front.opts.Park || c.server.Load() != nil {
		return false
	}
	var f fields
	inbox := ""
	if f.split(line); o == opSub {
		if inbox = inboxOf(f.all[0]); inbox == "" || f.n > 2 {
			return false
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server.Load() != nil || len(c.parked.lines)+len(line) > mostParked {
		return false
	}
	if inbox != "" {
		other, there := c.front.inboxes.LoadOrStore(inbox, c)
		switch {
		case !there:
			c.parked.inboxes = append(c.parked.inboxes, inbox)
		case other != c: // two clients with one inbox: the other one is found by it
			return false
		}
	}
	c.parked.lines = append(c.parked.lines, line...)
	return true
}

// leaveParkLocked forgets what was parked.
func (c *conn) leaveParkLocked() {
	for _, inbox := range c.parked.inboxes {
		c.front.inboxes.CompareAndDelete(inbox, c)
	}
	c.parked.lines, c.parked.inboxes = nil, nil
}

// Wake connects the client to the server whose parked inbox a subject belongs to. It comes
// before a message to that subject.
func (f *Front) Wake(subject string) {
	if f.opts.Park && strings.HasPrefix(subject, inboxPrefix) {
		f.wake(inboxOf([]byte(subject)))
	}
}

func (f *Front) wake(inbox string) {
	if c, there := f.inboxes.Load(inbox); there {
		_, _ = c.(*conn).link() //nolint:forcetypeassert // what fails ends that client
	}
}

// tend asks parked clients whether they are still there.
func (f *Front) tend(every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-f.done:
			return
		case <-tick.C:
		}
		f.askParked()
	}
}

func (f *Front) askParked() {
	var all []*conn
	f.mu.RLock()
	for _, c := range f.conns {
		if c.greeted.Load() && c.server.Load() == nil {
			all = append(all, c)
		}
	}
	f.mu.RUnlock()
	for _, c := range all {
		if c.parked.pings.Add(1) > mostPings {
			c.out.say("-ERR 'Stale Connection'\r\n")
			c.out.end()
			continue
		}
		c.out.say("PING\r\n")
	}
}
