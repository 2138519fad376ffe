package registry

// Change is what a change tells the watchers.
type Change struct {
	Kind WatchKind
	Path string
}

// Watcher is who gets a hint: a channel, on behalf of a session.
type Watcher struct {
	Session any
	Hint    chan<- struct{}
}

// WatchSet holds the watches that have not been used up. The owner guards it.
type WatchSet map[Change]map[Watcher]struct{}

// Add is idempotent.
func (s WatchSet) Add(t Change, w Watcher) {
	if s[t] == nil {
		s[t] = make(map[Watcher]struct{})
	}
	s[t][w] = struct{}{}
}

// Touch hints and uses up every watch of the given changes.
func (s WatchSet) Touch(changes []Change) {
	for _, t := range changes {
		for w := range s[t] {
			Offer(w.Hint)
		}
		delete(s, t)
	}
}

// HintAll hints every watch and uses up none.
func (s WatchSet) HintAll() {
	for _, watchers := range s {
		for w := range watchers {
			Offer(w.Hint)
		}
	}
}

// EndSession hints and drops the watches of one session.
func (s WatchSet) EndSession(session any) {
	for t, watchers := range s {
		for w := range watchers {
			if w.Session == session {
				Offer(w.Hint)
				delete(watchers, w)
			}
		}
		if len(watchers) == 0 {
			delete(s, t)
		}
	}
}

// Drop takes one watcher back.
func (s WatchSet) Drop(t Change, w Watcher) {
	delete(s[t], w)
	if len(s[t]) == 0 {
		delete(s, t)
	}
}
