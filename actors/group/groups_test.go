package group

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/prometheus/client_golang/prometheus"

	"metaq/actors"
	"metaq/actors/actorstest"
	"metaq/actors/group/core"
	"metaq/protocol"
)

// groupsDisk is a fake log of the groups whose batches expire one by one.
type groupsDisk struct {
	*actorstest.Log
}

// Expire drops the oldest batches as the real log drops segments.
func (d *groupsDisk) Expire(r actors.Retention) (func() error, error) {
	total := d.Size()
	d.Mu.Lock()
	defer d.Mu.Unlock()
	d.Expires++
	for len(d.Batches) > 1 && total-int64(len(d.Batches[0].Bytes)) >= r.Bytes {
		total -= int64(len(d.Batches[0].Bytes))
		d.Batches, d.LogStart, d.Synced = d.Batches[1:], d.Batches[0].Header.Next(), d.Synced-1
	}
	return nil, nil
}

// groupsWorld is a broker's groups with one topic of four partitions, which
// reach from offset 10 to end.
type groupsWorld struct {
	t      *testing.T
	system *actor.ActorSystem
	disk   *groupsDisk
	deps   Deps
	groups *Groups
	routes *actors.Routes
	end    atomic.Int64 // of the partitions
}

func newGroupsWorld(t *testing.T, change func(*Deps)) *groupsWorld {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	w := &groupsWorld{t: t, system: actors.NewActorSystem(log), disk: &groupsDisk{&actorstest.Log{}}}
	t.Cleanup(w.system.Shutdown)
	w.end.Store(110)
	leader := w.system.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		if _, ok := ctx.Message().(*actors.Offsets); ok {
			ctx.Respond(protocol.OffsetsReply{LogStart: 10, EndOffset: protocol.Offset(w.end.Load()), Offset: 60})
		}
	}))
	t.Cleanup(func() { _ = w.system.Root.PoisonFuture(leader).Wait() })
	topic := &actors.TopicRoute{Name: "t", All: actorstest.PartitionIDs(4), Leaders: []*actor.PID{leader, leader, leader, leader}}
	w.routes = &actors.Routes{Topics: map[string]*actors.TopicRoute{"t": topic}}
	w.deps = Deps{
		System: w.system, BrokerID: 7, Logger: log,
		OpenLog: func() (actors.Log, error) { return w.disk, w.disk.Open() },
	}
	if change != nil {
		change(&w.deps)
	}
	w.start()
	t.Cleanup(w.stop)
	return w
}

func (w *groupsWorld) start() {
	w.t.Helper()
	g, err := Start(w.deps)
	if err != nil {
		w.t.Fatal(err)
	}
	g.Publish(w.routes)
	w.groups = g
}

func (w *groupsWorld) stop() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := w.groups.Stop(ctx); err != nil {
		w.t.Error(err)
	}
}

func (w *groupsWorld) once(group string, request any) any {
	w.t.Helper()
	var message any = &actors.GroupRequest{Group: group, Request: request}
	if group == "" {
		message = request
	}
	answer, err := w.system.Root.RequestFuture(w.groups.PID(), message, 10*time.Second).Result()
	if err != nil {
		w.t.Fatalf("%T: %v", request, err)
	}
	return answer
}

// ask makes a request, again while the answer is that it is not available now.
func (w *groupsWorld) ask(group string, request any) any {
	w.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		answer := w.once(group, request)
		if err, ok := answer.(error); !ok || !errors.Is(err, protocol.ErrUnavailable) || time.Now().After(deadline) {
			return answer
		}
	}
}

func (w *groupsWorld) join(group, member string, change func(*protocol.GroupJoin)) protocol.GroupView {
	w.t.Helper()
	r := protocol.GroupJoin{Member: member, Topics: []string{"t"}}
	if change != nil {
		change(&r)
	}
	if err := r.Check(); err != nil {
		w.t.Fatal(err)
	}
	return want[protocol.GroupView](w, w.ask(group, r))
}

func want[T any](w *groupsWorld, answer any) T {
	w.t.Helper()
	v, ok := answer.(T)
	if !ok {
		w.t.Fatalf("answer is %v, not a %T", answer, v)
	}
	return v
}

