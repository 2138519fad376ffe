package core

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"metaq/actors/actorstest"
	"metaq/protocol"
)

// groupSim runs a group with members that are slow, crash, pause, repeat
// themselves and commit with old generations, and with a coordinator that
// restarts from its log. After each step it checks what must always hold.
type groupSim struct {
	pick    func(n int) int // chooses one of n
	bug     Bug
	now     time.Time
	core    *Group
	images  Images
	routes  map[string]Topic
	members map[string]*simMember
	named   int
	logged  int // bytes

	committed map[protocol.TopicPartition]protocol.Offset // highest that was answered
	lossy     *simLogs                                    // logs that lose their ends, or nil
	answers   map[any]any

	logs   map[protocol.TopicPartition][]time.Time // when each record was put
	floors map[string]map[protocol.TopicPartition]protocol.Offset
	begun  map[protocol.TopicPartition]bool // the group has an offset there
}

// simMember is a client as docs/groups.md describes it.
type simMember struct {
	id      string
	topics  []string
	view    protocol.GroupView
	working map[protocol.TopicPartition]protocol.Offset // next offset to process
	silent  bool                                        // paused or crashed
	heard   time.Time
}

const simSession = 3 * time.Second

func newGroupSim(pick func(int) int, bug Bug) *groupSim {
	s := &groupSim{
		pick: pick, bug: bug, now: time.UnixMilli(1_000_000), images: Images{}, members: map[string]*simMember{},
		routes:    map[string]Topic{"a": {IDs: actorstest.PartitionIDs(5)}, "b": {IDs: actorstest.PartitionIDs(2)}},
		committed: map[protocol.TopicPartition]protocol.Offset{}, logs: map[protocol.TopicPartition][]time.Time{},
		floors: map[string]map[protocol.TopicPartition]protocol.Offset{}, begun: map[protocol.TopicPartition]bool{},
	}
	s.restart()
	return s
}

func (s *groupSim) restart() {
	image := s.images["g"]
	if image == nil {
		image = &Image{}
	}
	s.core = New("g", image.Clone(), s.routes, s.now)
	s.core.Bug, s.core.Realign = s.bug, true
	for _, m := range s.members {
		m.heard = s.now
	}
	s.do(s.core.Settle(s.now))
	s.forget()
}

// do takes the effects of a step: it logs, and answers starts that are asked for.
func (s *groupSim) do(e Effects) {
	if s.answers == nil {
		s.answers = map[any]any{}
	}
	for {
		if e.Entry != nil {
			b, err := e.Entry.Encode(MaxEntry)
			if err != nil {
				panic(err)
			}
			s.logged += len(b)
			back, err := DecodeEntry(b)
			if err != nil {
				panic(err)
			}
			s.images.Apply(&back)
		}
		for _, a := range e.Answers {
			s.answers[a.To] = a.Value
		}
		for _, d := range e.Diverged {
			s.committed[d.At] = d.DivergedAt
		}
		for _, q := range e.Check {
			s.do(s.core.Placed(s.now, q, s.lineage(q.At), s.noLeader()))
		}
		if len(e.Resolve) == 0 {
			return
		}
		var next Effects
		for i, r := range e.Resolve {
			var err error
			if s.pick(5) == 0 {
				err = errors.New("no leader")
			}
			start := PlaceOf(r.Start, r.Since, s.lookUp(r))
			if s.lossy != nil {
				start = 0 // all of a log that loses its end is to be seen
			}
			f := s.core.Resolved(s.now, r, Place{Offset: start}, err)
			if i == 0 {
				next = f
				continue
			}
			if f.Entry != nil {
				b, _ := f.Entry.Encode(MaxEntry)
				back, _ := DecodeEntry(b)
				if next.Entry != nil {
					s.images.Apply(next.Entry)
				}
				next.Entry = &back
			}
			next.Answers = append(next.Answers, f.Answers...)
			next.Resolve = append(next.Resolve, f.Resolve...)
			next.Check = append(next.Check, f.Check...)
		}
		e = next
	}
}

