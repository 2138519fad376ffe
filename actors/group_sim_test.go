package actors

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

	"metaq/protocol"
)

// groupSim runs a group with members that are slow, crash, pause, repeat
// themselves and commit with old generations, and with a coordinator that
// restarts from its log. After each step it checks what must always hold.
type groupSim struct {
	pick    func(n int) int // chooses one of n
	bug     groupBug
	now     time.Time
	core    *groupCore
	images  groupImages
	routes  map[string]groupTopic
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

func newGroupSim(pick func(int) int, bug groupBug) *groupSim {
	s := &groupSim{
		pick: pick, bug: bug, now: time.UnixMilli(1_000_000), images: groupImages{}, members: map[string]*simMember{},
		routes:    map[string]groupTopic{"a": {ids: partitionIDs(5)}, "b": {ids: partitionIDs(2)}},
		committed: map[protocol.TopicPartition]protocol.Offset{}, logs: map[protocol.TopicPartition][]time.Time{},
		floors: map[string]map[protocol.TopicPartition]protocol.Offset{}, begun: map[protocol.TopicPartition]bool{},
	}
	s.restart()
	return s
}

func partitionIDs(n int) []protocol.PartitionID {
	var out []protocol.PartitionID
	for i := range n {
		out = append(out, protocol.PartitionID{N: i})
	}
	return out
}

func (s *groupSim) restart() {
	image := s.images["g"]
	if image == nil {
		image = &groupImage{}
	}
	s.core = newGroupCore("g", image.clone(), s.routes, s.now)
	s.core.bug, s.core.realign = s.bug, true
	for _, m := range s.members {
		m.heard = s.now
	}
	s.do(s.core.settle(s.now))
	s.forget()
}

// do takes the effects of a step: it logs, and answers starts that are asked for.
func (s *groupSim) do(e groupEffects) {
	if s.answers == nil {
		s.answers = map[any]any{}
	}
	for {
		if e.entry != nil {
			b, err := e.entry.encode(maxGroupEntry)
			if err != nil {
				panic(err)
			}
			s.logged += len(b)
			back, err := decodeGroupEntry(b)
			if err != nil {
				panic(err)
			}
			s.images.apply(&back)
		}
		for _, a := range e.answers {
			s.answers[a.to] = a.value
		}
		for _, d := range e.diverged {
			s.committed[d.at] = d.DivergedAt
		}
		for _, q := range e.check {
			s.do(s.core.placed(s.now, q, s.lineage(q.at), s.noLeader()))
		}
		if len(e.resolve) == 0 {
			return
		}
		var next groupEffects
		for i, r := range e.resolve {
			var err error
			if s.pick(5) == 0 {
				err = errors.New("no leader")
			}
			start := placeOf(r.start, r.since, s.lookUp(r))
			if s.lossy != nil {
				start = 0 // all of a log that loses its end is to be seen
			}
			f := s.core.resolved(s.now, r, place{offset: start}, err)
			if i == 0 {
				next = f
				continue
			}
			if f.entry != nil {
				b, _ := f.entry.encode(maxGroupEntry)
				back, _ := decodeGroupEntry(b)
				if next.entry != nil {
					s.images.apply(next.entry)
				}
				next.entry = &back
			}
			next.answers = append(next.answers, f.answers...)
			next.resolve = append(next.resolve, f.resolve...)
			next.check = append(next.check, f.check...)
		}
		e = next
	}
}

// ask makes one request and returns its answer, or nil when it is parked.
func (s *groupSim) ask(step func(to any) groupEffects) any {
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
		s.do(s.core.leave(s.now, protocol.GroupLeave{Member: m.id}, nil))
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
	next["b"] = groupTopic{partitionIDs(1 + s.pick(4)), next["b"].born + 1}
	s.routes = next
	if s.pick(2) == 0 {
		s.restart()
	} else {
		s.do(s.core.topicsChanged(s.now, next))
	}
	for id := range s.members {
		if s.core.members[id] == nil {
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
		if at.Topic == "b" && o.offset != 0 {
			return fmt.Errorf("the new topic begins at %d in %s", o.offset, at)
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
	s.take(m, s.ask(func(to any) groupEffects { return s.core.join(s.now, r, to) }))
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
	s.take(m, s.ask(func(to any) groupEffects { return s.core.heartbeat(s.now, r, to) }))
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
	answer := s.ask(func(to any) groupEffects { return s.core.commit(s.now, r, to) })
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
			if p := s.core.parts[o.At()]; p.owner != m.id {
				return fmt.Errorf("commit of %s was taken from %s, owner is %q", o.At(), m.id, p.owner)
			}
		}
	}
	return nil
}

// advance lets time pass, with a tick whenever one is due.
func (s *groupSim) advance(d time.Duration) {
	for end := s.now.Add(d); ; {
		at, some := s.core.due()
		if !some || at.After(end) {
			s.now = end
			return
		}
		if at.After(s.now) {
			s.now = at
		}
		s.do(s.core.tick(s.now))
		if s.lossy != nil {
			s.forget() // a log that was compared again may have put its owner out
		}
		if again, some := s.core.due(); some && !again.After(s.now) {
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
		if o.offset < s.committed[at] {
			return fmt.Errorf("committed offset of %s went back from %d to %d", at, s.committed[at], o.offset)
		}
		s.committed[at] = o.offset
	}
	size := 0
	for _, m := range s.core.members {
		size += joinSize(&m.join)
	}
	if s.core.size != size {
		return fmt.Errorf("size is %d, members have %d", s.core.size, size)
	}
	// What a restart would know is what the group is.
	image := s.images["g"]
	if image != nil {
		got, _ := json.Marshal(image.state)
		want, _ := json.Marshal(s.state())
		if string(got) != string(want) {
			return fmt.Errorf("log has %s, group is %s", got, want)
		}
		for at, p := range s.core.parts {
			if o, known := image.offsets[at]; known != p.known || o != (place{p.committed, p.epoch}) || image.born[at.Topic] != s.core.born[at.Topic] {
				return fmt.Errorf("log has %v, %v for %s of topic %d, group has %+v of topic %d",
					o, known, at, image.born[at.Topic], *p, s.core.born[at.Topic])
			}
		}
	}
	if image != nil {
		got, _ := json.Marshal(image.begins)
		want, _ := json.Marshal(s.core.begins)
		if string(got) != string(want) {
			return fmt.Errorf("log has begins %s, group has %s", got, want)
		}
	}
	return s.checkStarts()
}

// state is what the log is to have of the group.
func (s *groupSim) state() groupState {
	c, out := s.core, groupState{Generation: s.core.generation, Strategy: s.core.strategy}
	for _, id := range slices.Sorted(maps.Keys(c.members)) {
		out.Members = append(out.Members, c.members[id].join)
	}
	for _, at := range c.sorted() {
		if p := c.parts[at]; p.owner != "" || p.target != "" {
			out.Partitions = append(out.Partitions, groupHolding{Topic: at.Topic, Partition: at.Partition, Owner: p.owner, Target: p.target})
		}
	}
	return out
}

func (m *groupImage) offsetsOrNone() map[protocol.TopicPartition]place {
	if m == nil {
		return nil
	}
	return m.offsets
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
	for id := range s.core.members {
		m := s.members[id]
		if m == nil || m.silent {
			return fmt.Errorf("member %s is silent and still there", id)
		}
		for _, t := range s.core.members[id].join.Topics {
			wanted[t] = true
		}
	}
	for t := range wanted {
		for _, id := range s.routes[t].ids {
			at := protocol.TopicPartition{Topic: t, Partition: id}
			p := s.core.parts[at]
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
		s := newGroupSim(func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "pick") }, noGroupBug)
		if err := s.run(rapid.IntRange(1, 150).Draw(t, "steps")); err != nil {
			t.Fatal(err)
		}
	})
}

func TestPlantedGroupBugsAreCaught(t *testing.T) {
	for name, bug := range groupBugs {
		if bug == noGroupBug {
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