func (w *groupsWorld) refused(answer any, want *protocol.Error) {
	w.t.Helper()
	if err, ok := answer.(error); !ok || !errors.Is(err, want) {
		w.t.Errorf("answer is %v, want %v", answer, want)
	}
}

func commitOf(v protocol.GroupView, n int, offset protocol.Offset) protocol.GroupCommit {
	return protocol.GroupCommit{Member: v.Member, Generation: v.Generation, Offsets: []protocol.GroupPosition{
		{Topic: "t", Partition: protocol.PartitionID{N: n}, Offset: offset},
	}}
}

func TestGroupsSurviveARestart(t *testing.T) {
	w := newGroupsWorld(t, nil)
	x := w.join("g", "x", nil)
	if len(x.Assigned) != 4 || x.Assigned[0].Offset != 10 {
		t.Fatalf("joined with %+v", x.Assigned)
	}
	want[protocol.GroupOffsets](w, w.ask("g", commitOf(x, 2, 42)))
	w.stop()
	w.start()
	beat := want[protocol.GroupView](w, w.ask("g", protocol.GroupHeartbeat{Member: "x", Generation: x.Generation}))
	if beat.Generation != x.Generation || len(beat.Assigned) != 4 || beat.Assigned[2].Offset != 42 || beat.Revision <= x.Revision {
		t.Errorf("after the restart: %+v, before: %+v", beat, x)
	}
	list := want[protocol.GroupList](w, w.ask("", actors.ListGroups{}))
	if len(list.Groups) != 1 || list.Groups[0].Members != 1 || list.Groups[0].Topics[0] != "t" {
		t.Errorf("list is %+v", list)
	}
}

func TestGroupInfoHasTheExactLag(t *testing.T) {
	w := newGroupsWorld(t, nil)
	x := w.join("g", "x", func(r *protocol.GroupJoin) { r.Start.At = protocol.StartLatest })
	want[protocol.GroupOffsets](w, w.ask("h", protocol.GroupReset{Topic: "t", To: protocol.GroupPlace{At: protocol.StartOffset, Offset: 100}}))
	info := want[protocol.GroupInfo](w, w.ask("g", actors.GroupDescribe{}))
	if info.Lag != 0 || info.Coordinator != 7 || info.State != protocol.GroupStable || info.Members[0].Partitions != 4 {
		t.Errorf("info is %+v", info)
	}
	info = want[protocol.GroupInfo](w, w.ask("h", actors.GroupDescribe{}))
	if info.Lag != 40 || info.State != protocol.GroupEmpty || *info.Partitions[0].Lag != 10 {
		t.Errorf("info is %+v", info)
	}
	w.refused(w.ask("g", protocol.GroupDelete{}), protocol.ErrConflict)
	want[protocol.Done](w, w.ask("g", protocol.GroupDelete{Force: true}))
	w.refused(w.ask("g", commitOf(x, 0, 11)), protocol.ErrNoMember)
	w.refused(w.ask("none", actors.GroupDescribe{}), protocol.ErrNoGroup)
	w.refused(w.ask("none", protocol.GroupHeartbeat{Member: "x"}), protocol.ErrNoMember)
	w.refused(w.ask("h", protocol.GroupReset{Topic: "nope", To: protocol.GroupPlace{At: protocol.StartLatest}}), protocol.ErrNoTopic)
}

func TestAFailedSyncAnswersAndRecovers(t *testing.T) {
	w := newGroupsWorld(t, nil)
	x := w.join("g", "x", nil)
	w.disk.Update(func(l *actorstest.Log) { l.SyncErr = actorstest.ErrDisk })
	w.refused(w.once("g", commitOf(x, 0, 50)), protocol.ErrUnavailable)
	reply := want[protocol.GroupOffsets](w, w.ask("g", actors.GroupCommitted{}))
	if reply.Offsets[0].Offset != 10 {
		t.Errorf("offset is %d: the commit was refused", reply.Offsets[0].Offset)
	}
	reply = want[protocol.GroupOffsets](w, w.ask("g", commitOf(x, 0, 50)))
	if reply.Offsets[0].Offset != 50 {
		t.Errorf("commit gave %d", reply.Offsets[0].Offset)
	}
}

