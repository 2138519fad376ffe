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
	"syscall"
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
	brokers []*process.Broker
	servers []string
	members []*memberProcess
	early   bool
	named   int
	former  map[string]bool // names that members had in the group
	forged  map[string]bool // owner and generation
}

var fireTopics = []string{"orders", "mails"}

// firePartitions of each topic, on each broker.
const firePartitions = 4

func newFire(t testing.TB, seed uint64, early bool, brokers ...*process.Broker) *fire {
	t.Helper()
	f := &fire{t: t, r: rand.New(rand.NewPCG(seed, 0)), j: newJudge(), brokers: brokers, early: early, former: map[string]bool{}, forged: map[string]bool{}}
	for _, b := range brokers {
		f.servers = append(f.servers, b.URL)
	}
	var err error
	if f.c, err = client.Connect(t.Context(), client.WithServers(f.servers...)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.c.Close)
	if f.nc, err = nats.Connect(strings.Join(f.servers, ","), nats.MaxReconnects(-1)); err != nil {
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

func (f *fire) enter() {
	f.named++
	plan := memberPlan{Name: fmt.Sprintf("m%d", f.named), Servers: f.servers, Topics: fireTopics, Early: f.early}
	f.members = append(f.members, startMember(f.t, plan, f.j.hear))
}

// out takes a member out of the list.
func (f *fire) out() *memberProcess {
	i := f.r.IntN(len(f.members))
	m := f.members[i]
	f.members = slices.Delete(f.members, i, i+1)
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

// step lets something happen.
func (f *fire) step(what int) {
	if len(f.members) < 2 || what < 2 && len(f.members) < 5 {
		f.enter()
		return
	}
	begun := time.Now()
	switch what {
	case 0, 1, 2:
		f.check(f.out().leave())
	case 3:
		over := f.j.happens("member killed", begun)
		f.check(f.out().kill())
		over(time.Now().Add(memberSession))
	case 4:
		over := f.j.happens("member paused", begun)
		m := f.members[f.r.IntN(len(f.members))]
		f.check(m.cmd.Process.Signal(syscall.SIGSTOP))
		f.wait(memberSession * 2)
		f.check(m.cmd.Process.Signal(syscall.SIGCONT))
		over(time.Now())
	case 5:
		over := f.j.happens("broker restarted", begun)
		b := f.brokers[f.r.IntN(len(f.brokers))]
		b.Stop()
		b.Start()
		over(time.Now())
	case 6:
		over := f.j.happens(brokerKilled, begun)
		b := f.brokers[f.r.IntN(len(f.brokers))]
		b.Kill()
		b.Start()
		over(time.Now())
	}
}

// settle waits until the group knows who lives, and then 2 s until all partitions
// have an owner. It returns how long that took.
func (f *fire) settle() time.Duration {
	f.t.Helper()
	var living []string
	for _, m := range f.members {
		living = append(living, m.name)
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
	all := len(fireTopics) * firePartitions * len(f.brokers)
	await(f.t, "all partitions at members", func() bool {
		ctx, cancel := context.WithTimeout(f.t.Context(), time.Second)
		defer cancel()
		var err error
		info, err = f.c.Admin().GroupInfo(ctx, "g")
		return err == nil && info.State == protocol.GroupStable && len(info.Partitions) == all &&
			!slices.ContainsFunc(info.Partitions, func(p protocol.GroupPartition) bool { return p.Owner == "" })
	})
	return time.Since(stable)
}

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
			f.forge(bounded, protocol.GroupCommit{Member: p.Owner, Generation: info.Generation - 1, Offsets: []protocol.GroupPosition{at}}, "the owner of an older generation")
		}
		for name := range f.former {
			if !living[name] {
				f.forge(bounded, protocol.GroupCommit{Member: name, Generation: info.Generation, Offsets: []protocol.GroupPosition{at}}, "a member that has gone")
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

// burn runs for length and returns the faults.
func (f *fire) burn(length time.Duration, grace time.Duration) []string {
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
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			f.look(ctx)
			<-tick.C
		}
	})
	slowest := time.Duration(0)
	f.enter()
	f.enter()
	for begun, n := time.Now(), 0; time.Since(begun) < length; n++ {
		// All kinds of incidents come early, and then by chance. Each fourth time
		// the group may settle.
		what := 3 + n
		if n > 3 {
			what = f.r.IntN(7)
		}
		if !f.early {
			f.step(what)
		}
		f.wait(time.Second)
		if n%4 == 3 && !f.early {
			slowest = max(slowest, f.settle())
		}
	}
	if !f.early {
		slowest = max(slowest, f.settle())
	}
	stop()
	work.Wait()
	if !f.early {
		await(f.t, "all acknowledged records", func() bool { return f.j.missing() == 0 })
		if slowest > 2*time.Second {
			f.t.Errorf("all partitions had an owner %v after the group was stable", slowest)
		}
	}
	for len(f.members) > 0 {
		if f.early {
			f.check(f.out().kill())
		} else {
			f.check(f.out().leave())
		}
	}
	if offsets, err := f.c.Admin().GroupOffsets(f.t.Context(), "g"); err == nil {
		f.j.look(time.Now(), offsets)
	}
	faults := f.j.verdict(time.Now(), grace)
	f.t.Logf("%d members; %s; partitions owned at most %v after stability", f.named, f.j, slowest)
	return faults
}

// soak is how long a run is: METAQ_SOAK, or short.
func soak(t testing.TB, short time.Duration) time.Duration {
	t.Helper()
	s := os.Getenv("METAQ_SOAK")
	if s == "" {
		return short
	}
	length, err := time.ParseDuration(s)
	if err != nil {
		t.Fatalf("METAQ_SOAK: %v", err)
	}
	return length
}

func report(t testing.TB, faults []string) {
	t.Helper()
	for _, fault := range faults {
		t.Error(fault)
	}
}

// TestMembersAndABrokerUnderFire and the next are the checker's runs, as long as
// METAQ_SOAK says, for example 5m: see make soak.
func TestMembersAndABrokerUnderFire(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	f := newFire(t, seed, false, process.Start(t, nil))
	report(t, f.burn(soak(t, 10*time.Second), memberSession+2*time.Second))
}

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
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	f := newFire(t, seed, false, brokers...)
	f.j.mirrored = session + memberSession + 2*time.Second
	report(t, f.burn(soak(t, 10*time.Second), session+memberSession+2*time.Second))
}

func TestTheJudgeSeesProcessesThatCommitBeforeProcessing(t *testing.T) {
	f := newFire(t, 1, true, process.Start(t, nil))
	faults := f.burn(3*time.Second, memberSession)
	if !strings.Contains(strings.Join(faults, "\n"), "was not processed") {
		t.Errorf("it saw %q", faults)
	}
}
