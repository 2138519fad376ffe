package cluster

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"metaq/cluster/registry"
)

// leaseSim runs the leases of a few brokers over a registry that some of them cannot reach at
// times, or whose answers do not come. Clocks differ by up to one in a hundred, brokers
// freeze, die and come back with nothing in memory, messages take any time and get lost.
// After each event at most one broker may be sure that it coordinates the group.
type leaseSim struct {
	rng     *rand.Rand
	bug     leaseBug
	now     time.Duration // true time
	events  []simEvent
	order   uint64
	brokers []*simBroker
	// The registry.
	records map[int]*simRecord
	group   simGroup
	claims  int // take-overs
}

type simRecord struct {
	leaseRecord
	version registry.Version
}

type simGroup struct {
	leader  int
	version registry.Version
}

type simEvent struct {
	at    time.Duration
	order uint64
	do    func()
}

type simBroker struct {
	id      int
	core    *leaseCore
	rate    float64       // of its clock
	zero    time.Duration // what its clock shows at the beginning
	cut     bool          // from the registry
	frozen  time.Duration // until
	life    int           // counts its runs
	writing bool          // the lease
	claimed bool          // the group, in term
	term    uint64
}

const (
	simLease = 4 * time.Second
	simAlone = 12 * time.Second
)

func newLeaseSim(seed uint64, bug leaseBug) *leaseSim {
	s := &leaseSim{rng: rand.New(rand.NewPCG(seed, 1)), bug: bug, records: map[int]*simRecord{}, group: simGroup{leader: NoLeader}}
	for id := range 2 + s.rng.IntN(3) {
		b := &simBroker{id: id, rate: 1 + (s.rng.Float64()-0.5)/50, zero: time.Duration(s.rng.IntN(1000)) * time.Hour}
		s.brokers = append(s.brokers, b)
		s.boot(b)
	}
	return s
}

// clock is what a broker's clock shows; nothing is taken over from another run but that.
func (s *leaseSim) clock(b *simBroker) time.Time {
	return time.Unix(0, 0).Add(b.zero + time.Duration(float64(s.now)*b.rate))
}

func (s *leaseSim) after(d time.Duration, do func()) {
	s.order++
	s.events = append(s.events, simEvent{s.now + d, s.order, do})
}

// on does something at a broker after a delay, unless that run has died; a frozen one does it
// when it thaws.
func (s *leaseSim) on(b *simBroker, d time.Duration, do func()) {
	life := b.life
	var run func()
	run = func() {
		switch {
		case b.life != life:
		case b.frozen > s.now:
			s.after(b.frozen-s.now, run)
		default:
			do()
		}
	}
	s.after(d, run)
}

// delay is how long a message takes: mostly little, now and then very long.
func (s *leaseSim) delay() time.Duration {
	if s.rng.IntN(20) == 0 {
		return time.Duration(s.rng.IntN(8000)) * time.Millisecond
	}
	return time.Duration(s.rng.IntN(50)) * time.Millisecond
}

func (s *leaseSim) boot(b *simBroker) {
	b.life++
	b.claimed, b.writing = false, false
	b.core = newLeaseCore(b.id, fmt.Sprintf("%d-%d", b.id, b.life), simLease, simAlone, s.clock(b))
	b.core.bug = s.bug
	s.renew(b)
	s.prolong(b)
	s.want(b)
}

func (s *leaseSim) every(b *simBroker, d time.Duration, do func(*simBroker)) {
	s.on(b, d*9/10+time.Duration(s.rng.Int64N(int64(d/5))), func() { do(b) })
}

// multi sends a write to the registry: it may arrive late, or not at all, and so may its
// answer, and then nobody knows.
func (s *leaseSim) multi(b *simBroker, write func() bool, answer func(done, known bool)) {
	answered := false
	reply := func(done, known bool) {
		if !answered {
			answered = true
			answer(done, known)
		}
	}
	s.on(b, simLease/2, func() { reply(false, false) })
	s.after(s.delay(), func() {
		if b.cut || s.rng.IntN(30) == 0 {
			return
		}
		done := write()
		if s.rng.IntN(30) > 0 && !b.cut {
			s.on(b, s.delay(), func() { reply(done, true) })
		}
	})
}

func (s *leaseSim) renew(b *simBroker) {
	s.every(b, simLease/4, s.renew)
	if b.writing {
		return // one write at a time
	}
	if b.cut {
		if !b.core.sees(s.clock(b)) {
			b.core.blind()
		}
		return
	}
	voters := map[int]string{}
	for id, r := range s.records {
		if id != b.id {
			b.core.observe(s.clock(b), id, r.leaseRecord, r.version)
			if s.rng.IntN(10) > 0 { // not every one is registered at each moment
				voters[id] = r.Holder
			}
		}
	}
	if !b.core.sure {
		var record *leaseRecord
		var version registry.Version
		if r := s.records[b.id]; r != nil {
			record, version = &r.leaseRecord, r.version
		}
		if !b.core.found(record, version, "token") {
			panic("another data directory")
		}
	}
	sent := s.clock(b)
	record := b.core.propose(sent, "token", voters)
	version, exists := b.core.version, b.core.exists
	b.writing = true
	s.multi(b, func() bool {
		r := s.records[b.id]
		switch {
		case !exists && r == nil:
			s.records[b.id] = &simRecord{record, 0}
		case exists && r != nil && r.version == version:
			s.records[b.id] = &simRecord{record, version + 1}
		default:
			return false
		}
		return true
	}, func(done, known bool) {
		b.writing = false
		switch {
		case !done || !known:
			b.core.unsure()
		default:
			if s.bug == countFromAnswer {
				sent = s.clock(b)
			}
			next := registry.Version(0)
			if exists {
				next = version + 1
			}
			b.core.confirmed(sent, record, next)
		}
	})
}