func TestALogThatKeptNothingLosesNoGroup(t *testing.T) {
	for _, err := range []*protocol.Error{protocol.ErrDiskFull, protocol.ErrUnavailable} {
		w := newGroupsWorld(t, nil)
		x := w.join("g", "x", nil)
		w.disk.Update(func(l *actorstest.Log) { l.AppendErr = err })
		w.refused(w.once("g", commitOf(x, 0, 50)), err)
		want[protocol.GroupOffsets](w, w.ask("g", commitOf(x, 0, 50)))
	}
}

func TestCommitsThatComeDuringASyncShareTheNext(t *testing.T) {
	began := time.Now()
	w := newGroupsWorld(t, func(d *Deps) { d.Now = func() time.Time { return began } }) // gatherTime never ends
	const groups = 20
	views := make([]protocol.GroupView, groups)
	for i := range views {
		group := fmt.Sprintf("g%d", i)
		views[i] = w.join(group, "x", nil)
		want[protocol.GroupOffsets](w, w.ask(group, commitOf(views[i], 0, 11))) // from now on it knows the end
	}
	syncing, hold := make(chan struct{}), make(chan struct{})
	enter := sync.OnceFunc(func() { close(syncing) })
	var syncs int
	w.disk.Update(func(l *actorstest.Log) { syncs, l.BeforeSync = l.Syncs, func() { enter(); <-hold } })
	var answers []*actor.Future
	for i := range views {
		// To the group itself: its parent is busy with the first commit's sync.
		pid := w.system.NewLocalPID(fmt.Sprintf("%s/g%d-%d", actors.GroupsActor, i, i+1))
		request := &actors.GroupRequest{Request: commitOf(views[i], 0, 50)}
		answers = append(answers, w.system.Root.RequestFuture(pid, request, 10*time.Second))
		if i == 0 {
			<-syncing
		}
		// The group has sent the entry once it answers what comes after it.
		if _, err := w.system.Root.RequestFuture(pid, &actors.GroupRequest{Request: actors.GroupCommitted{}}, 10*time.Second).Result(); err != nil {
			t.Fatal(err)
		}
	}
	close(hold)
	for _, f := range answers {
		a, err := f.Result()
		if err != nil {
			t.Fatal(err)
		}
		want[protocol.GroupOffsets](w, a)
	}
	w.disk.Update(func(l *actorstest.Log) { syncs = l.Syncs - syncs })
	if syncs != 2 {
		t.Errorf("%d syncs for %d commits, of which one came before the others", syncs, groups)
	}
}

func TestTheGroupsLogStaysSmall(t *testing.T) {
	w := newGroupsWorld(t, func(d *Deps) { d.SnapshotBytes = 100 << 10 })
	x := w.join("g", "x", nil)
	other := w.join("other", "y", nil)
	w.end.Store(3000)
	want[protocol.GroupOffsets](w, w.ask("other", commitOf(other, 3, 77)))
	for i := range 2000 {
		want[protocol.GroupOffsets](w, w.ask("g", commitOf(x, 0, protocol.Offset(11+i))))
	}
	var expires int
	w.disk.Update(func(l *actorstest.Log) { expires = l.Expires })
	if size := w.disk.Size(); expires == 0 || size > 300<<10 {
		t.Errorf("the log has %d bytes, %d times something expired", size, expires)
	}
	w.stop()
	w.start()
	if r := want[protocol.GroupOffsets](w, w.ask("g", actors.GroupCommitted{})); r.Offsets[0].Offset != 2010 {
		t.Errorf("offsets are %+v", r)
	}
	if r := want[protocol.GroupOffsets](w, w.ask("other", actors.GroupCommitted{})); r.Offsets[3].Offset != 77 {
		t.Errorf("offsets of the other group are %+v", r)
	}
}

func TestAnEmptyGroupGivesUpItsActor(t *testing.T) {
	w := newGroupsWorld(t, func(d *Deps) { d.Idle = time.Millisecond })
	w.join("g", "x", nil)
	want[protocol.Done](w, w.ask("g", protocol.GroupLeave{Member: "x"}))
	gone := func() bool {
		_, there := w.system.ProcessRegistry.GetLocal(actors.GroupsActor + "/g-1")
		return !there
	}
	for deadline := time.Now().Add(10 * time.Second); !gone(); {
		if time.Now().After(deadline) {
			t.Fatal("the group's actor is still there")
		}
	}
	if r := want[protocol.GroupOffsets](w, w.ask("g", actors.GroupCommitted{})); len(r.Offsets) != 4 {
		t.Errorf("offsets are %+v", r)
	}
}

