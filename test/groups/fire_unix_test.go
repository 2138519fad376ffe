//go:build unix

package groups

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"metaq/client"
	"metaq/protocol"
	"metaq/test/process"
	zktest "metaq/test/zk"
)

// fire is one run: brokers and members as processes, and what happens to them.
type fire struct {
	t       testing.TB
	r       *rand.Rand
	c       *client.Client
	nc      *nats.Conn // for forged commits
	j       *judge
	plan    memberPlan // of all members, but for their names
	brokers []*process.Broker
	members []*memberProcess
	named   int
	former  map[string]bool // names that members had in the group
	forged  map[string]bool // owner and generation
	slowest time.Duration   // from a stable group until all partitions had an owner
}

var fireTopics = []string{"orders", "mails"}

// firePartitions of each topic, on each broker.
const firePartitions = 4

func newFire(t testing.TB, brokers ...*process.Broker) *fire {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	f := &fire{
		t: t, r: rand.New(rand.NewPCG(seed, 0)), j: newJudge(), brokers: brokers,
		plan: memberPlan{Topics: fireTopics, Session: memberSession, Commit: 100 * time.Millisecond}, former: map[string]bool{}, forged: map[string]bool{},
	}
	for _, b := range brokers {
		f.plan.Servers = append(f.plan.Servers, b.URL)
	}
	var err error
	if f.c, err = client.Connect(t.Context(), client.WithServers(f.plan.Servers...)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.c.Close)
	if f.nc, err = nats.Connect(strings.Join(f.plan.Servers, ","), nats.MaxReconnects(-1)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.nc.Close)
	for _, topic := range fireTopics {
		if _, err := f.c.Admin().CreateTopic(t.Context(), protocol.TopicCreate{Topic: topic, Partitions: firePartitions}); err != nil {
			t.Fatal(err)
		}
		await(t, "the partitions of "+topic, func() bool {
			info, err := f.c.Admin().TopicInfo(t.Context(), topic)
			return err == nil && len(info.Partitions) == firePartitions*len(brokers)
		})
	}
	return f
}

// enters adds a member. Each second one is static.
func (f *fire) enters() {
	plan := f.plan
	if f.named%2 == 1 {
		plan.Instance = fmt.Sprintf("i%d", f.named)
	}
	f.start(plan)
}

func (f *fire) start(plan memberPlan) {
	f.named++
	plan.Name = fmt.Sprintf("m%d", f.named)
	f.members = append(f.members, startMember(f.t, plan, f.j.hear))
}

// any is a member by chance.
func (f *fire) any() *memberProcess { return f.members[f.r.IntN(len(f.members))] }

// out takes a member out of the list.
func (f *fire) out() *memberProcess {
	m := f.any()
	f.members = slices.DeleteFunc(f.members, func(o *memberProcess) bool { return o == m })
	return m
}

func (f *fire) check(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Error(err)
	}
}

// wait lets the others go on.
func (f *fire) wait(d time.Duration) {
	select {
	case <-time.After(d):
	case <-f.t.Context().Done():
	}
}

// settle waits until the group knows who lives, and then until all partitions have an
// owner, which works on them, and nobody else does.
func (f *fire) settle() {
	f.t.Helper()
	var living []string
	for _, m := range f.members {
		living = append(living, m.plan.Name)
	}
	slices.Sort(living)
	var info protocol.GroupInfo
	await(f.t, fmt.Sprintf("members %v", living), func() bool {
		var err error
		ctx, cancel := context.WithTimeout(f.t.Context(), time.Second)
		defer cancel()
		if info, err = f.c.Admin().GroupInfo(ctx, "g"); err != nil {
			return false
		}
		var names []string
		for i := range info.Members {
			names = append(names, info.Members[i].Client)
		}
		slices.Sort(names)
		return slices.Equal(names, living)
	})
	stable := time.Now()
	await(f.t, "all partitions at members", func() bool {
		ctx, cancel := context.WithTimeout(f.t.Context(), time.Second)
		defer cancel()
		info, err := f.c.Admin().GroupInfo(ctx, "g")
		return err == nil && info.State == protocol.GroupStable && f.owned(&info)
	})
	f.slowest = max(f.slowest, time.Since(stable))
}

