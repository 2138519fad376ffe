package core

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"metaq/protocol"
)

// simLogs are the logs of a groupSim that lose their ends, as a power failure or a
// restored backup makes them, and grow again. A record is known by its offset and epoch.
type simLogs struct {
	logs map[protocol.TopicPartition]*simLog
	done map[simRecord]bool                           // processed by any member
	read map[string]map[protocol.TopicPartition]Place // where members are
}

type simLog struct {
	newest protocol.Epoch
	epochs []protocol.Epoch // of each record
}

type simRecord struct {
	at     protocol.TopicPartition
	offset protocol.Offset
	epoch  protocol.Epoch
}

func newLossySim(pick func(int) int, bug Bug) *groupSim {
	s := newGroupSim(pick, bug)
	s.lossy = &simLogs{
		logs: map[protocol.TopicPartition]*simLog{}, done: map[simRecord]bool{}, read: map[string]map[protocol.TopicPartition]Place{},
	}
	return s
}

func (l *simLogs) log(at protocol.TopicPartition) *simLog {
	if l.logs[at] == nil {
		l.logs[at] = &simLog{newest: 1}
	}
	return l.logs[at]
}

func (l *simLog) lineage() protocol.Lineage {
	out := protocol.Lineage{EndOffset: protocol.Offset(len(l.epochs))}
	for i, e := range l.epochs {
		if n := len(out.Epochs); n == 0 || out.Epochs[n-1].Epoch != e {
			out.Epochs = append(out.Epochs, protocol.EpochStart{Epoch: e, First: protocol.Offset(i)})
		}
	}
	return out
}

// lineage is what the leader of a partition says; that of a log that loses nothing when
// the simulation has none.
func (s *groupSim) lineage(at protocol.TopicPartition) protocol.Lineage {
	if s.lossy == nil {
		return protocol.Lineage{EndOffset: 1 << 40}
	}
	return s.lossy.log(at).lineage()
}

func (s *groupSim) noLeader() error {
	if s.lossy != nil && s.pick(8) == 0 {
		return ErrNoEnds
	}
	return nil
}

// begins notes where a member begins.
func (l *simLogs) begins(m *simMember, p *protocol.GroupPosition) {
	if l == nil {
		return
	}
	if l.read[m.id] == nil {
		l.read[m.id] = map[protocol.TopicPartition]Place{}
	}
	l.read[m.id][p.At()] = PlaceIn(p)
}

// remake deletes a topic's logs and makes them again.
func (l *simLogs) remake(topic string) {
	if l == nil {
		return
	}
	for at, log := range l.logs {
		if at.Topic == topic {
			log.newest, log.epochs = log.newest+1, nil
		}
	}
}

// forget lets members find out that they are none any more.
func (s *groupSim) forget() {
	for id := range s.members {
		if s.core.Members[id] == nil {
			delete(s.members, id)
		}
	}
}

// strays asks the leaders before a commit, as the shell does, and reports whether the
// commit must not be made.
func (s *groupSim) strays(offsets []protocol.GroupPosition) bool {
	if s.lossy == nil {
		return false
	}
	refused := false
	for i := range offsets {
		o := &offsets[i]
		p := s.core.Parts[o.At()]
		if p == nil || o.Offset <= p.Log.EndOffset && !s.core.Strays(o) {
			continue
		}
		log := s.lineage(o.At())
		s.do(s.core.Placed(s.now, s.core.Question(o.At()), log, nil))
		_, diverged := log.Diverged(o.Offset, o.Epoch)
		refused = refused || diverged
	}
	s.forget()
	return refused
}

// lossyStep lets a member process and commit, or a log lose its end.
func (s *groupSim) lossyStep(m *simMember) error {
	if s.pick(4) == 0 {
		return s.lose()
	}
	r := protocol.GroupCommit{Member: m.id, Generation: m.view.Generation}
	for _, at := range slices.SortedFunc(maps.Keys(m.working), protocol.TopicPartition.Compare) {
		o := s.process(m, at)
		r.Offsets = append(r.Offsets, protocol.GroupPosition{Topic: at.Topic, Partition: at.Partition, Offset: o.Offset, Epoch: o.Epoch})
	}
	if s.pick(3) == 0 {
		return s.check() // it has processed, and does not come to commit
	}
	if err := s.judge(m, r); err != nil {
		return err
	}
	return s.check()
}

// process lets a member read some records, or go back where its get is refused.
func (s *groupSim) process(m *simMember, at protocol.TopicPartition) Place {
	log, o := s.lossy.log(at), s.lossy.read[m.id][at]
	for range s.pick(4) {
		lineage := log.lineage()
		if to, diverged := lineage.Diverged(o.Offset, o.Epoch); diverged {
			o = Place{to, lineage.EpochBefore(to)}
		}
		if int(o.Offset) == len(log.epochs) {
			log.epochs = append(log.epochs, log.newest)
		}
		o = Place{o.Offset + 1, log.epochs[o.Offset]}
		s.lossy.done[simRecord{at, o.Offset - 1, o.Epoch}] = true
	}
	s.lossy.read[m.id][at] = o
	m.working[at] = o.Offset
	return o
}