// fakeCoordination keeps claims and mirror in memory.
type fakeCoordination struct {
	mu      sync.Mutex // guards what follows
	epochs  map[string]protocol.Epoch
	offsets map[string]map[protocol.TopicPartition]core.Place
	born    map[string]map[string]protocol.Epoch
	begins  map[string]map[string]core.Begin
	calls   int
	deleted map[string]protocol.Epoch
	away    error // why the registry is not asked
	fail    error // of the next mirror
	noLook  error // of the next look which groups are held
	term    uint64
	blind   bool // no lease
	sighted int
	refuse  error  // of the next deletion
	enter   func() // called by each deletion
}

func (c *fakeCoordination) ClaimGroup(_ context.Context, group string) (protocol.Epoch, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epochs[group]++
	return c.epochs[group], nil
}

func (c *fakeCoordination) GroupRecorded(_ context.Context, group string) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.epochs[group] > 0, nil
}

func (c *fakeCoordination) Holds(term uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.blind && term == c.term
}

func (c *fakeCoordination) Term() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.term
}

func (c *fakeCoordination) Sighted() (int, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sighted, c.sighted != 0
}

func (c *fakeCoordination) HeldGroups(_ context.Context, epochs map[string]protocol.Epoch) ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := actorstest.Take(&c.noLook); err != nil {
		return nil, err
	}
	var held []string
	for group, known := range epochs {
		if now := c.epochs[group]; (now == known || now == known+1) && c.deleted[group] < known {
			held = append(held, group)
		}
	}
	return held, nil
}

func (c *fakeCoordination) GroupOffsets(_ context.Context, group string) (Mirror, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Mirror{
		Offsets: core.Positions(c.offsets[group]), Born: maps.Clone(c.born[group]), Deleted: c.deleted[group],
		Begins: slices.Collect(maps.Values(c.begins[group])),
	}, nil
}

func (c *fakeCoordination) MirrorOffsets(_ context.Context, changed map[string]Mirror) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls++
	if err := actorstest.Take(&c.fail); err != nil {
		return err
	}
	for group, mirror := range changed {
		for _, b := range mirror.Begins {
			if c.begins == nil {
				c.begins = map[string]map[string]core.Begin{}
			}
			if c.begins[group] == nil {
				c.begins[group] = map[string]core.Begin{}
			}
			c.begins[group][b.Topic] = b
		}
		if len(mirror.Offsets) == 0 {
			continue
		}
		if c.offsets[group] == nil {
			c.offsets[group] = map[protocol.TopicPartition]core.Place{}
		}
		if c.born == nil {
			c.born = map[string]map[string]protocol.Epoch{}
		}
		c.born[group] = mirror.Born
		for _, o := range mirror.Offsets {
			c.offsets[group][o.At()] = core.PlaceIn(&o)
		}
	}
	return nil
}

func (c *fakeCoordination) Away() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.away
}

func (c *fakeCoordination) DeleteGroup(_ context.Context, group string) (protocol.Epoch, error) {
	if c.enter != nil {
		c.enter()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.offsets, group)
	delete(c.begins, group)
	if err := actorstest.Take(&c.refuse); err != nil {
		return 0, err
	}
	if c.deleted == nil {
		c.deleted = map[string]protocol.Epoch{}
	}
	c.deleted[group] = c.epochs[group]
	c.epochs[group]++
	return c.epochs[group], nil
}

