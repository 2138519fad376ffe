package cluster

import (
	"maps"
	"time"

	"metaq/cluster/registry"
)

// leaseCore decides when this broker may act as coordinator of what it claimed, and when it
// may take over from another one. It is pure: time is told to it, and so is what is in the
// registry and what other brokers answer. docs/adr/0021-coordinators-hold-leases.md has the
// argument why no two brokers ever act as coordinator of one group.
//
// As holder it may act until `until`. That moment is moved by writing the lease record, or,
// while nobody sees the registry, by promises of all voters: the brokers that the record
// names. As voter it makes such promises, and consents to a take-over, never both at a time.
// As observer it measures how long another broker's record has stood still.
type leaseCore struct {
	self   int
	run    string        // this run of the broker; see leaseRecord.Holder
	length time.Duration // of the lease while there are voters
	alone  time.Duration // and when there have been none for that long
	began  time.Time     // when this run did
	lonely time.Time     // since when there have been no voters
	bug    leaseBug

	term    uint64 // of the claims that count: it grows when the lease was another's in between
	held    bool   // the record was ours in this term
	version registry.Version
	exists  bool // the record does
	sure    bool // the record has that version and is ours
	until   time.Time
	renewed time.Time      // when the last write that was confirmed was sent; zero: never
	voters  map[int]string // runs, by broker: of every record that may be in the registry
	// unvoted says that a record without voters may be: who takes over then asks nobody.
	unvoted bool

	promised  map[int]time.Time        // until when nobody takes over from a broker with our consent
	consented map[int]registry.Version // the highest version of a broker's record whose end we agreed to
	seen      map[int]seenLease
}

// seenLease is another broker's record, and since when it has stood still here.
type seenLease struct {
	record  leaseRecord
	version registry.Version
	since   time.Time
}

// leaseRecord is what nats/leases/<id> holds.
type leaseRecord struct {
	// Holder is the run of the broker that has the lease; blank when nobody has: the broker
	// has left in order, or another one took over from it.
	Holder string `json:"holder,omitempty"`
	Token  string `json:"token,omitempty"` // of the holder's data directory
	Ms     int64  `json:"ms,omitempty"`
	// With names the brokers, and their runs, without which the lease is not prolonged but by
	// another write: whoever takes over needs the consent of one of them.
	With map[int]string `json:"with,omitempty"`
}

// leaseBug is a bug that a test plants to prove that the simulation would catch it.
type leaseBug int

const (
	noLeaseBug       leaseBug = iota
	forgetLapse               // takes over without waiting for the lease's end
	forgetConsent             // takes over without the consent of a voter
	forgetPromise             // consents while a promise lasts
	forgetRestart             // consents right after a start, whatever the run before promised
	promiseAfterward          // promises though it has consented
	countFromAnswer           // a lease begins when its write is answered, not when it is sent
	someVoters                // one promise is enough
	oldVoters                 // the voters of a write of unknown outcome do not count
	keepTerm                  // claims count again after somebody else had the lease
	claimUnheld               // claims without a lease: others may claim the same before there is one
)

const (
	// promiseMost bounds a promise. A broker consents to nothing, and promises nothing, for
	// that long after its start: it has forgotten what the run before promised.
	promiseMost = 10 * time.Second
	// leaseSlack is what who waits for the end of a lease or promise adds to it, besides a
	// thirty-second for clocks that go at different speeds.
	leaseSlack = 100 * time.Millisecond
)

// outlast is how long to wait for the end of something that lasts d by another clock.
func outlast(d time.Duration) time.Duration { return d + d/32 + leaseSlack }

func newLeaseCore(self int, run string, length, alone time.Duration, now time.Time) *leaseCore {
	return &leaseCore{
		self: self, run: run, length: length, alone: max(alone, length), began: now, lonely: now, term: 1,
		voters: map[int]string{}, promised: map[int]time.Time{}, consented: map[int]registry.Version{}, seen: map[int]seenLease{},
	}
}

// passed reports whether t has come, by either of the clocks that a time.Time has: a machine
// that was suspended stops the monotonic one.
func passed(now, t time.Time) bool { return !now.Before(t) || !now.Round(0).Before(t.Round(0)) }

// holds reports whether claims of a term certainly count at this moment.
func (c *leaseCore) holds(now time.Time, term uint64) bool {
	return term == c.term && !passed(now, c.until)
}

// mayClaim reports whether a claim that begins now will count: what was claimed before the
// lease was written, others could claim without ending it.
func (c *leaseCore) mayClaim(now time.Time) bool {
	return c.bug == claimUnheld || c.holds(now, c.term)
}

// depose ends the term: somebody else could have claimed what is claimed here.
func (c *leaseCore) depose() {
	c.until, c.unvoted = time.Time{}, false
	clear(c.voters)
	if c.held && c.bug != keepTerm {
		c.term++
	}
	c.held = false
}

// found takes what the registry has as our record, or that it has none. It reports whether
// the record may be written now; otherwise another run has it, of another data directory, and
// the lease must be taken over like any broker's.
func (c *leaseCore) found(record *leaseRecord, version registry.Version, token string) bool {
	mine := record != nil && record.Holder == c.run
	if !mine || version < c.version { // a registry that was set back may have lost a take-over
		c.depose()
	}
	if c.version, c.exists, c.sure = version, record != nil, mine; mine {
		c.needs(record.With) // a write of unknown outcome
		return true
	}
	// Of the same data directory there is one process at a time: the one before has ended.
	return record == nil || record.Holder == "" || record.Token == token
}