// lose cuts a log and lets it grow again. The coordinator is told of a new leader, or it
// restarts, or it finds out later.
func (s *groupSim) lose() error {
	parts := slices.SortedFunc(maps.Keys(s.lossy.logs), protocol.TopicPartition.Compare)
	if len(parts) == 0 {
		return nil
	}
	at := parts[s.pick(len(parts))]
	log := s.lossy.logs[at]
	log.newest++
	log.epochs = slices.Clone(log.epochs[:s.pick(len(log.epochs)+1)])
	for range s.pick(6) {
		log.epochs = append(log.epochs, log.newest)
	}
	switch s.pick(4) {
	case 0:
		s.restart()
	case 1:
		s.core.Doubt(at)
		s.do(s.core.Settle(s.now))
		s.forget()
	case 2:
		return s.measure()
	}
	return s.check()
}

// measure looks at all ends, as the coordinator does from time to time, and then nothing
// that is in a log may lie behind the group without having been processed.
func (s *groupSim) measure() error {
	for _, at := range s.core.Sorted() {
		s.do(s.core.Placed(s.now, s.core.Question(at), s.lineage(at), nil))
	}
	s.forget()
	for at, p := range s.core.Parts {
		for i, e := range s.lossy.log(at).epochs {
			if protocol.Offset(i) < p.Committed && !s.lossy.done[simRecord{at, protocol.Offset(i), e}] {
				return fmt.Errorf("%s: the group stands at %d, and nobody has processed offset %d of epoch %d", at, p.Committed, i, e)
			}
		}
	}
	return s.check()
}

func TestNoGroupSkipsWhatALogGotAfterItLostItsEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newLossySim(func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "pick") }, NoBug)
		err := s.run(rapid.IntRange(1, 150).Draw(t, "steps"))
		if err == nil {
			err = s.measure()
		}
		if err != nil {
			t.Fatal(err)
		}
	})
}

// The group has committed 100 in partition 0, and nothing told it an epoch.
func cutScript(t *testing.T, realign bool) (*groupScript, protocol.GroupView) {
	t.Helper()
	g := newGroupScript(t)
	g.sim.core.Realign = realign
	g.sim.lossy = &simLogs{logs: map[protocol.TopicPartition]*simLog{}, read: map[string]map[protocol.TopicPartition]Place{}}
	g.sim.lossy.log(at(0)).epochs = slices.Repeat([]protocol.Epoch{1}, 100)
	g.join(protocol.GroupJoin{Member: "x"})
	x := g.view(g.beat("x", 1))
	g.sim.do(g.sim.core.Placed(g.sim.now, g.sim.core.Question(at(0)), g.sim.lineage(at(0)), nil))
	if _, ok := g.commit("x", 1, 0, 100).(protocol.GroupOffsets); !ok {
		t.Fatal("commit refused")
	}
	if p := g.sim.core.Parts[at(0)]; p.epoch != 1 {
		t.Fatalf("the coordinator gave the commit epoch %d", p.epoch)
	}
	return g, x
}

// regrow is what a power failure does, and what comes after it.
func (g *groupScript) regrow(keep, more int) {
	log := g.sim.lossy.log(at(0))
	log.newest++
	log.epochs = append(log.epochs[:keep:keep], slices.Repeat([]protocol.Epoch{log.newest}, more)...)
}

func TestAGroupGoesBackToWhereTheLogsPart(t *testing.T) {
	g, x := cutScript(t, true)
	g.regrow(50, 80)
	g.sim.restart()
	g.refused(g.beat("x", x.Generation), protocol.ErrNoMember)
	y := g.wants(g.join(protocol.GroupJoin{Member: "y"}), "0 1 2 3 4 ")
	if p := y.Assigned[0]; p.Offset != 50 || p.Epoch != 1 {
		t.Errorf("it begins at %d after epoch %d", p.Offset, p.Epoch)
	}
	info := g.sim.core.Info(g.sim.now)
	want := &protocol.GroupDiverged{Offset: 100, Epoch: 1, DivergedAt: 50, Time: g.sim.now.UTC()}
	if diff := cmp.Diff(want, info.Partitions[0].Diverged); diff != "" {
		t.Errorf("info: %s", diff)
	}
}

func TestAGroupThatMayNotJumpStopsWhereTheLogsPart(t *testing.T) {
	g, x := cutScript(t, false)
	g.regrow(50, 80)
	told := 0
	for range 3 {
		e := g.sim.core.Placed(g.sim.now, g.sim.core.Question(at(0)), g.sim.lineage(at(0)), nil)
		told += len(e.Diverged)
	}
	if told != 1 {
		t.Errorf("it was told %d times", told)
	}
	v := g.wants(g.beat("x", x.Generation), "1 2 3 4 ")
	if len(v.Diverged) != 1 || v.Diverged[0].Offset != 100 || v.Diverged[0].DivergedAt != 50 || !v.Diverged[0].Stopped {
		t.Errorf("the view has %+v", v.Diverged)
	}
	g.refused(g.commit("x", v.Generation, 0, 110), protocol.ErrDiverged)
	if o := g.sim.images["g"].Offsets[at(0)]; o != (Place{100, 1}) {
		t.Errorf("the group jumped to %v", o)
	}
	e := g.sim.core.Reset(g.sim.now, []protocol.GroupPosition{{Topic: "a", Offset: 50}}, true, nil)
	g.sim.do(e)
	g.wants(g.join(protocol.GroupJoin{Member: "y"}), "0 1 2 3 4 ")
	if d := g.sim.core.Info(g.sim.now).Partitions[0].Diverged; d != nil {
		t.Errorf("after the reset info has %+v", d)
	}
}

