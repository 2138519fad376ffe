package group

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"metaq/actors/actorstest"
	"metaq/actors/group/core"
	"metaq/protocol"
)

// groupWorld runs one group with two brokers that coordinate it in turn, a registry between
// them, logs that lose their ends and grow again, topics that are made again and get
// partitions later, members that begin anywhere, are static, or die, resets, and snapshots of
// the brokers' logs. Leaders' answers arrive late and in any order. One oracle judges all of
// it, see judge and check.
type groupWorld struct {
	pick    func(n int) int
	bug     worldBug
	core    core.Bug // of every coordinator
	now     time.Time
	step    int
	brokers []*worldBroker
	reg     worldRegistry
	routes  map[string]core.Topic
	logs    map[protocol.TopicPartition]*worldLog
	members map[string]*worldMember
	named   int

	told       map[string]bool // a member was told that the group has begun there
	generation int64           // the highest that a member was told
	accepted   map[protocol.TopicPartition]worldCommit
	err        error // what the oracle has seen
	quiet      bool  // nothing dies any more, and members do all there is
}

// worldBug is a defect that a test plants where features meet.
type worldBug int

const (
	noWorldBug       worldBug = iota
	loseBegins                // a snapshot has no begins
	beginAgain                // who takes over ignores the begins of the registry
	lowerGenerations          // who takes over continues at the generation that its log has
	believeLate               // a leader's answer counts however late it comes
	mirrorNoEpochs            // the registry has offsets without epochs
	answerUnheld              // a broker answers after another one took over
)

var worldBugs = map[string]worldBug{
	"snapshots lose the begins": loseBegins, "a successor begins again": beginAgain, "generations go down": lowerGenerations,
	"late answers count": believeLate, "the registry has no epochs": mirrorNoEpochs, "answers without a lease": answerUnheld,
}

// worldRegistry is what ZooKeeper has of the group.
type worldRegistry struct {
	epoch  protocol.Epoch
	leader int // index of brokers
	mirror Mirror
	marks  map[protocol.TopicPartition]core.Place
	begins map[string]core.Begin
}

type worldBroker struct {
	id     int
	log    [][]byte // entries
	images core.Images
	core   *core.Group // nil: down, or the group is not claimed
	epoch  protocol.Epoch
	held   bool // the claim counts
	late   []func()
	dirty  map[protocol.TopicPartition]core.Place // offsets to be mirrored
}

type worldRecord struct {
	epoch     protocol.Epoch
	at        time.Time
	needed    bool // it must be processed
	processed bool
}

type worldLog struct {
	newest  protocol.Epoch
	records []*worldRecord
	cut     bool // it has lost its end
}

type worldMember struct {
	join    protocol.GroupJoin
	view    protocol.GroupView
	working map[protocol.TopicPartition]core.Place
	since   map[protocol.TopicPartition]int // step
	silent  bool
	heard   time.Time
}

// worldCommit is the last commit of a partition that was answered as taken.
type worldCommit struct {
	member string
	step   int
	broker *core.Group
	offset protocol.Offset
}

func newGroupWorld(pick func(int) int, bug worldBug, decider core.Bug) *groupWorld {
	w := &groupWorld{
		pick: pick, bug: bug, core: decider, now: time.UnixMilli(1_000_000_000),
		routes:  map[string]core.Topic{"a": {IDs: actorstest.PartitionIDs(3), Born: 1}, "b": {IDs: actorstest.PartitionIDs(1), Born: 1}},
		logs:    map[protocol.TopicPartition]*worldLog{},
		members: map[string]*worldMember{}, told: map[string]bool{}, accepted: map[protocol.TopicPartition]worldCommit{},
		reg: worldRegistry{leader: -1, marks: map[protocol.TopicPartition]core.Place{}, begins: map[string]core.Begin{}},
	}
	w.reg.mirror.Born = map[string]protocol.Epoch{}
	for id := range 2 {
		w.brokers = append(w.brokers, &worldBroker{id: id, images: core.Images{}, dirty: map[protocol.TopicPartition]core.Place{}})
	}
	return w
}

func (w *groupWorld) fail(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf("step %d: "+format, append([]any{w.step}, args...)...)
	}
}

func (w *groupWorld) log(at protocol.TopicPartition) *worldLog {
	if w.logs[at] == nil {
		w.logs[at] = &worldLog{newest: 1}
	}
	return w.logs[at]
}