// ask makes one request and returns its answer, or nil when it is parked.
func (s *groupSim) ask(step func(to any) Effects) any {
	to := new(int)
	s.do(step(to))
	return s.answers[to]
}

func (s *groupSim) step() error {
	live := s.alive()
	var m *simMember
	if len(live) > 0 {
		m = s.members[live[s.pick(len(live))]]
	}
	s.put()
	switch k := s.pick(20); {
	case k < 2 && len(s.members) < 6 || m == nil:
		s.join()
	case k < 3:
		s.do(s.core.Leave(s.now, protocol.GroupLeave{Member: m.id}, nil))
		delete(s.members, m.id)
	case k < 4:
		m.silent = true // its work goes on in the dark, but it is fenced by then
	case k < 5:
		s.restart()
	case k < 6:
		s.grow([]string{"b", "c"}[s.pick(2)])
	case k < 7:
		if err := s.remake(); err != nil {
			return err
		}
	case s.lossy != nil && k < 12:
		return s.lossyStep(m)
	case k < 10:
		return s.commit(m)
	case k < 12:
		return s.staleCommit(m)
	case k < 15:
		s.advance(time.Duration(s.pick(1200)) * time.Millisecond)
	default:
		s.beat(m)
	}
	return s.check()
}

// remake deletes topic b and makes it again, sometimes while the coordinator is away.
func (s *groupSim) remake() error {
	next := maps.Clone(s.routes)
	next["b"] = Topic{actorstest.PartitionIDs(1 + s.pick(4)), next["b"].Born + 1}
	s.routes = next
	if s.pick(2) == 0 {
		s.restart()
	} else {
		s.do(s.core.TopicsChanged(s.now, next))
	}
	for id := range s.members {
		if s.core.Members[id] == nil {
			delete(s.members, id) // the answer to its heartbeat says so
		}
	}
	maps.DeleteFunc(s.logs, func(at protocol.TopicPartition, _ []time.Time) bool { return at.Topic == "b" })
	if s.floors["b"] != nil {
		s.floors["b"] = map[protocol.TopicPartition]protocol.Offset{} // all that comes is to be seen
	}
	s.lossy.remake("b")
	maps.DeleteFunc(s.committed, func(at protocol.TopicPartition, _ protocol.Offset) bool { return at.Topic == "b" })
	for at, o := range s.images["g"].offsetsOrNone() {
		if at.Topic == "b" && o.Offset != 0 {
			return fmt.Errorf("the new topic begins at %d in %s", o.Offset, at)
		}
	}
	return nil
}

func (s *groupSim) alive() []string {
	var out []string
	for _, id := range slices.Sorted(maps.Keys(s.members)) {
		if !s.members[id].silent {
			out = append(out, id)
		}
	}
	return out
}

func (s *groupSim) join() {
	s.named++
	m := &simMember{id: fmt.Sprintf("m%d", s.named), working: map[protocol.TopicPartition]protocol.Offset{}}
	r := protocol.GroupJoin{Member: m.id, Topics: []string{"a"}, SessionMs: int(simSession.Milliseconds())}
	for _, t := range []string{"b", "c"} {
		if s.pick(3) > 0 {
			r.Topics = append(r.Topics, t)
		}
	}
	s.start(&r.Start)
	if err := r.Check(); err != nil {
		panic(err)
	}
	s.members[m.id], m.topics = m, r.Topics
	m.heard = s.now
	s.take(m, s.ask(func(to any) Effects { return s.core.Join(s.now, r, to) }))
}

// beat sends a heartbeat which confirms what is to be released.
func (s *groupSim) beat(m *simMember) {
	r := protocol.GroupHeartbeat{Member: m.id, Generation: m.view.Generation, Revision: m.view.Revision}
	for _, at := range m.view.Release {
		if s.pick(3) > 0 {
			delete(m.working, at)
			r.Released = append(r.Released, at)
		}
	}
	m.heard = s.now
	s.take(m, s.ask(func(to any) Effects { return s.core.Heartbeat(s.now, r, to) }))
}

