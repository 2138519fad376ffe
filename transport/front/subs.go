package front

import (
	"bytes"
	"strings"
	"sync"
	"sync/atomic"
)

// subscription is what a client wants to hear.
type subscription struct {
	subject string
	plain   bool // no queue group, no end after some messages
	watches bool // it is counted in front.watchers
	left    int  // messages until it ends; 0: that is not known, or it does not end
	ends    bool // it ends, or has ended, after some messages
}

// subs are a connection's subscriptions. Its inbound goroutine uses them; what the server
// sends is counted by another one.
type subs struct {
	front   *Front
	limited atomic.Int64 // subscriptions that end by themselves

	mu    sync.Mutex // guards bySid
	bySid map[string]subscription
	// The last inbox whose answers were found to go to one subscription, since
	// libraries have one for all their requests.
	inbox []byte // with its final dot; empty when it is not known
	sid   string
}

// manySubs is where the search for the one that wants an answer ends: the server
// has better means.
const manySubs = 1024

// maxTokens is how many tokens the subject of a subscription may have. The server keeps a
// node of a tree for each.
const maxTokens = 32

// filed says what became of the subscription of a SUB line.
type filed int

const (
	noLine  filed = iota // it is not a SUB line
	invalid              // its subject is none
	passed               // the server has to know
)

// add notes the subscription of a SUB line. Of two with one sid the server keeps the first,
// unless that has ended: of one that ends after some messages only the server knows when, so
// then both may be there, and answers that either may want are the server's to deliver.
func (s *subs) add(line []byte) filed {
	var f fields
	if ok := f.split(line); !ok || f.n < 2 || f.n > 3 {
		return noLine
	}
	if !validFilter(f.all[0]) {
		return invalid
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bySid == nil {
		s.bySid = make(map[string]subscription)
	}
	sid, is := string(f.all[f.n-1]), subscription{subject: string(f.all[0]), plain: f.n == 2}
	before, taken := s.bySid[sid]
	if most := s.front.opts.MaxSubs; most > 0 && !taken && len(s.bySid) >= most ||
		strings.Count(is.subject, ".") >= maxTokens {
		s.front.refusedSub.Add(1) // the server says so
		return passed
	}
	is.watches = before.watches || s.front.watches(is.subject)
	switch {
	case taken && !before.ends:
		return passed
	case taken:
		is.subject, is.plain, is.ends = ">", false, true
	}
	s.setLocked(sid, is)
	s.inbox = s.inbox[:0]
	return passed
}

// setLocked replaces what is known of a sid; the empty subscription forgets it.
func (s *subs) setLocked(sid string, is subscription) {
	was := s.bySid[sid]
	s.front.watchers.Add(one(is.watches) - one(was.watches))
	s.limited.Add(one(is.left > 0) - one(was.left > 0))
	if is == (subscription{}) {
		delete(s.bySid, sid)
	} else {
		s.bySid[sid] = is
	}
}

// one counts what is.
func one(is bool) int64 {
	if is {
		return 1
	}
	return 0
}

// end forgets all, when the client has gone.
func (s *subs) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for sid := range s.bySid {
		s.setLocked(sid, subscription{})
	}
}

// remove forgets the subscription of an UNSUB line, or notes after how many messages it
// ends; ok is false when the line is none.
func (s *subs) remove(line []byte) (ok bool) {
	var f fields
	if ok := f.split(line); !ok || f.n < 1 || f.n > 2 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inbox = s.inbox[:0]
	sid := string(f.all[0])
	is, found := s.bySid[sid]
	if left := number(f.all[1], maxCount); found && f.n > 1 && left > 0 {
		is.plain, is.ends, is.left = false, true, left
		s.setLocked(sid, is)
	} else {
		s.setLocked(sid, subscription{})
	}
	return true
}

// maxCount is above each number of messages that is understood.
const maxCount = 1 << 30

// delivered takes the line of a message from the server. Of those before UNSUB the server
// alone knows: it may end a subscription earlier than is known here.
func (s *subs) delivered(line []byte) {
	if s == nil || s.limited.Load() == 0 {
		return
	}
	var f fields
	f.split(line)
	s.mu.Lock()
	defer s.mu.Unlock()
	sid := string(f.all[1])
	switch is := s.bySid[sid]; is.left {
	case 0: // no end is known
	case 1:
		s.setLocked(sid, subscription{})
	default:
		is.left--
		s.setLocked(sid, is)
	}
}

// wants returns the one plain subscription that a message to reply goes to; ok is
// false when there is none, another kind, or more than one.
func (s *subs) wants(reply []byte) (sid string, ok bool) {
	dot := bytes.LastIndexByte(reply, '.')
	if inbox := reply[:dot+1]; len(s.inbox) > 0 && bytes.Equal(s.inbox, inbox) {
		return s.sid, true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.bySid) > manySubs {
		return "", false
	}
	text, cacheable := string(reply), true
	found := 0
	var by subscription
	for id, is := range s.bySid {
		if matches(is.subject, text) {
			found++
			sid, by = id, is
		} else if matches(is.subject[:strings.LastIndexByte(is.subject, '.')+1]+"*", text) {
			cacheable = false // another answer to this inbox may go to it, too
		}
	}
	if found != 1 || !by.plain {
		return "", false
	}
	if last := by.subject[strings.LastIndexByte(by.subject, '.')+1:]; cacheable && last == "*" && dot > 0 {
		s.inbox, s.sid = append(s.inbox[:0], reply[:dot+1]...), sid
	}
	return sid, true
}

// matches says whether a subject falls under a filter with wildcards.
func matches(filter, subject string) bool {
	for {
		f, restF, moreF := strings.Cut(filter, ".")
		t, restT, moreT := strings.Cut(subject, ".")
		switch {
		case f == ">":
			return t != "" && !moreF
		case f != "*" && f != t, t == "":
			return false
		case !moreF || !moreT:
			return moreF == moreT
		}
		filter, subject = restF, restT
	}
}

// overlap says whether a subject can fall under both filters.
func overlap(a, b string) bool {
	for {
		f, restF, moreF := strings.Cut(a, ".")
		t, restT, moreT := strings.Cut(b, ".")
		switch {
		case f == ">", t == ">":
			return true
		case f != "*" && t != "*" && f != t:
			return false
		case !moreF || !moreT:
			return moreF == moreT
		}
		a, b = restF, restT
	}
}
