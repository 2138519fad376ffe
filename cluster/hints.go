package cluster

// watcher is who gets a hint: a channel, on behalf of a session.
type watcher struct {
	session any
	hint    chan<- struct{}
}

// watchSet holds the watches that have not been used up. The owner guards it.
type watchSet map[touched]map[watcher]struct{}

// add is idempotent.
func (s watchSet) add(t touched, w watcher) {
	if s[t] == nil {
		s[t] = make(map[watcher]struct{})
	}
	s[t][w] = struct{}{}
}

// touch hints and uses up every watch of the given changes.
func (s watchSet) touch(changes []touched) {
	for _, t := range changes {
		for w := range s[t] {
			offer(w.hint)
		}
		delete(s, t)
	}
}

// hintAll hints every watch and uses up none.
func (s watchSet) hintAll() {
	for _, watchers := range s {
		for w := range watchers {
			offer(w.hint)
		}
	}
}

// endSession hints and drops the watches of one session.
func (s watchSet) endSession(session any) {
	for t, watchers := range s {
		for w := range watchers {
			if w.session == session {
				offer(w.hint)
				delete(watchers, w)
			}
		}
		if len(watchers) == 0 {
			delete(s, t)
		}
	}
}

// drop takes one watcher back.
func (s watchSet) drop(t touched, w watcher) {
	delete(s[t], w)
	if len(s[t]) == 0 {
		delete(s, t)
	}
}