func TestOffsetsAreMirroredAndTakenOver(t *testing.T) {
	c := &fakeCoordination{epochs: map[string]protocol.Epoch{}, offsets: map[string]map[protocol.TopicPartition]core.Place{}, fail: actorstest.ErrDisk}
	w := newGroupsWorld(t, func(d *Deps) { d.Coordination, d.SyncTime = c, 50*time.Millisecond })
	x := w.join("g", "x", nil)
	for i := range 100 {
		want[protocol.GroupOffsets](w, w.ask("g", commitOf(x, 0, protocol.Offset(11+i))))
	}
	at := protocol.TopicPartition{Topic: "t"}
	mirrored := func() (protocol.Offset, int) {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.offsets["g"][at].Offset, c.calls
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		offset, calls := mirrored()
		if offset == 110 && calls < 50 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("mirror has %d after %d calls", offset, calls)
		}
	}
	w.stop()
	// Claimed by nobody else: the log is the truth, and the member is still there.
	w.start()
	want[protocol.GroupView](w, w.ask("g", protocol.GroupHeartbeat{Member: "x", Generation: x.Generation}))
	w.stop()
	// Another broker had it and reset an offset: the mirror is the truth.
	c.mu.Lock()
	c.epochs["g"]++
	c.offsets["g"][at] = core.Place{Offset: 30}
	c.mu.Unlock()
	w.start()
	w.refused(w.ask("g", protocol.GroupHeartbeat{Member: "x", Generation: x.Generation}), protocol.ErrNoMember)
	if r := want[protocol.GroupOffsets](w, w.ask("g", actors.GroupCommitted{})); r.Offsets[0].Offset != 30 || r.Generation <= x.Generation {
		t.Errorf("offsets are %+v", r)
	}
}

// Another broker takes a group over before any offset of it was mirrored, and before its
// topic exists: it has begun all the same, and does not skip what came since.
func TestAnotherCoordinatorKnowsThatAGroupHasBegun(t *testing.T) {
	c := &fakeCoordination{epochs: map[string]protocol.Epoch{}, offsets: map[string]map[protocol.TopicPartition]core.Place{}}
	w := newGroupsWorld(t, func(d *Deps) { d.Coordination, d.SyncTime = c, time.Hour })
	join := func(group, member string) protocol.GroupView {
		r := protocol.GroupJoin{Member: member, Topics: []string{"coming", "t"}, Start: protocol.GroupPlace{At: protocol.StartLatest}}
		if err := r.Check(); err != nil {
			t.Fatal(err)
		}
		return want[protocol.GroupView](w, w.ask(group, r))
	}
	join("g", "x")
	c.mu.Lock() // the join was answered
	begins := c.begins["g"]
	if _, coming := begins["coming"]; len(begins) != 2 || !coming || begins["t"].Homes[0] != 4 {
		t.Errorf("the registry has %+v", begins)
	}
	c.fail = errors.New("the registry is away")
	c.mu.Unlock()
	join("h", "x") // waits for the next try
	c.mu.Lock()
	if len(c.begins["h"]) != 2 {
		t.Errorf("the registry refused once, and has %+v", c.begins["h"])
	}
	c.fail, c.away = errors.New("the registry is away"), errors.New("the registry is away")
	c.mu.Unlock()
	join("h", "y") // has nothing to tell
	w.stop()
	c.mu.Lock()
	c.epochs["g"], c.fail, c.away = c.epochs["g"]+5, nil, nil
	c.mu.Unlock()
	w.start()
	join("g", "y")
	c.mu.Lock()
	defer c.mu.Unlock()
	for topic, b := range c.begins["g"] {
		if !b.Same(begins[topic]) {
			t.Errorf("the group began again in %s: %+v", topic, b)
		}
	}
}

// A broker is killed before what was committed is mirrored. Its next run mirrors that without
// anybody's request, whether the group has members or not, but nothing of a group that
// another broker has coordinated since.
func TestWhatAKillLeftUnmirroredIsMirroredAfterTheRestart(t *testing.T) {
	c := &fakeCoordination{epochs: map[string]protocol.Epoch{}, offsets: map[string]map[protocol.TopicPartition]core.Place{}}
	w := newGroupsWorld(t, func(d *Deps) { d.Coordination, d.SyncTime = c, time.Hour })
	for _, group := range []string{"busy", "empty", "moved"} {
		x := w.join(group, "x", nil)
		want[protocol.GroupOffsets](w, w.ask(group, commitOf(x, 0, 23)))
		if group != "busy" {
			want[protocol.Done](w, w.ask(group, protocol.GroupLeave{Member: "x"}))
		}
	}
	c.mu.Lock()
	c.fail = actorstest.ErrDisk // the last mirror of a stop, which a kill does not even try
	c.mu.Unlock()
	w.stop()
	at := protocol.TopicPartition{Topic: "t"}
	c.mu.Lock()
	if len(c.offsets) > 0 {
		t.Errorf("mirrored before the restart: %v", c.offsets)
	}
	c.epochs["moved"] += 2
	c.offsets["moved"] = map[protocol.TopicPartition]core.Place{at: {Offset: 77}}
	c.noLook = actorstest.ErrDisk // it is tried again
	c.mu.Unlock()
	w.deps.SyncTime = time.Millisecond
	w.start()
	mirrored := func(group string) protocol.Offset {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.offsets[group][at].Offset
	}
	for deadline := time.Now().Add(10 * time.Second); mirrored("busy") != 23 || mirrored("empty") != 23; {
		if time.Now().After(deadline) {
			t.Fatalf("mirrored are %d and %d", mirrored("busy"), mirrored("empty"))
		}
	}
	if mirrored("moved") != 77 {
		t.Errorf("the other broker's offset is %d now", mirrored("moved"))
	}
}