func (l *worldLog) lineage() protocol.Lineage {
	out := protocol.Lineage{EndOffset: protocol.Offset(len(l.records))}
	for i, r := range l.records {
		if n := len(out.Epochs); n == 0 || out.Epochs[n-1].Epoch != r.epoch {
			out.Epochs = append(out.Epochs, protocol.EpochStart{Epoch: r.epoch, First: protocol.Offset(i)})
		}
	}
	return out
}

// Brokers.

// coordinator finds who answers for the group, as a request does that comes to a broker: one
// claims the group when nobody has it who counts.
func (w *groupWorld) coordinator() *worldBroker {
	if b := w.brokers[w.pick(len(w.brokers))]; w.bug == answerUnheld && b.core != nil {
		return b
	}
	if w.reg.leader >= 0 && w.brokers[w.reg.leader].held {
		if b := w.brokers[w.reg.leader]; b.core != nil {
			return b
		}
	}
	b := w.brokers[w.pick(len(w.brokers))]
	if w.reg.leader >= 0 && w.brokers[w.reg.leader].held {
		b = w.brokers[w.reg.leader] // it is alive
	}
	w.claim(b)
	return b
}

func (w *groupWorld) claim(b *worldBroker) {
	b.images = w.replay(b.log)
	known := protocol.Epoch(0)
	if image := b.images["g"]; image != nil {
		known = image.Epoch
	}
	w.reg.epoch++
	w.reg.leader, b.epoch, b.held = b.id, w.reg.epoch, true
	m := groupClaimed{group: "g", epoch: b.epoch, foreign: b.epoch != known+1}
	if m.foreign {
		m.mirror = w.reg.mirror
		m.mirror.Born, m.mirror.Offsets = maps.Clone(w.reg.mirror.Born), core.Positions(w.reg.marks)
		for _, topic := range slices.Sorted(maps.Keys(w.reg.begins)) {
			m.mirror.Begins = append(m.mirror.Begins, w.reg.begins[topic])
		}
		if w.bug == beginAgain {
			m.mirror.Begins = nil
		}
	}
	if e := (&groups{journal: groupLog{images: b.images}}).claimEntry(m); e != nil {
		if w.bug == lowerGenerations && e.State != nil {
			e.State.Generation = 1
		}
		w.write(b, e)
	}
	image := b.images["g"]
	if image == nil {
		image = &core.Image{State: core.State{Generation: firstGeneration(b.epoch)}}
	} else {
		s := image.Snapshot("g")
		w.note(b, &s)
	}
	b.late = nil
	b.core = core.New("g", image.Clone(), w.routes, w.now)
	b.core.Bug, b.core.Realign = w.core, true
	w.do(b, b.core.Settle(w.now), nil)
}

func (w *groupWorld) replay(log [][]byte) core.Images {
	images := core.Images{}
	for _, b := range log {
		e, err := core.DecodeEntry(b)
		if err != nil {
			panic(err)
		}
		images.Apply(&e)
	}
	return images
}

func (w *groupWorld) write(b *worldBroker, e *core.Entry) {
	e.Epoch = b.epoch
	data, err := e.Encode(core.MaxEntry)
	if err != nil {
		panic(err)
	}
	b.log = append(b.log, data)
	back, err := core.DecodeEntry(data)
	if err != nil {
		panic(err)
	}
	b.images.Apply(&back)
}

// note remembers what is to be mirrored; begins are at once.
func (w *groupWorld) note(b *worldBroker, e *core.Entry) {
	for i := range e.Offsets {
		b.dirty[e.Offsets[i].At()] = core.PlaceIn(&e.Offsets[i])
	}
	if w.reg.leader != b.id || w.reg.epoch != b.epoch {
		return
	}
	for _, begin := range e.Begins {
		if begin.Gone {
			delete(w.reg.begins, begin.Topic)
		} else {
			w.reg.begins[begin.Topic] = begin
		}
	}
}

// mirror writes offsets as cluster.Registration does.
func (w *groupWorld) mirror(b *worldBroker) {
	if b.core == nil || w.reg.leader != b.id || w.reg.epoch != b.epoch {
		return
	}
	image := b.images["g"]
	for at, o := range b.dirty {
		if w.bug == mirrorNoEpochs {
			o.Epoch = 0
		}
		w.reg.marks[at] = o
	}
	for topic, born := range bornOrNone(image) {
		if born <= w.reg.mirror.Born[topic] {
			continue
		}
		w.reg.mirror.Born[topic] = born
		for at := range w.reg.marks {
			if _, fresh := b.dirty[at]; at.Topic == topic && !fresh {
				w.reg.marks[at] = core.Place{}
			}
		}
	}
	clear(b.dirty)
}

