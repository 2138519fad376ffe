package core

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"metaq/protocol"
)

// Group decides for one consumer group: who is a member, who works on which
// partition, and which offsets are committed. It is pure: time, the partitions
// that there are and the offsets of start positions are told to it. Every method
// with a now is one step; it returns what is to be done.
//
// A partition has a target, the member that is to work on it, and an owner, the
// one that does. The strategy sets targets, at each change of the members, their
// topics or the partitions, and each such change is a new generation. An owner
// that is not the target any more has to release the partition; only then, or
// when its membership has ended, the target becomes the owner.
type Group struct {
	name       string
	generation int64
	strategy   string
	Members    map[string]*member // by id
	Parts      map[protocol.TopicPartition]*groupPart
	Routes     map[string]Topic          // all topics as last heard; not the core's to change
	Born       map[string]protocol.Epoch // of the topics of parts; Invariant: not below that in routes
	missing    map[string]time.Time      // wanted topics that are not in routes, since when
	begins     map[string]Begin          // by topic, of all that the group ever wanted
	Bug        Bug
	MaxSize    int // of size
	// realign: a group whose place is not in the log goes back to where the logs part.
	// Without it the group stops there.
	Realign bool

	out     Effects         // of the step under way
	unsaved bool            // members, owners or targets changed in this step
	logged  map[string]bool // members that the log has
	size    int             // of all members' joins, see joinSize
	commits map[protocol.TopicPartition]bool
	begun   map[string]bool      // whose begins changed in this step
	untold  map[string]time.Time // topics that the group has begun in without a member having been told, until then
	// restless says that a partition is being released or has an owner and no
	// start. Without it there is no need to look at all partitions.
	restless bool
}

// member is one member of a group.
type member struct {
	join     protocol.GroupJoin // as it came, with its defaults filled in
	size     int                // of join, see joinSize
	logged   bool               // the log has join
	deadline time.Time          // of its session
	heard    time.Time
	revision int64
	parked   *parkedBeat
	replaced []string // earlier runs of a static member, the newest last; not logged
}

// parkedBeat is a request that waits for its member's view to change, or, after
// a join, for its first offsets.
type parkedBeat struct {
	to       any
	until    time.Time
	revision int64 // that the member knows
	joining  bool
}

// Topic is what a group knows of a topic.
type Topic struct {
	IDs  []protocol.PartitionID // sorted
	Born protocol.Epoch         // see Topic.Born
}

// groupPart is what a group knows of a partition.
type groupPart struct {
	owner, target string    // members, or ""
	releaseBy     time.Time // of an owner that is not the target
	Committed     protocol.Offset
	epoch         protocol.Epoch // of the record before committed; 0: not known
	Known         bool           // there is a committed offset
	asking        bool           // its start is being looked up
	// loggedOwner and loggedTarget are what the log has: a step logs what differs.
	loggedOwner, loggedTarget string
	askAt                     time.Time

	Log      protocol.Lineage // as its leader told it last
	checked  bool             // the place was compared with log since the last reason to doubt it
	checking bool             // the leader is being asked
	doubts   int              // see Check
	heard    int              // answers and commits that told of the log, see Check
	checkAt  time.Time        // not before
	withheld bool             // from its owner, which has not begun, until it is checked
	stopped  bool             // the place is not in the log, and nobody works on it
	diverged *protocol.GroupDiverged
}

// releasing says that the owner has to give the partition back.
func (p *groupPart) releasing() bool { return p.owner != "" && p.owner != p.target }

// Bug is a bug that a test plants to prove that the suite would catch it.
// Nothing but tests sets it.
type Bug int

// The bugs that can be planted.
const (
	NoBug            Bug = iota // nothing is planted
	SkipRelease                 // the new owner does not wait for the old one
	forgetGeneration            // commits of an older generation are taken
	ForgetOwner                 // commits are taken from members that do not own the partition
	GoBack                      // a commit may lower the committed offset
	ForgetSession               // silent members stay
	keepOffsets                 // those of a deleted topic are kept for one of the same name
	latestWhenFound             // latest is the end of a partition when it is found
	trustOffsets                // places are not compared with the logs
)