// owned says whether each partition has an owner, and nobody else works on it.
func (f *fire) owned(info *protocol.GroupInfo) bool {
	names := map[string]string{}
	for i := range info.Members {
		names[info.Members[i].Member] = info.Members[i].Client
	}
	workers := f.j.workers()
	for i := range info.Partitions {
		p := &info.Partitions[i]
		at := protocol.TopicPartition{Topic: p.Topic, Partition: p.Partition}
		if p.Owner == "" || !slices.Equal(workers[at], []string{names[p.Owner]}) {
			return false
		}
	}
	return len(info.Partitions) == len(fireTopics)*firePartitions*len(f.brokers)
}

// Whose commits must be refused.
const (
	ofOlder = "the owner in an older generation"
	ofGone  = "a member that has gone"
)

// look asks the group what it has committed, and tries to commit what must not be.
func (f *fire) look(ctx context.Context) {
	bounded, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if offsets, err := f.c.Admin().GroupOffsets(bounded, "g"); err == nil {
		f.j.look(time.Now(), offsets)
	}
	info, err := f.c.Admin().GroupInfo(bounded, "g")
	if err != nil {
		return
	}
	living := map[string]bool{}
	for i := range info.Members {
		living[info.Members[i].Member] = true
	}
	for i := range info.Partitions {
		p := &info.Partitions[i]
		if p.Owner == "" || p.Committed == nil {
			continue
		}
		at := protocol.GroupPosition{Topic: p.Topic, Partition: p.Partition, Offset: *p.Committed}
		// Once each: whatever comes in a member's name says that it lives.
		if once := fmt.Sprint(p.Owner, info.Generation); !f.forged[once] {
			f.forged[once] = true
			f.forge(bounded, protocol.GroupCommit{Member: p.Owner, Generation: info.Generation - 1, Offsets: []protocol.GroupPosition{at}}, ofOlder)
		}
		for name := range f.former {
			if !living[name] {
				f.forge(bounded, protocol.GroupCommit{Member: name, Generation: info.Generation, Offsets: []protocol.GroupPosition{at}}, ofGone)
				break
			}
		}
		break
	}
	for name := range living {
		f.former[name] = true
	}
}

// forge sends a commit that must be refused.
func (f *fire) forge(ctx context.Context, r protocol.GroupCommit, what string) {
	body, err := json.Marshal(r)
	if err != nil {
		f.t.Error(err)
		return
	}
	m, err := f.nc.RequestWithContext(ctx, protocol.Subjects{}.Group("g", protocol.GroupVerbCommit), body)
	if err != nil {
		return // the broker is away
	}
	err = protocol.DecodeError(m.Data)
	if err == nil || errors.Is(err, protocol.ErrFenced) || errors.Is(err, protocol.ErrNoMember) {
		f.j.stale(what, err != nil)
	}
}

// produce sends unique values and notes which were acknowledged.
func (f *fire) produce(ctx context.Context) {
	p, err := f.c.NewProducer()
	if err != nil {
		f.t.Error(err)
		return
	}
	defer func() {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		_ = p.Close(bounded) // what was not acknowledged is not asked for
	}()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ctx.Err() == nil; i++ {
		value := strconv.Itoa(i)
		err := p.SendAsync(ctx, client.Record{Topic: fireTopics[i%2], Value: []byte(value)}, func(_ client.Result, err error) {
			if err == nil {
				f.j.ack(value)
			}
		})
		if err != nil && !errors.Is(err, context.Canceled) {
			f.t.Error(err)
			return
		}
		<-tick.C
	}
}

// burn lets acts happen while producers and the judge are at work, and returns the
// faults; grace is how long the effects of an incident last.
func (f *fire) burn(grace time.Duration, acts func()) []string {
	f.t.Helper()
	defer func() {
		for _, m := range f.members {
			f.check(m.kill())
		}
	}()
	ctx, stop := context.WithCancel(f.t.Context())
	defer stop()
	var work sync.WaitGroup
	defer work.Wait()
	defer stop()
	work.Go(func() { f.produce(ctx) })
	work.Go(func() {
		watchStalls(ctx, f.plan.Session/shareOfSession, func(began, ended time.Time) { f.j.suffers(machineStalled, "", began, ended) })
	})
	work.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			f.look(ctx)
			<-tick.C
		}
	})
	acts()
	f.settle()
	stop()
	work.Wait()
	for deadline := time.Now().Add(patience); len(f.j.missing()) > 0 && time.Now().Before(deadline); {
		f.wait(20 * time.Millisecond) // what is missing then, the verdict says
	}
	for len(f.members) > 0 {
		f.leaves()
	}
	if offsets, err := f.c.Admin().GroupOffsets(f.t.Context(), "g"); err == nil {
		f.j.look(time.Now(), offsets)
	}
	faults := f.j.verdict(time.Now(), grace)
	f.t.Logf("%d members; %s; partitions owned at most %v after stability", f.named, f.j, f.slowest)
	return faults
}