func bornOrNone(m *core.Image) map[string]protocol.Epoch {
	if m == nil {
		return nil
	}
	return m.Born
}

// do carries out a step's effects. Answers of leaders come later; give takes the answers of
// the step, and is nil when nobody gets them.
func (w *groupWorld) do(b *worldBroker, e core.Effects, give func(any, any)) {
	decider := b.core
	if e.Entry != nil {
		w.write(b, e.Entry)
		w.note(b, e.Entry)
		w.checkLog(b)
	}
	for _, d := range e.Diverged {
		if !w.log(d.At).cut {
			w.fail("%s went from %d back to %d, and its log has lost nothing", d.At, d.Offset, d.DivergedAt)
		}
		delete(w.accepted, d.At)
	}
	for _, a := range e.Answers {
		if give != nil && (b.held || w.bug == answerUnheld) {
			give(a.To, a.Value)
		}
	}
	for _, q := range e.Check {
		w.answerLater(b, decider, q)
	}
	for _, r := range e.Resolve {
		err := error(nil)
		if w.pick(3) == 0 {
			err = core.ErrNoEnds
		}
		start := core.LabelledPlaceOf(r.Start, r.Since, w.lookUp(r))
		b.late = append(b.late, func() { w.do(b, decider.Resolved(w.now, r, start, err), w.take) })
	}
}

func (w *groupWorld) lookUp(r core.Resolve) protocol.OffsetsReply {
	records := w.log(r.At).records
	end := protocol.Offset(len(records))
	reply := protocol.OffsetsReply{LogStart: 0, EndOffset: end, Offset: end, Epochs: w.log(r.At).lineage().Epochs}
	if q := core.RequestFor(r.Start, r.Since); q.Time != nil {
		if i := slices.IndexFunc(records, func(r *worldRecord) bool { return !r.at.Before(*q.Time) }); i >= 0 {
			reply.Offset = protocol.Offset(i)
		}
	}
	return reply
}

func (w *groupWorld) answerLater(b *worldBroker, decider *core.Group, q core.Check) {
	log, err := w.log(q.At).lineage(), error(nil)
	if w.pick(8) == 0 {
		err = core.ErrNoEnds
	}
	b.late = append(b.late, func() {
		if w.bug == believeLate {
			q.Heard = decider.Question(q.At).Heard
		}
		w.do(b, decider.Placed(w.now, q, log, err), w.take)
	})
}

// arrive hands in one answer of a leader, in any order.
func (w *groupWorld) arrive(b *worldBroker) {
	if n := len(b.late); n > 0 {
		i := w.pick(n)
		f := b.late[i]
		b.late = slices.Delete(b.late, i, i+1)
		f()
	}
}

// snapshot shortens a broker's log, as groups.snapshot does: what came before may be kept.
func (w *groupWorld) snapshot(b *worldBroker) {
	image := b.images["g"]
	if image == nil {
		return
	}
	e := image.Snapshot("g")
	if w.bug == loseBegins {
		e.Begins = nil
	}
	data, err := e.Encode(core.MaxEntry)
	if err != nil {
		panic(err)
	}
	b.log = append(b.log[w.pick(len(b.log)+1):], data)
	if w.bug == noWorldBug {
		w.checkLog(b)
	}
}

// checkLog compares what a restart would know with what the group knows.
func (w *groupWorld) checkLog(b *worldBroker) {
	if w.pick(8) > 0 || w.bug != noWorldBug {
		return
	}
	got, want := w.replay(b.log)["g"].Snapshot("g"), b.images["g"].Snapshot("g")
	x, _ := json.Marshal(got)
	y, _ := json.Marshal(want)
	if string(x) != string(y) {
		w.fail("a replay gives %s, not %s", x, y)
	}
}

// The world.

func (w *groupWorld) put() {
	topic := []string{"a", "b", "c"}[w.pick(3)]
	if ids := w.routes[topic].IDs; len(ids) > 0 {
		log := w.log(protocol.TopicPartition{Topic: topic, Partition: ids[w.pick(len(ids))]})
		log.records = append(log.records, &worldRecord{epoch: log.newest, at: w.now, needed: w.told[topic]})
	}
}