// Bugs are their names, for GroupsDeps.Plant.
var Bugs = map[string]Bug{
	"": NoBug, "skip the release": SkipRelease, "forget the generation": forgetGeneration,
	"forget the owner": ForgetOwner, "go back": GoBack, "forget the session": ForgetSession,
	"keep the offsets": keepOffsets, "find the latest late": latestWhenFound, "trust the offsets": trustOffsets,
}

// Effects are what a step asks its shell to do.
type Effects struct {
	Entry   *Entry    // to be logged; nil when nothing changed
	Answers []Answer  // to be given once all entries so far are durable
	Resolve []Resolve // starts to be looked up, see Group.resolved
	Check   []Check   // lineages to be asked for, see Group.placed
	// diverged are to be told to people.
	Diverged []Diverged
}

// Answer is the answer to a request: a reply of package protocol, or an
// error of it.
type Answer struct {
	To    any
	Value any
}

// Resolve asks for the offset of a start position.
type Resolve struct {
	At    protocol.TopicPartition
	born  protocol.Epoch // of the topic
	Start protocol.GroupPlace
	// untold says that the log's end will do as the latest, if it is had before a member
	// is told that the group has begun. Otherwise the latest is the first message from
	// since on.
	untold bool
	Since  time.Time
}

const (
	// joinWait is how long a join waits for the first offsets.
	joinWait = time.Second
	// resolvePause is the time between two tries to look up a start.
	resolvePause = 250 * time.Millisecond
	// topicLinger is how long a topic that is not there any more keeps its
	// partitions assigned: at the start of a broker topics appear one by one.
	topicLinger = 15 * time.Second
	// stallTime is how late a tick may come. When it comes later, nobody ran here,
	// and members that were not heard may have spoken.
	stallTime = 500 * time.Millisecond
	// maxReplaced is how many earlier runs of a static member are remembered. Those that name
	// their instance need not be.
	maxReplaced = 8
	// maxMembers and DefaultMaxState bound the memory of a group.
	maxMembers = 10_000
	// DefaultMaxState is the most bytes that the names and topics of all members have.
	DefaultMaxState = 1 << 20
)

// New continues a group from its image. Its members have a whole session
// to be heard again.
func New(name string, image *Image, routes map[string]Topic, now time.Time) *Group {
	c := &Group{
		name: name, generation: image.State.Generation, strategy: image.State.Strategy,
		Members: map[string]*member{}, Parts: map[protocol.TopicPartition]*groupPart{},
		Born: map[string]protocol.Epoch{}, missing: map[string]time.Time{}, commits: map[protocol.TopicPartition]bool{},
		restless: true, logged: map[string]bool{}, MaxSize: DefaultMaxState,
		begins: map[string]Begin{}, begun: map[string]bool{}, untold: map[string]time.Time{},
	}
	maps.Copy(c.Born, image.Born)
	c.recall(image)
	for _, j := range image.State.Members {
		m := &member{join: j, size: joinSize(&j), logged: true}
		m.alive(now)
		m.touch(now)
		c.Members[j.Member], c.logged[j.Member] = m, true
		c.size += m.size
	}
	for _, h := range image.State.Partitions {
		p := c.part(protocol.TopicPartition{Topic: h.Topic, Partition: h.Partition})
		p.owner, p.target = h.Owner, h.Target
		p.loggedOwner, p.loggedTarget = h.Owner, h.Target
		if m := c.Members[p.owner]; m != nil && p.releasing() {
			p.releaseBy = now.Add(m.releaseTime())
		}
	}
	for at, o := range image.Offsets {
		p := c.part(at)
		p.Committed, p.epoch, p.Known = o.Offset, o.Epoch, true
	}
	c.Routes = routes
	c.renew(now)
	return c
}