// hold runs the checker for length: hand-overs in peace, then each incident once, and
// then anything by chance, with a rest each fourth time.
func (f *fire) hold(length, grace time.Duration) {
	f.t.Helper()
	faults := f.burn(grace, func() {
		f.handOver()
		acts := slices.Concat(incidents, calm, calm)
		for begun, n := time.Now(), 0; time.Since(begun) < length || n < len(incidents); n++ {
			what := n
			if n >= len(incidents) {
				what = f.r.IntN(len(acts))
			}
			f.step(acts[what])
			if n%4 == 3 {
				f.settle()
			}
			if n%32 == 31 { // now and then no incident can be the reason
				f.wait(grace)
				f.handOver()
			}
		}
	})
	for _, fault := range faults {
		f.t.Error(fault)
	}
	if f.slowest > 2*time.Second && !f.j.stalled() {
		f.t.Errorf("all partitions had an owner %v after the group was stable", f.slowest)
	}
	for _, what := range []string{ofOlder, ofGone} {
		if f.j.refused[what] == 0 {
			f.t.Errorf("no commit of %s was tried", what)
		}
	}
}

// soak is METAQ_SOAK, or no time: then each incident happens once.
func soak(t testing.TB) time.Duration {
	t.Helper()
	s := os.Getenv("METAQ_SOAK")
	if s == "" {
		return 0
	}
	length, err := time.ParseDuration(s)
	if err != nil {
		t.Fatalf("METAQ_SOAK: %v", err)
	}
	return length
}

// TestMembersAndABrokerUnderFire is a short run with one broker, whose offsets never go
// back.
func TestMembersAndABrokerUnderFire(t *testing.T) {
	newFire(t, process.Start(t, nil)).hold(0, memberSession+2*time.Second)
}

// TestMembersAndAClusterUnderFire is the run of make soak, then as long as METAQ_SOAK
// says.
func TestMembersAndAClusterUnderFire(t *testing.T) {
	ensemble := zktest.Start(t, 1)
	const session = 4 * time.Second
	var brokers []*process.Broker
	for id := range 2 {
		brokers = append(brokers, process.Start(t, map[string]string{
			"broker-id": strconv.Itoa(id), "zookeeper": ensemble.Connect(), "nats-cluster-port": "0",
			"zk-session-timeout-ms": strconv.FormatInt(session.Milliseconds(), 10),
		}))
	}
	f := newFire(t, brokers...)
	f.j.mirrored = session + memberSession + 2*time.Second
	f.hold(soak(t), f.j.mirrored)
}

// What must not be is done by real processes, and the judge has to see it.
func TestTheJudgeSeesPlantedBugs(t *testing.T) {
	for _, c := range []struct {
		name string
		bug  string // of the broker
		plan func(*memberPlan)
		want string
	}{
		{name: "none"},
		// Commits are left to the hand-over, so that one that is not in order shows.
		{"skip the release step", "skip the release", func(p *memberPlan) { p.Commit = time.Minute }, "was processed twice"},
		{"forget the generation check", "forget the generation", nil, "took a commit of " + ofOlder},
		{"commit before processing", "", func(p *memberPlan) { p.Early = true }, "was not processed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFire(t, process.Start(t, map[string]string{"plant": c.bug}))
			f.plan.Session = 10 * time.Second // nobody dies here, and on a busy machine nobody may seem to
			if c.plan != nil {
				c.plan(&f.plan)
			}
			faults := f.burn(memberSession, f.handOver)
			if all := strings.Join(faults, "\n"); !strings.Contains(all, c.want) || c.want == "" && all != "" {
				t.Errorf("it saw %q", all)
			}
		})
	}
}
