package front

import (
	"bytes"
	"strings"
)

// subscription is what a client wants to hear.
type subscription struct {
	subject string
	plain   bool // no queue group, no end after some messages
	watches bool // it is counted in front.watchers
}

// subs are a connection's subscriptions. Only its inbound goroutine uses them.
type subs struct {
	bySid map[string]subscription
	// The last inbox whose answers were found to go to one subscription, since
	// libraries have one for all their requests.
	inbox []byte // with its final dot; empty when it is not known
	sid   string
}

// manySubs is where the search for the one that wants an answer ends: the server
// has better means.
const manySubs = 64

// add notes the subscription of a SUB line; ok is false when it is none. It is not
// fresh when its sid was taken: which of the two is there then, the server knows.
func (s *subs) add(to *Front, line []byte) (fresh, ok bool) {
	f, ok := split(line)
	if !ok || f.n < 2 || f.n > 3 {
		return false, false
	}
	if s.bySid == nil {
		s.bySid = make(map[string]subscription)
	}
	sid, is := string(f.all[f.n-1]), subscription{subject: string(f.all[0]), plain: f.n == 2}
	before, taken := s.bySid[sid]
	is.watches = before.watches || to.watches(is.subject)
	if is.watches && !before.watches {
		to.watchers.Add(1)
	}
	s.bySid[sid] = is
	s.inbox = s.inbox[:0]
	return !taken, true
}

// drop forgets a subscription.
func (s *subs) drop(from *Front, sid string) {
	if s.bySid[sid].watches {
		from.watchers.Add(-1)
	}
	delete(s.bySid, sid)
}

// end forgets all, when the client has gone.
func (s *subs) end(from *Front) {
	for sid := range s.bySid {
		s.drop(from, sid)
	}
}

// remove forgets the subscription of an UNSUB line; ok is false when it is none.
func (s *subs) remove(from *Front, line []byte) (ok bool) {
	f, ok := split(line)
	if !ok || f.n < 1 || f.n > 2 {
		return false
	}
	sid := string(f.all[0])
	if is, found := s.bySid[sid]; found && f.n > 1 {
		is.plain = false // it ends after some messages, which the server counts
		s.bySid[sid] = is
	} else {
		s.drop(from, sid)
	}
	s.inbox = s.inbox[:0]
	return true
}

// wants returns the one plain subscription that a message to reply goes to; ok is
// false when there is none, another kind, or more than one.
func (s *subs) wants(reply []byte) (sid string, ok bool) {
	dot := bytes.LastIndexByte(reply, '.')
	if inbox := reply[:dot+1]; len(s.inbox) > 0 && bytes.Equal(s.inbox, inbox) {
		return s.sid, true
	}
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
