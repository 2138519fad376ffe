package front

// Outbound is about the bytes that wait for all clients, as far as they count: of each the
// last 64 KiB may be missing. RefusedSubs is the number of subscriptions that were too many.
func (f *Front) Outbound() int64 { return f.outbound.Load() }

// RefusedSubs is explained at Outbound.
func (f *Front) RefusedSubs() int64 { return f.refusedSub.Load() }

// relieve cuts off those for whom most waits until less than the limit waits for all. It is
// called after something was added, with no outbox locked.
func (f *Front) relieve() {
	most := f.opts.MaxOutbound - f.opts.MaxOutbound/8 // what is being read for others comes on top
	if most == 0 || f.outbound.Load() <= most || !f.relieving.TryLock() {
		return // who has the lock looks for itself
	}
	defer f.relieving.Unlock()
	for f.outbound.Load() > most {
		c := f.largest()
		if c == nil {
			return
		}
		c.out.over.Store(true)
		c.out.close() // from here on nothing of it counts, whoever else is closing it
		c.close()
	}
}

// largest returns the client for which most waits; nil when nothing is counted.
func (f *Front) largest() (largest *conn) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	most := int64(0)
	for _, c := range f.conns {
		if n := c.out.noted.Load(); n > most && !c.out.over.Load() {
			largest, most = c, n
		}
	}
	return largest
}