// A broker that cannot know whether it still coordinates a group answers nobody as if it did,
// and puts nobody out: when it is sure again, members and generation are what they were.
func TestACoordinatorWithoutALeaseRefusesAndGoesOnAfterwards(t *testing.T) {
	c := &fakeCoordination{epochs: map[string]protocol.Epoch{}, offsets: map[string]map[protocol.TopicPartition]core.Place{}}
	w := newGroupsWorld(t, func(d *Deps) { d.Coordination, d.SyncTime = c, time.Hour })
	x := w.join("g", "x", func(r *protocol.GroupJoin) { r.SessionMs = protocol.MinSessionMs })
	set := func(change func()) {
		c.mu.Lock()
		defer c.mu.Unlock()
		change()
	}
	parked := w.system.Root.RequestFuture(w.groups.PID(), &actors.GroupRequest{
		Group: "g", Request: protocol.GroupHeartbeat{Member: "x", Generation: x.Generation, Revision: x.Revision, WaitMs: 60_000},
	}, 10*time.Second)
	set(func() { c.blind = true })
	answer, err := parked.Result() // what waited is not answered as if all were well
	if err != nil {
		t.Fatal(err)
	}
	w.refused(answer, protocol.ErrUnavailable)
	began := time.Now()
	for time.Since(began) < 2*protocol.MinSessionMs*time.Millisecond {
		w.refused(w.once("g", commitOf(x, 0, 42)), protocol.ErrUnavailable)
		w.refused(w.once("g", protocol.GroupHeartbeat{Member: "x", Generation: x.Generation}), protocol.ErrUnavailable)
		w.refused(w.once("g", actors.GroupDescribe{}), protocol.ErrUnavailable)
	}
	// Where another broker sees the registry it is asked: it can find out.
	set(func() { c.sighted = 3 })
	sent := make(chan int, 1)
	w.system.Root.Send(w.groups.PID(), &actors.GroupRequest{Group: "g", Request: actors.GroupDescribe{}, Elsewhere: func(broker int) { sent <- broker }})
	if to := <-sent; to != 3 {
		t.Errorf("sent on to broker %d", to)
	}
	set(func() { c.blind = false })
	beat := want[protocol.GroupView](w, w.ask("g", protocol.GroupHeartbeat{Member: "x", Generation: x.Generation}))
	if beat.Generation != x.Generation || len(beat.Assigned) != 4 || beat.Assigned[0].Offset != 10 {
		t.Errorf("afterwards: %+v, before: %+v", beat, x)
	}
	if r := want[protocol.GroupOffsets](w, w.ask("g", commitOf(x, 0, 43))); r.Offsets[0].Offset != 43 {
		t.Errorf("commit gave %+v", r)
	}
}