// cut lets a log lose its end and grow again under a new epoch.
func (w *groupWorld) cut() {
	parts := slices.SortedFunc(maps.Keys(w.logs), protocol.TopicPartition.Compare)
	if len(parts) == 0 {
		return
	}
	at := parts[w.pick(len(parts))]
	log := w.logs[at]
	log.newest++
	log.cut = true
	log.records = slices.Clone(log.records[:w.pick(len(log.records)+1)])
	for range w.pick(6) {
		log.records = append(log.records, &worldRecord{epoch: log.newest, at: w.now, needed: w.told[at.Topic]})
	}
	delete(w.accepted, at)
	if b := w.coordinator(); w.pick(2) == 0 {
		b.core.Doubt(at)
		w.do(b, b.core.Settle(w.now), w.take)
	}
}

func (w *groupWorld) retopic(topic string, remake bool) {
	next := maps.Clone(w.routes)
	t := next[topic]
	if remake {
		t = core.Topic{IDs: actorstest.PartitionIDs(1 + w.pick(4)), Born: t.Born + 1}
		for at, log := range w.logs {
			if at.Topic == topic {
				w.logs[at] = &worldLog{newest: log.newest + 1}
				delete(w.accepted, at)
			}
		}
		// Clients read the new topic from its beginning, or are put out.
		for _, m := range w.members {
			for at := range m.working {
				if at.Topic == topic {
					m.working[at] = core.Place{}
				}
			}
		}
	} else if len(t.IDs) < 4 {
		t = core.Topic{IDs: actorstest.PartitionIDs(len(t.IDs) + 1), Born: max(t.Born, 1)}
	}
	next[topic] = t
	w.routes = next
	for _, b := range w.brokers {
		if b.core != nil && b.held {
			w.do(b, b.core.TopicsChanged(w.now, next), w.take)
		}
	}
	if remake { // who was put out by a broker that has no say finds out from the next one
		for id, m := range w.members {
			if slices.ContainsFunc(slices.Collect(maps.Keys(m.working)), func(at protocol.TopicPartition) bool { return at.Topic == topic }) {
				delete(w.members, id)
			}
		}
	}
}

// reset moves the whole topic, to the beginning or to the end.
func (w *groupWorld) reset() {
	topic := []string{"a", "b"}[w.pick(2)]
	end := w.pick(2) == 0
	var offsets []protocol.GroupPosition
	for _, id := range w.routes[topic].IDs {
		p := protocol.GroupPosition{Topic: topic, Partition: id}
		if end {
			for _, r := range w.log(p.At()).records {
				r.needed = false
				p.Offset++
			}
			log := w.log(p.At()).lineage()
			p.Epoch = log.EpochBefore(p.Offset)
		}
		offsets = append(offsets, p)
		delete(w.accepted, p.At())
	}
	w.ask(func(c *core.Group, to any) core.Effects { return c.Reset(w.now, offsets, true, to) })
	for _, p := range offsets {
		delete(w.accepted, p.At())
	}
	clear(w.members)
}

// lose takes a broker's claim away: it was killed, or its lease is over. Nothing that it
// decides is answered any more.
func (w *groupWorld) lose(b *worldBroker) {
	b.held = false
	if w.bug != answerUnheld || w.pick(2) == 0 {
		b.core, b.late = nil, nil
		clear(b.dirty)
	}
	clear(w.accepted)
}

func (w *groupWorld) advance(d time.Duration) {
	end := w.now.Add(d)
	for _, b := range w.brokers {
		for b.core != nil && b.held {
			at, some := b.core.Due()
			if !some || at.After(end) {
				break
			}
			if at.After(w.now) {
				w.now = at
			}
			w.do(b, b.core.Tick(w.now), w.take)
		}
	}
	w.now = end
	for id, m := range w.members {
		if !m.heard.Add(worldSession).After(w.now) {
			delete(w.members, id)
		}
	}
}

func (w *groupWorld) alive() []string {
	var out []string
	for _, id := range slices.Sorted(maps.Keys(w.members)) {
		if !w.members[id].silent {
			out = append(out, id)
		}
	}
	return out
}

func (w *groupWorld) move() {
	w.step++
	w.put()
	live := w.alive()
	if len(live) == 0 {
		w.join()
		return
	}
	id := live[w.pick(len(live))]
	switch k := w.pick(40); {
	case k < 3 && len(w.members) < 5:
		w.join()
	case k == 3:
		w.members[id].silent = true
	case k == 4:
		w.lose(w.brokers[w.pick(2)])
	case k == 5:
		w.cut()
	case k == 6:
		w.retopic([]string{"b", "c"}[w.pick(2)], false)
	case k == 7 && w.pick(2) == 0:
		w.retopic("b", true)
	case k == 8 && w.pick(4) == 0:
		w.reset()
	case k == 9:
		w.snapshot(w.brokers[w.pick(2)])
	case k == 10:
		w.advance(2 * core.ClockSlack)
	case k < 14:
		w.mirror(w.brokers[w.pick(2)])
	case k < 17:
		w.measure()
	case k < 20:
		w.advance(time.Duration(w.pick(1200)) * time.Millisecond)
	case k < 27:
		w.work(id)
	case k < 34:
		w.arrive(w.coordinator())
	default:
		w.beat(id)
	}
	w.check()
}