// take carries out what an answer says.
func (s *groupSim) take(m *simMember, answer any) {
	switch v := answer.(type) {
	case protocol.GroupView:
		m.view = v
		s.told(m.topics)
		for _, p := range v.Assigned {
			if _, works := m.working[p.At()]; !works {
				m.working[p.At()] = p.Offset
				s.lossy.begins(m, &p)
			}
		}
	case error:
		delete(s.members, m.id) // no member any more: it stops at once
	}
}

func (s *groupSim) commit(m *simMember) error {
	r := protocol.GroupCommit{Member: m.id, Generation: m.view.Generation}
	for at := range m.working {
		m.working[at] += protocol.Offset(s.pick(3))
		r.Offsets = append(r.Offsets, protocol.GroupPosition{Topic: at.Topic, Partition: at.Partition, Offset: m.working[at]})
	}
	return s.judge(m, r)
}

// staleCommit commits what is not the member's to commit, or what is below.
func (s *groupSim) staleCommit(m *simMember) error {
	r := protocol.GroupCommit{Member: m.id, Generation: m.view.Generation - int64(s.pick(2))}
	at := protocol.TopicPartition{Topic: "a", Partition: protocol.PartitionID{N: s.pick(5)}}
	r.Offsets = []protocol.GroupPosition{{Topic: at.Topic, Partition: at.Partition, Offset: protocol.Offset(s.pick(3))}}
	if _, works := m.working[at]; works && r.Offsets[0].Offset > m.working[at] {
		m.working[at] = r.Offsets[0].Offset
	}
	return s.judge(m, r)
}

// judge says whether the answer to a commit is right, going by the log alone.
func (s *groupSim) judge(m *simMember, r protocol.GroupCommit) error {
	generation := s.core.generation
	if s.strays(r.Offsets) {
		return nil // refused, or by one who was put out
	}
	answer := s.ask(func(to any) Effects { return s.core.Commit(s.now, r, to) })
	if err, refused := answer.(error); refused {
		if errors.Is(err, protocol.ErrNoMember) {
			delete(s.members, m.id)
		}
		return nil
	}
	m.heard = s.now
	if r.Generation != generation {
		return fmt.Errorf("commit of generation %d was taken in %d", r.Generation, generation)
	}
	for _, o := range r.Offsets {
		s.begun[o.At()] = true // by its owner's word, before a start was found
		if _, works := m.working[o.At()]; !works {
			// It may own the partition and not have heard of it.
			if p := s.core.Parts[o.At()]; p.owner != m.id {
				return fmt.Errorf("commit of %s was taken from %s, owner is %q", o.At(), m.id, p.owner)
			}
		}
	}
	return nil
}

// advance lets time pass, with a tick whenever one is due.
func (s *groupSim) advance(d time.Duration) {
	for end := s.now.Add(d); ; {
		at, some := s.core.Due()
		if !some || at.After(end) {
			s.now = end
			return
		}
		if at.After(s.now) {
			s.now = at
		}
		s.do(s.core.Tick(s.now))
		if s.lossy != nil {
			s.forget() // a log that was compared again may have put its owner out
		}
		if again, some := s.core.Due(); some && !again.After(s.now) {
			panic("a tick left something that was due")
		}
		for id, m := range s.members {
			if !m.heard.Add(simSession).After(s.now) {
				delete(s.members, id) // it knows by itself that its session is over
			}
		}
	}
}