func (s *leaseSim) prolong(b *simBroker) {
	s.every(b, simLease/8, s.prolong)
	sent := s.clock(b)
	whom, term := b.core.wanted(sent), b.core.term
	version, granted := b.core.version, map[int]string{}
	for id, run := range whom {
		v := s.brokers[id]
		s.on(v, s.delay(), func() {
			if v.core.run == run && v.core.promiseTo(s.clock(v), b.id, version, b.core.promise()) {
				s.on(b, s.delay(), func() {
					if granted[id] = run; len(granted) == len(whom) || s.bug == someVoters {
						b.core.prolonged(sent, granted, term)
					}
				})
			}
		})
	}
}

// want claims the group, now and then, when another broker has it, or nobody.
func (s *leaseSim) want(b *simBroker) {
	s.every(b, simLease/8, s.want)
	if b.cut || !b.core.mayClaim(s.clock(b)) || b.claimed && b.core.holds(s.clock(b), b.term) {
		return
	}
	group, term := s.group, b.core.term
	claim := func(write func() bool) {
		s.multi(b, func() bool {
			if s.group != group || !write() {
				return false
			}
			s.group = simGroup{b.id, group.version + 1}
			if group.leader != NoLeader && group.leader != b.id {
				s.claims++
			}
			return true
		}, func(done, known bool) { b.claimed, b.term = done && known, term })
	}
	r := s.records[group.leader]
	if group.leader == NoLeader || group.leader == b.id || r == nil {
		claim(func() bool { return true })
		return
	}
	was := *r
	b.core.observe(s.clock(b), group.leader, was.leaseRecord, was.version)
	same := func() bool { return s.records[group.leader].version == was.version }
	end := func() bool {
		if same() {
			s.records[group.leader] = &simRecord{version: was.version + 1}
			return true
		}
		return false
	}
	switch {
	case was.Holder == "":
		claim(same)
	case b.core.lapsed(s.clock(b), group.leader, was.leaseRecord, was.version):
		ok, ask := b.core.agreed(s.clock(b), group.leader, was.leaseRecord, was.version)
		if ok {
			claim(end)
			return
		}
		for id := range ask {
			v := s.brokers[id]
			s.on(v, s.delay(), func() {
				if v.core.consent(s.clock(v), group.leader, was.version) {
					s.on(b, s.delay(), func() { claim(end) })
				}
			})
		}
	}
}

// trouble makes or heals a fault.
func (s *leaseSim) trouble() {
	b := s.brokers[s.rng.IntN(len(s.brokers))]
	switch k := s.rng.IntN(12); {
	case k < 4:
		b.cut = !b.cut
	case k < 5:
		for _, b := range s.brokers {
			b.cut = true
		}
	case k < 7:
		for _, b := range s.brokers {
			b.cut = false
		}
	case k < 9:
		b.frozen = s.now + time.Duration(s.rng.IntN(15000))*time.Millisecond
	case k < 10:
		b.frozen = 0
		s.boot(b)
	}
	s.after(time.Duration(s.rng.IntN(6000))*time.Millisecond, s.trouble)
}

// run returns what went wrong.
func (s *leaseSim) run(until time.Duration) error {
	s.after(time.Second, s.trouble)
	for s.now < until {
		next := slices.MinFunc(s.events, func(a, b simEvent) int {
			if a.at != b.at {
				return int(a.at - b.at)
			}
			return int(a.order) - int(b.order)
		})
		s.events = slices.DeleteFunc(s.events, func(e simEvent) bool { return e.order == next.order })
		s.now = next.at
		next.do()
		var sure []int
		for _, b := range s.brokers {
			if b.claimed && b.core.holds(s.clock(b), b.term) {
				sure = append(sure, b.id)
			}
		}
		if len(sure) > 1 {
			return fmt.Errorf("after %s brokers %v coordinate the group at the same time", s.now, sure)
		}
	}
	return nil
}

// No two brokers are sure at the same time that they coordinate a group, whatever happens.
func TestNoTwoBrokersHoldOneGroup(t *testing.T) {
	const seeds = 300
	claims := 0
	for seed := range uint64(seeds) {
		s := newLeaseSim(seed, noLeaseBug)
		if err := s.run(3 * time.Minute); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		claims += s.claims
	}
	if claims < seeds {
		t.Errorf("%d take-overs only: the simulation tries too little", claims)
	}
}

// Each rule is needed: without it the simulation finds two coordinators.
func TestTheSimulationSeesPlantedLeaseBugs(t *testing.T) {
	bugs := map[string]leaseBug{
		"forget the lapse": forgetLapse, "forget the consent": forgetConsent, "forget the promise": forgetPromise,
		"forget the restart": forgetRestart, "promise afterwards": promiseAfterward, "count from the answer": countFromAnswer,
		"some voters": someVoters, "old voters": oldVoters, "keep the term": keepTerm,
		"claim without a lease": claimUnheld,
	}
	for _, name := range slices.Sorted(maps.Keys(bugs)) {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(4000) {
				if newLeaseSim(seed, bugs[name]).run(3*time.Minute) != nil {
					return
				}
			}
			t.Error("not found")
		})
	}
}