// measure asks for all lineages, as the look at the lag does.
func (w *groupWorld) measure() {
	b := w.coordinator()
	for _, at := range b.core.Sorted() {
		w.answerLater(b, b.core, b.core.Question(at))
	}
}

// check is the oracle over what the group's coordinator knows.
func (w *groupWorld) check() {
	if w.reg.leader < 0 {
		return
	}
	b := w.brokers[w.reg.leader]
	if b.core == nil || !b.held {
		return
	}
	for at, p := range b.core.Parts {
		if w.logs[at] == nil || !p.Known || w.logs[at].cut {
			continue
		}
		if last := w.accepted[at]; last.broker == b.core && p.Committed < last.offset {
			w.fail("%s went back to %d, and %d was committed", at, p.Committed, last.offset)
		}
		for i, r := range w.logs[at].records {
			if protocol.Offset(i) < p.Committed && r.needed && !r.processed {
				w.fail("%s: the group stands at %d, and nobody has processed offset %d of epoch %d", at, p.Committed, i, r.epoch)
			}
		}
	}
}

// calm lets all work be done, and then nothing that had to be processed may be left.
func (w *groupWorld) calm() {
	w.quiet = true
	for id, m := range w.members {
		if m.silent {
			delete(w.members, id)
		}
	}
	w.join()
	for range 120 {
		w.step++
		w.advance(300 * time.Millisecond)
		b := w.coordinator()
		for len(b.late) > 0 && b.core != nil {
			w.arrive(b)
		}
		if len(w.alive()) == 0 {
			w.join()
		}
		for _, id := range w.alive() {
			if w.members[id] != nil {
				w.beat(id)
			}
			if w.members[id] != nil {
				w.work(id)
			}
		}
		if w.step%10 == 0 {
			b := w.coordinator()
			for _, at := range b.core.Sorted() {
				w.do(b, b.core.Placed(w.now, b.core.Question(at), w.log(at).lineage(), nil), w.take)
			}
			for _, log := range w.logs {
				log.cut = false // all were compared
			}
			w.check()
		}
	}
	w.check()
	wanted := map[string]bool{}
	for _, m := range w.members {
		for _, t := range m.join.Topics {
			wanted[t] = true
		}
	}
	for at, log := range w.logs {
		for i, r := range log.records {
			if wanted[at.Topic] && slices.Contains(w.routes[at.Topic].IDs, at.Partition) && r.needed && !r.processed {
				w.fail("%s: offset %d of epoch %d came after the group had begun, and nobody has processed it", at, i, r.epoch)
			}
		}
	}
}

func (w *groupWorld) run(steps int) error {
	for range steps {
		if w.move(); w.err != nil {
			return w.err
		}
	}
	w.calm()
	return w.err
}

func runGroupWorld(seed uint64, bug worldBug, decider core.Bug) error {
	r := rand.New(rand.NewPCG(seed, 1))
	return newGroupWorld(r.IntN, bug, decider).run(50 + r.IntN(300))
}

func TestAGroupKeepsItsPromisesWhateverHappensTogether(t *testing.T) {
	for seed := range uint64(200) {
		if err := runGroupWorld(seed, noWorldBug, core.NoBug); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

func TestDefectsWhereFeaturesMeetAreCaught(t *testing.T) {
	caught := func(name string, bug worldBug, decider core.Bug) {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(400) {
				if err := runGroupWorld(seed, bug, decider); err != nil {
					t.Logf("seed %d: %v", seed, err)
					return
				}
			}
			t.Fatal("400 runs did not notice it")
		})
	}
	for name, bug := range worldBugs {
		caught(name, bug, core.NoBug)
	}
	for name, bug := range core.Bugs {
		switch bug {
		case core.NoBug, core.ForgetSession, core.ForgetOwner, core.GoBack, core.SkipRelease: // groupSim shows them
		default:
			caught(name, noWorldBug, bug)
		}
	}
}

// worldSession is the session of each member.
const worldSession = 3 * time.Second