func (c *Group) part(at protocol.TopicPartition) *groupPart {
	p := c.Parts[at]
	if p == nil {
		p = &groupPart{}
		c.Parts[at] = p
		if born := c.Routes[at.Topic].Born; born > c.Born[at.Topic] {
			c.Born[at.Topic] = born // it is the first of the topic, else renew had done this
		}
	}
	return p
}

func (m *member) session() time.Duration { return time.Duration(m.join.SessionMs) * time.Millisecond }

func (m *member) releaseTime() time.Duration {
	return time.Duration(m.join.ReleaseMs) * time.Millisecond
}

func (m *member) alive(now time.Time) { m.heard, m.deadline = now, now.Add(m.session()) }

// touch gives the member's view a new revision. Revisions follow the clock, so
// that they go on growing after a restart of the coordinator.
func (m *member) touch(now time.Time) { m.revision = max(m.revision+1, now.UnixMicro()) }

// name is what MetaQ's strategies sort and hash.
func (m *member) name() string { return cmp.Or(m.join.Instance, m.join.Member) }

func (c *Group) answer(to, value any) {
	if to != nil {
		c.out.Answers = append(c.out.Answers, Answer{to, value})
	}
}

// rebalance begins a new generation with new targets.
func (c *Group) rebalance(now time.Time) {
	c.generation++
	c.unsaved = true
	who := make([]subscriber, 0, len(c.Members))
	wanted := map[string]bool{}
	for id, m := range c.Members {
		who = append(who, subscriber{id: id, name: m.name(), topics: m.join.Topics})
		for _, t := range m.join.Topics {
			wanted[t] = true
		}
	}
	before := assignment{}
	for at, p := range c.Parts {
		if p.target != "" {
			before[at] = p.target
		} else if p.owner != "" {
			before[at] = p.owner
		}
	}
	next := assign(c.strategy, c.name, who, c.lists(now, wanted), before)
	for at := range next {
		c.part(at)
	}
	for at, p := range c.Parts {
		p.target = next[at]
		if !p.releasing() {
			p.releaseBy = time.Time{}
		} else if m := c.Members[p.owner]; p.releaseBy.IsZero() && m != nil {
			p.releaseBy = now.Add(m.releaseTime())
		}
		if c.Bug == SkipRelease {
			p.owner = p.target
		}
	}
	c.touchAll(now)
}

func (c *Group) touchAll(now time.Time) {
	for _, m := range c.Members {
		m.touch(now)
	}
}

var errOldTopic error = protocol.ErrUnavailable.With("the topic was deleted and made again meanwhile: try again")

// Resolved takes the offset of a start position that a step asked for, or the
// reason why it is not known.
func (c *Group) Resolved(now time.Time, asked Resolve, start Place, err error) Effects {
	at := asked.At
	p := c.part(at)
	p.asking = false
	if err == nil && asked.born != c.Born[at.Topic] {
		err = errOldTopic
	}
	switch {
	case err != nil:
		p.askAt = now.Add(resolvePause)
	case asked.untold && !now.Before(c.untold[at.Topic]):
		// A member was told before: messages that came after that may be below the end.
		// settle asks for the first one from the begin on.
	case !p.Known:
		// A start is committed at once. Were it only told to the owner, another one
		// that comes after a crash would begin at the latest of its own time, and
		// skip what came in between.
		p.Committed, p.epoch, p.Known = start.Offset, start.Epoch, true
		c.commits[at] = true
		if m := c.Members[p.owner]; m != nil {
			m.touch(now)
		}
	}
	return c.Settle(now)
}