// propose returns the record to write, with these brokers as voters, and their runs. Whether
// or not the write arrives, what it says holds from here on.
func (c *leaseCore) propose(now time.Time, token string, voters map[int]string) leaseRecord {
	length := c.length
	switch {
	case len(voters) > 0:
		c.lonely = now
	case now.Sub(c.lonely) >= c.alone: // whoever is not registered any more may be on its way back
		length = c.alone
	}
	if c.bug != oldVoters {
		c.needs(voters)
	}
	if end := now.Add(length); end.Before(c.until) {
		c.until = end
	}
	return leaseRecord{Holder: c.run, Token: token, Ms: length.Milliseconds(), With: voters}
}

// needs adds the voters of a record that may be in the registry, besides others.
func (c *leaseCore) needs(voters map[int]string) {
	for id, run := range voters {
		if was, known := c.voters[id]; known && was != run {
			run = "" // the earlier run may have consented, and the later one does not know
		}
		c.voters[id] = run
	}
	c.unvoted = c.unvoted || len(voters) == 0
}

// confirmed takes that a record was written. It was sent at the given time.
func (c *leaseCore) confirmed(sent time.Time, record leaseRecord, version registry.Version) {
	c.version, c.exists, c.sure, c.held, c.renewed = version, true, true, true, sent
	c.until = sent.Add(time.Duration(record.Ms) * time.Millisecond)
	c.voters, c.unvoted = maps.Clone(record.With), len(record.With) == 0
	if c.voters == nil {
		c.voters = map[int]string{}
	}
}

// unsure takes that nobody knows what became of a write.
func (c *leaseCore) unsure() { c.sure = false }

// sees reports whether the registry answered a little while ago.
func (c *leaseCore) sees(now time.Time) bool {
	return !c.renewed.IsZero() && now.Sub(c.renewed) <= c.length/2
}

// wanted returns whom to ask for a promise, and their runs; nil when there is no need, or
// nobody to ask.
func (c *leaseCore) wanted(now time.Time) map[int]string {
	if !c.held || c.unvoted || now.Sub(c.renewed) < c.length*3/8 {
		return nil
	}
	return maps.Clone(c.voters)
}

// prolonged takes that all of asked have promised, since a question sent at a time.
func (c *leaseCore) prolonged(sent time.Time, asked map[int]string, term uint64) {
	for id, run := range c.voters {
		if c.bug != someVoters && (run == "" || asked[id] != run) {
			return
		}
	}
	if ended, own := c.consented[c.self]; term != c.term || !c.held || c.unvoted || own && c.version <= ended {
		return
	}
	if end := sent.Add(c.promise()); end.After(c.until) {
		c.until = end
	}
}

// promise is how long a promise is to last.
func (c *leaseCore) promise() time.Duration { return min(c.length, promiseMost) }

// fresh reports whether the promises of the run before may last still.
func (c *leaseCore) fresh(now time.Time) bool {
	return c.bug != forgetRestart && now.Sub(c.began) < outlast(promiseMost)
}

// promiseTo promises a broker that nobody takes over, with our consent, from its record of
// that version or an older one. It refuses while the registry can be seen: then the broker's
// groups had better move.
func (c *leaseCore) promiseTo(now time.Time, broker int, version registry.Version, d time.Duration) bool {
	if v, ended := c.consented[broker]; ended && version <= v && c.bug != promiseAfterward {
		return false
	}
	if c.sees(now) || c.fresh(now) || d > promiseMost {
		return false
	}
	if end := now.Add(outlast(d)); end.After(c.promised[broker]) {
		c.promised[broker] = end
	}
	return true
}

// consent agrees to the end of a broker's lease, as its record of that version has it.
func (c *leaseCore) consent(now time.Time, broker int, version registry.Version) bool {
	switch {
	case broker == c.self && !passed(now, c.until):
		return false
	case c.bug == forgetPromise:
	case c.fresh(now) || now.Before(c.promised[broker]):
		return false
	}
	c.consented[broker] = max(c.consented[broker], version)
	return true
}

// observe takes another broker's record. The moment must not be before the reading's end.
func (c *leaseCore) observe(now time.Time, broker int, record leaseRecord, version registry.Version) {
	if s, known := c.seen[broker]; known && s.version == version && s.record.Holder == record.Holder {
		return
	}
	c.seen[broker] = seenLease{record, version, now}
}

// blind takes that the registry cannot be read. Once it can be again everybody has a whole
// lease to be heard of.
func (c *leaseCore) blind() { clear(c.seen) }

// lapsed reports whether a record has stood still for longer than its lease lasts.
func (c *leaseCore) lapsed(now time.Time, broker int, record leaseRecord, version registry.Version) bool {
	if c.bug == forgetLapse {
		return true
	}
	s, known := c.seen[broker]
	return known && s.version == version && s.record.Holder == record.Holder &&
		now.Sub(s.since) >= outlast(time.Duration(record.Ms)*time.Millisecond)
}

// agreed reports whether the lease may be ended with what this broker knows alone; whoever it
// returns otherwise has to be asked for consent: one of them is enough.
func (c *leaseCore) agreed(now time.Time, broker int, record leaseRecord, version registry.Version) (bool, map[int]string) {
	if len(record.With) == 0 || c.bug == forgetConsent {
		return true, nil
	}
	if _, votes := record.With[c.self]; votes && c.consent(now, broker, version) {
		return true, nil
	}
	ask := maps.Clone(record.With)
	delete(ask, c.self)
	ask[broker] = record.Holder
	return false, ask
}