// A member that knows no epochs has read up to the old end and commits when the log has
// grown beyond. The coordinator, which saw the log longer, does not let it.
func TestAPlainMemberCannotCommitWhatItReadOfALostEnd(t *testing.T) {
	g, _ := cutScript(t, true)
	g.sim.do(g.sim.core.Reset(g.sim.now, []protocol.GroupPosition{{Topic: "a", Offset: 40}}, true, nil))
	x := g.view(g.join(protocol.GroupJoin{Member: "z"}))
	g.regrow(50, 80)
	g.sim.core.Doubt(at(0))
	g.sim.do(g.sim.core.Settle(g.sim.now))
	g.refused(g.commit("z", x.Generation, 0, 100), protocol.ErrNoMember)
	y := g.view(g.join(protocol.GroupJoin{Member: "y"}))
	if p := y.Assigned[0]; p.Offset != 40 {
		t.Errorf("it begins at %d", p.Offset)
	}
}

// A leader that does not answer holds a partition back no longer than one question.
func TestAPartitionWhoseLeaderIsAwayIsGivenOut(t *testing.T) {
	g, _ := cutScript(t, true)
	g.sim.do(g.sim.core.Leave(g.sim.now, protocol.GroupLeave{Member: "x"}, nil))
	r := protocol.GroupJoin{Member: "y", Topics: []string{"a"}}
	if err := r.Check(); err != nil {
		t.Fatal(err)
	}
	e := g.sim.core.Join(g.sim.now, r, "join")
	if len(e.Answers) > 0 || len(e.Check) != 5 {
		t.Fatalf("the join was answered with %v, and %d partitions are looked at", e.Answers, len(e.Check))
	}
	for _, q := range e.Check {
		e = g.sim.core.Placed(g.sim.now, q, protocol.Lineage{}, ErrNoEnds)
	}
	if len(e.Answers) != 1 {
		t.Fatal("the join is not answered")
	}
	g.wants(e.Answers[0].Value, "0 1 2 3 4 ")
	if due, some := g.sim.core.Due(); !some || due.Sub(g.sim.now) > checkPause+time.Millisecond {
		t.Errorf("it is looked at again at %v", due)
	}
}

// Answers of leaders are handed in together, so one of a leader that is slow holds up those of
// the others. What they say may be older than what the group has heard and committed since.
func TestAnAnswerThatCameLateTakesNoGroupBack(t *testing.T) {
	for name, late := range map[string]func(*groupScript) (Check, protocol.Lineage){
		"asked before the newer one": func(g *groupScript) (Check, protocol.Lineage) {
			q := g.sim.core.Question(at(0))
			old := g.sim.lineage(at(0))
			g.regrow(100, 20)
			g.sim.do(g.sim.core.Placed(g.sim.now, g.sim.core.Question(at(0)), g.sim.lineage(at(0)), nil))
			return q, old
		},
		"asked after the newer one": func(g *groupScript) (Check, protocol.Lineage) {
			newer := g.sim.core.Question(at(0))
			q, old := g.sim.core.Question(at(0)), g.sim.lineage(at(0))
			g.regrow(100, 20)
			g.sim.do(g.sim.core.Placed(g.sim.now, newer, g.sim.lineage(at(0)), nil))
			return q, old
		},
		"while the owner was believed": func(g *groupScript) (Check, protocol.Lineage) {
			q, old := g.sim.core.Question(at(0)), g.sim.lineage(at(0))
			g.regrow(100, 20)
			return q, old
		},
	} {
		t.Run(name, func(t *testing.T) {
			g, x := cutScript(t, true)
			q, old := late(g)
			if answer, ok := g.commit("x", x.Generation, 0, 120).(protocol.GroupOffsets); !ok {
				t.Fatalf("commit refused: %v", answer)
			}
			e := g.sim.core.Placed(g.sim.now, q, old, nil)
			if len(e.Diverged) > 0 {
				t.Errorf("the group went back: %+v", e.Diverged)
			}
			g.sim.do(e)
			if v := g.view(g.beat("x", x.Generation)); v.Assigned[0].Offset != 120 {
				t.Errorf("the group stands at %d", v.Assigned[0].Offset)
			}
			// The next answer counts, also one that has to be asked for again.
			g.regrow(50, 0)
			g.sim.do(g.sim.core.Placed(g.sim.now, g.sim.core.Question(at(0)), g.sim.lineage(at(0)), nil))
			if o := g.sim.images["g"].Offsets[at(0)]; o.Offset != 50 {
				t.Errorf("after the log was cut the group stands at %v", o)
			}
		})
	}
}