// Tick is called when the time of due has come.
func (c *Group) Tick(now time.Time) Effects {
	if at, some := c.Due(); some && now.Sub(at) > stallTime {
		for _, m := range c.Members {
			if grace := now.Add(m.session() / 2); m.deadline.Before(grace) {
				m.deadline = grace
			}
		}
	}
	gone := map[string]*protocol.Error{}
	for id, m := range c.Members {
		switch {
		case now.Before(m.deadline):
		case c.Bug == ForgetSession:
			m.deadline = now.Add(m.session())
		default:
			gone[id] = c.noMember(id)
		}
	}
	for at, p := range c.Parts {
		if p.releasing() && !p.releaseBy.IsZero() && !now.Before(p.releaseBy) && c.Members[p.owner] != nil {
			gone[p.owner] = protocol.ErrNoMember.With("member %s did not release %s in time and was put out: join again under a new name", p.owner, at)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(gone)) {
		c.remove(c.Members[id], gone[id])
	}
	changed := len(gone) > 0
	for t, since := range c.missing {
		changed = changed || now.Sub(since) >= topicLinger && c.targeted(t)
	}
	if changed {
		c.rebalance(now)
	}
	return c.Settle(now)
}

// Due is when tick must be called next; false when there is nothing to wait for.
func (c *Group) Due() (time.Time, bool) {
	var at time.Time
	sooner := func(t time.Time) {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	for _, m := range c.Members {
		sooner(m.deadline)
		if m.parked != nil {
			sooner(m.parked.until)
		}
	}
	if c.restless {
		for _, p := range c.Parts {
			if p.releasing() {
				sooner(p.releaseBy)
			} else if p.owner != "" && !p.Known && !p.asking {
				sooner(p.askAt)
			}
			if p.Known && !p.checked && !p.checking {
				sooner(p.checkAt)
			}
		}
	}
	for t, since := range c.missing {
		if c.targeted(t) {
			sooner(since.Add(topicLinger))
		}
	}
	return at, !at.IsZero()
}

// Settle ends every step: free partitions go to their targets, starts are asked
// for, requests whose answer is ready are answered, and what changed is to be
// logged.
func (c *Group) Settle(now time.Time) Effects {
	starting := map[string]bool{} // members that own a partition without a start
	if c.unsaved || c.restless {
		c.restless = false
		for at, p := range c.Parts {
			c.settlePart(now, at, p, starting)
		}
	}
	for id, m := range c.Members {
		b := m.parked
		if b == nil {
			continue
		}
		ready := b.revision != m.revision
		if b.joining {
			ready = !starting[id]
		}
		if ready || !now.Before(b.until) {
			c.answer(b.to, c.view(m))
			m.parked = nil
		}
	}
	c.log()
	out := c.out
	c.out = Effects{}
	return out
}

// settlePart gives a free partition to its target and asks for its start.
func (c *Group) settlePart(now time.Time, at protocol.TopicPartition, p *groupPart, starting map[string]bool) {
	if p.owner == "" && p.target != "" {
		p.owner = p.target
		c.Doubt(at)
		p.withheld = p.Known
		c.unsaved = true
		if m := c.Members[p.owner]; m != nil {
			m.touch(now)
		}
	}
	c.check(now, at, p)
	switch {
	case p.owner == "":
		c.dropIdle(at, p)
	case p.releasing():
		c.restless = true
	case p.withheld:
		starting[p.owner] = true
	case !p.Known:
		c.restless = true
		starting[p.owner] = true
		if m := c.Members[p.owner]; m != nil && !p.asking && !now.Before(p.askAt) {
			p.asking = true
			c.out.Resolve = append(c.out.Resolve, c.startOf(now, at, m.join.Start))
		}
	}
}

// log puts what changed into the entry.
func (c *Group) log() {
	if !c.unsaved && len(c.commits) == 0 && len(c.begun) == 0 {
		return
	}
	e := &Entry{Group: c.name, Begins: c.beginsToLog()}
	born := func(topic string) {
		if b := c.Born[topic]; b > 0 {
			if e.Born == nil {
				e.Born = map[string]protocol.Epoch{}
			}
			e.Born[topic] = b
		}
	}
	if c.unsaved {
		e.Change = c.change()
		for i := range e.Change.Partitions {
			born(e.Change.Partitions[i].Topic)
		}
	}
	for at := range c.commits {
		born(at.Topic)
		e.Offsets = append(e.Offsets, protocol.GroupPosition{Topic: at.Topic, Partition: at.Partition, Offset: c.Parts[at].Committed, Epoch: c.Parts[at].epoch})
	}
	sortPositions(e.Offsets)
	c.out.Entry, c.unsaved = e, false
	clear(c.commits)
}

// change is how members, owners and targets differ from what the log has.
func (c *Group) change() *Change {
	e := &Change{Generation: c.generation, Strategy: c.strategy}
	for id, m := range c.Members {
		if !m.logged {
			m.logged, c.logged[id] = true, true
			e.Joined = append(e.Joined, m.join)
		}
	}
	for id := range c.logged {
		if c.Members[id] == nil {
			delete(c.logged, id)
			e.Left = append(e.Left, id)
		}
	}
	for at, p := range c.Parts {
		if p.owner == p.loggedOwner && p.target == p.loggedTarget {
			continue
		}
		p.loggedOwner, p.loggedTarget = p.owner, p.target
		e.Partitions = append(e.Partitions, Holding{Topic: at.Topic, Partition: at.Partition, Owner: p.owner, Target: p.target})
		c.dropIdle(at, p)
	}
	slices.SortFunc(e.Joined, byMember)
	slices.Sort(e.Left)
	slices.SortFunc(e.Partitions, byPartition)
	return e
}

// dropIdle forgets a partition that nobody has and that has no offset. One that the log
// still gives to a member stays until change has logged that.
func (c *Group) dropIdle(at protocol.TopicPartition, p *groupPart) {
	if p.owner == "" && p.target == "" && !p.Known && !p.asking && p.loggedOwner == "" && p.loggedTarget == "" {
		delete(c.Parts, at)
	}
}

// Sorted returns the partitions that the group knows, in order.
func (c *Group) Sorted() []protocol.TopicPartition {
	return slices.SortedFunc(maps.Keys(c.Parts), protocol.TopicPartition.Compare)
}

// view is what a member is to do now.
func (c *Group) view(m *member) protocol.GroupView {
	c.told(m)
	v := protocol.GroupView{
		Group: c.name, Member: m.join.Member, Generation: c.generation, Revision: m.revision,
		HeartbeatMs: m.join.SessionMs / 3,
		Assigned:    []protocol.GroupPosition{}, Release: []protocol.TopicPartition{}, Pending: []protocol.TopicPartition{},
	}
	id := m.join.Member
	for at, p := range c.Parts {
		switch {
		case p.stopped && p.owner == id && p.target == id:
		case p.owner == id && p.target == id && p.Known && !p.withheld:
			v.Assigned = append(v.Assigned, protocol.GroupPosition{Topic: at.Topic, Partition: at.Partition, Offset: p.Committed, Epoch: p.epoch})
		case p.owner == id && p.target != id:
			v.Release = append(v.Release, at)
		case p.target == id:
			v.Pending = append(v.Pending, at)
		}
	}
	v.Diverged = c.stoppedOf(id)
	sortPositions(v.Assigned)
	slices.SortFunc(v.Release, protocol.TopicPartition.Compare)
	slices.SortFunc(v.Pending, protocol.TopicPartition.Compare)
	return v
}

// Blank reports whether the group holds nothing that anybody could miss.
func (c *Group) Blank() bool {
	for _, p := range c.Parts {
		if p.Known {
			return false
		}
	}
	return len(c.Members) == 0
}

// Resume continues after a time in which nobody could be heard.
func (c *Group) Resume(now time.Time) Effects {
	for _, m := range c.Members {
		m.alive(now)
	}
	for _, p := range c.Parts {
		if m := c.Members[p.owner]; m != nil && p.releasing() {
			p.releaseBy = now.Add(m.releaseTime())
		}
	}
	return c.Settle(now)
}