// Another broker had the lease in between and coordinated the group: what is known here is
// over, the group is claimed again, and its generations are above all of the other's.
func TestAClaimOfATermThatIsOverIsMadeAgain(t *testing.T) {
	c := &fakeCoordination{epochs: map[string]protocol.Epoch{}, offsets: map[string]map[protocol.TopicPartition]core.Place{}}
	w := newGroupsWorld(t, func(d *Deps) { d.Coordination, d.SyncTime = c, time.Hour })
	x := w.join("g", "x", nil)
	c.mu.Lock()
	c.epochs["g"]++ // the other one's claim, whose generations nobody here knows
	other := firstGeneration(c.epochs["g"]) + 57
	c.offsets["g"] = map[protocol.TopicPartition]core.Place{{Topic: "t"}: {Offset: 77}}
	c.term++
	c.mu.Unlock()
	w.refused(w.ask("g", commitOf(x, 0, 42)), protocol.ErrNoMember)
	fresh := w.join("g", "y", nil)
	if fresh.Generation <= other || fresh.Assigned[0].Offset != 77 {
		t.Errorf("joined with %+v; the other coordinator's generation was %d", fresh, other)
	}
	// So it is where the group has no offset, and nothing of it is known here.
	c.mu.Lock()
	c.epochs["unknown"] = 4
	c.mu.Unlock()
	if v := w.join("unknown", "x", nil); v.Generation <= firstGeneration(4)+1000 {
		t.Errorf("joined an unknown group in generation %d; the one before may have had %d", v.Generation, firstGeneration(4)+1000)
	}
}

// A claim has room for 16 million generations, which a number of JSON holds anywhere. What
// comes then begins with another claim, so that a successor's generation is never lower.
func TestTheGenerationsOfClaimsDoNotOverlap(t *testing.T) {
	for epoch := protocol.Epoch(1); epoch < 1<<28; epoch *= 3 {
		next := firstGeneration(epoch + 1)
		if !usedUp(next-1, epoch) || usedUp(next-2, epoch) {
			t.Errorf("the generations of epoch %d do not end right before %d", epoch, next)
		}
		if next <= firstGeneration(epoch) || next >= 1<<53 {
			t.Errorf("the generations of epoch %d begin at %d, those before at %d", epoch+1, next, firstGeneration(epoch))
		}
	}
	if firstGeneration(1) != 0 || usedUp(1<<40, 0) {
		t.Error("a group that nobody coordinated before, or that needs no claim, is limited")
	}
}