func (s *groupSim) check() error {
	owners := map[protocol.TopicPartition]string{}
	for _, id := range slices.Sorted(maps.Keys(s.members)) {
		for at := range s.members[id].working {
			if other, taken := owners[at]; taken {
				return fmt.Errorf("%s and %s both work on %s", other, id, at)
			}
			owners[at] = id
		}
	}
	for at, o := range s.images["g"].offsetsOrNone() {
		if o.Offset < s.committed[at] {
			return fmt.Errorf("committed offset of %s went back from %d to %d", at, s.committed[at], o.Offset)
		}
		s.committed[at] = o.Offset
	}
	size := 0
	for _, m := range s.core.Members {
		size += joinSize(&m.join)
	}
	if s.core.size != size {
		return fmt.Errorf("size is %d, members have %d", s.core.size, size)
	}
	// What a restart would know is what the group is.
	image := s.images["g"]
	if image != nil {
		got, _ := json.Marshal(image.State)
		want, _ := json.Marshal(s.state())
		if string(got) != string(want) {
			return fmt.Errorf("log has %s, group is %s", got, want)
		}
		for at, p := range s.core.Parts {
			if o, known := image.Offsets[at]; known != p.Known || o != (Place{p.Committed, p.epoch}) || image.Born[at.Topic] != s.core.Born[at.Topic] {
				return fmt.Errorf("log has %v, %v for %s of topic %d, group has %+v of topic %d",
					o, known, at, image.Born[at.Topic], *p, s.core.Born[at.Topic])
			}
		}
	}
	if image != nil {
		got, _ := json.Marshal(image.Begins)
		want, _ := json.Marshal(s.core.begins)
		if string(got) != string(want) {
			return fmt.Errorf("log has begins %s, group has %s", got, want)
		}
	}
	return s.checkStarts()
}

// state is what the log is to have of the group.
func (s *groupSim) state() State {
	c, out := s.core, State{Generation: s.core.generation, Strategy: s.core.strategy}
	for _, id := range slices.Sorted(maps.Keys(c.Members)) {
		out.Members = append(out.Members, c.Members[id].join)
	}
	for _, at := range c.Sorted() {
		if p := c.Parts[at]; p.owner != "" || p.target != "" {
			out.Partitions = append(out.Partitions, Holding{Topic: at.Topic, Partition: at.Partition, Owner: p.owner, Target: p.target})
		}
	}
	return out
}

func (m *Image) offsetsOrNone() map[protocol.TopicPartition]Place {
	if m == nil {
		return nil
	}
	return m.Offsets
}

// calm lets everybody beat until nothing moves, and says whether all partitions
// have come to a living member.
func (s *groupSim) calm() error {
	if len(s.alive()) == 0 {
		s.join()
	}
	for range 40 {
		for _, id := range s.alive() {
			if m := s.members[id]; m != nil {
				s.beat(m)
			}
		}
		s.advance(300 * time.Millisecond)
		if err := s.check(); err != nil {
			return err
		}
	}
	wanted := map[string]bool{}
	for id := range s.core.Members {
		m := s.members[id]
		if m == nil || m.silent {
			return fmt.Errorf("member %s is silent and still there", id)
		}
		for _, t := range s.core.Members[id].join.Topics {
			wanted[t] = true
		}
	}
	for t := range wanted {
		for _, id := range s.routes[t].IDs {
			at := protocol.TopicPartition{Topic: t, Partition: id}
			p := s.core.Parts[at]
			if p == nil || p.owner == "" || p.owner != p.target {
				return fmt.Errorf("%s has found no owner", at)
			}
			if _, works := s.members[p.owner].working[at]; !works {
				return fmt.Errorf("%s owns %s and does not work on it", p.owner, at)
			}
		}
	}
	return nil
}

func (s *groupSim) run(steps int) error {
	for range steps {
		if err := s.step(); err != nil {
			return err
		}
	}
	return s.calm()
}

func TestGroupKeepsItsPromisesWhateverMembersDo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newGroupSim(func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "pick") }, NoBug)
		if err := s.run(rapid.IntRange(1, 150).Draw(t, "steps")); err != nil {
			t.Fatal(err)
		}
	})
}

func TestPlantedGroupBugsAreCaught(t *testing.T) {
	for name, bug := range Bugs {
		if bug == NoBug {
			continue
		}
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(200) {
				r := rand.New(rand.NewPCG(seed, 1))
				s := newGroupSim(r.IntN, bug)
				if bug == trustOffsets {
					s = newLossySim(r.IntN, bug)
				}
				if err := s.run(200); err != nil {
					t.Logf("seed %d: %v", seed, err)
					return
				}
			}
			t.Fatal("200 runs did not notice it")
		})
	}
}
