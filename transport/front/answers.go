package front

// Answers sends many answers. As long as they are for one client, it is woken
// once. One goroutine uses it, between Begin and End.
type Answers struct {
	front *Front
	to    *conn  // of the last answer; its outbox is locked
	place string // the beginning of the places of to
}

// Begin comes first.
func (a *Answers) Begin(f *Front) { *a = Answers{front: f} }

// Add copies an answer. It does not wait for the client.
func (a *Answers) Add(reply string, data []byte) {
	c, sid, subject := a.to, "", ""
	if c == nil || len(reply) <= len(a.place) || reply[:len(a.place)] != a.place {
		a.End()
		if c, sid, subject = a.front.find(reply); c == nil {
			return
		}
		a.to, a.place = c, reply[:len(reply)-len(sid)-len(subject)-1]
		c.out.mu.Lock()
	} else {
		sid, subject = a.names(reply)
	}
	c.out.addLocked(sid, subject, data, nil)
}

// names takes apart what follows the client in a place.
func (a *Answers) names(reply string) (sid, subject string) {
	rest := reply[len(a.place):]
	for i := range len(rest) {
		if rest[i] == ' ' {
			return rest[:i], rest[i+1:]
		}
	}
	return rest, ""
}

// End lets the last client go. It may be called more than once.
func (a *Answers) End() {
	if a.to == nil {
		return
	}
	gone := a.to.out.closed
	a.to.out.signal()
	a.to.out.mu.Unlock()
	if gone {
		a.to.close()
	}
	a.to = nil
	a.front.relieve()
}