// A broker that stops leaves the registry before it stops its groups: what was committed
// must be mirrored before that, and nothing may be committed after it.
func TestRetiredGroupsHaveMirroredAndCommitNoMore(t *testing.T) {
	c := &fakeCoordination{epochs: map[string]protocol.Epoch{}, offsets: map[string]map[protocol.TopicPartition]core.Place{}}
	w := newGroupsWorld(t, func(d *Deps) { d.Coordination, d.SyncTime = c, time.Hour })
	x := w.join("g", "x", nil)
	want[protocol.GroupOffsets](w, w.ask("g", commitOf(x, 0, 23)))
	for range 2 { // again is nothing
		if err := w.groups.Retire(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got, _ := c.GroupOffsets(t.Context(), "g"); len(got.Offsets) == 0 || got.Offsets[0].Offset != 23 {
		t.Errorf("mirror has %v", got)
	}
	w.refused(w.once("g", commitOf(x, 0, 24)), protocol.ErrUnavailable)
}

// absentRegistry knows who coordinates each group, once, and is away then.
type absentRegistry struct {
	Coordination
	asked atomic.Int32
}

func (r *absentRegistry) Term() uint64 { return 0 }

func (r *absentRegistry) GroupRecorded(context.Context, string) (bool, error) { return true, nil }

func (r *absentRegistry) ClaimGroup(ctx context.Context, _ string) (protocol.Epoch, error) {
	if r.asked.Add(1) == 1 {
		return 0, &CoordinatedElsewhere{Broker: 3}
	}
	<-ctx.Done()
	return 0, protocol.ErrUnavailable.With("away")
}

func TestTheCoordinatorIsRememberedWhileTheRegistryIsAway(t *testing.T) {
	r := &absentRegistry{}
	var passed atomic.Int64 // of time
	w := newGroupsWorld(t, func(d *Deps) {
		d.Coordination = r
		d.Now = func() time.Time { return time.Unix(0, passed.Load()) }
	})
	want[protocol.GroupList](w, w.ask("", actors.ListGroups{})) // the log is open
	for range 5 {
		sent := make(chan int, 1)
		w.system.Root.Send(w.groups.PID(), &actors.GroupRequest{
			Group: "g", Request: actors.GroupDescribe{}, Elsewhere: func(broker int) { sent <- broker },
		})
		select {
		case broker := <-sent:
			if broker != 3 {
				t.Errorf("sent on to %d", broker)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("the request waits for the registry")
		}
		passed.Add(int64(2 * foreignTTL))
	}
	for deadline := time.Now().Add(10 * time.Second); r.asked.Load() != 2; {
		if time.Now().After(deadline) {
			t.Fatalf("the registry was asked %d times", r.asked.Load())
		}
	}
}

func TestTheLagIsMeasured(t *testing.T) {
	reg := prometheus.NewRegistry()
	w := newGroupsWorld(t, func(d *Deps) { d.Metrics, d.LagTime = reg, time.Millisecond })
	x := w.join("g", "x", nil)
	want[protocol.GroupOffsets](w, w.ask("g", commitOf(x, 0, 60)))
	lag := func() (value float64, shown bool) {
		all, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range all {
			if f.GetName() == "metaq_group_lag_messages" {
				return f.GetMetric()[0].GetGauge().GetValue(), true
			}
		}
		return 0, false
	}
	until := func(what string, done func() bool) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); !done(); {
			if time.Now().After(deadline) {
				v, shown := lag()
				t.Fatalf("waited for %s; lag is %v, %v", what, v, shown)
			}
		}
	}
	until("the lag", func() bool { v, _ := lag(); return v == 350 })
	want[protocol.Done](w, w.ask("g", protocol.GroupLeave{Member: "x"}))
	until("the lag of an empty group", func() bool { v, shown := lag(); return shown && v == 350 })
	// It stays when the group has no actor any more, also after a restart.
	w.stop()
	w.deps.Idle, w.deps.Metrics = time.Millisecond, prometheus.NewRegistry()
	reg = w.deps.Metrics.(*prometheus.Registry)
	w.start()
	w.end.Add(10)
	until("the lag of a group without an actor", func() bool { v, shown := lag(); return shown && v == 390 })
	w.ask("g", actors.GroupCommitted{}) // gives it one, for a moment
	w.end.Add(10)
	until("its lag after that", func() bool { v, shown := lag(); return shown && v == 430 })
	want[protocol.Done](w, w.ask("g", protocol.GroupDelete{}))
	until("no lag of a deleted group", func() bool { _, shown := lag(); return !shown })
}

// Who waits for the log is not told that it is being opened.
func TestGroupsServeOnceTheirLogIsOpened(t *testing.T) {
	opened := make(chan struct{})
	w := newGroupsWorld(t, func(d *Deps) {
		open := d.OpenLog
		d.OpenLog = func() (actors.Log, error) {
			<-opened
			return open()
		}
	})
	ended, end := context.WithCancel(t.Context())
	end()
	if err := w.groups.Opened(ended); !errors.Is(err, context.Canceled) {
		t.Fatalf("a log that is being opened: %v", err)
	}
	if err, _ := w.once("g", protocol.GroupJoin{Member: "m", Topics: []string{"t"}}).(error); !errors.Is(err, protocol.ErrUnavailable) {
		t.Fatalf("a join while the log is being opened: %v", err)
	}
	close(opened)
	if err := w.groups.Opened(t.Context()); err != nil {
		t.Fatal(err)
	}
	want[protocol.GroupList](w, w.once("", actors.ListOwnGroups{}))
}

func TestGroupsWhoseLogCannotBeOpenedSayWhy(t *testing.T) {
	w := newGroupsWorld(t, func(d *Deps) {
		d.OpenLog = func() (actors.Log, error) { return nil, errors.New("no such disk") }
		d.Retry, d.MaxRetry = 100*time.Millisecond, 100*time.Millisecond
	})
	if err := w.groups.Opened(t.Context()); err != nil {
		t.Fatal(err)
	}
	err, _ := w.once("g", protocol.GroupJoin{Member: "m", Topics: []string{"t"}}).(error)
	if !errors.Is(err, protocol.ErrUnavailable) || !strings.Contains(err.Error(), "no such disk") {
		t.Fatalf("a join: %v", err)
	}
}

func TestOnlyKnownBugsCanBePlanted(t *testing.T) {
	w := newGroupsWorld(t, nil)
	w.deps.Plant = "no such bug"
	if _, err := Start(w.deps); err == nil {
		t.Error("a bug was planted that is not there")
	}
}
