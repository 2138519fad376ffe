package groups

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"metaq/client"
	"metaq/protocol"
)

// checker judges a group whose members and broker come and go.
type checker struct {
	c *client.Client

	mu        sync.Mutex // guards what follows
	acked     map[string]protocol.TopicPartition
	processed map[protocol.TopicPartition]map[client.Offset]int
	values    map[string]int
	high      map[protocol.TopicPartition]client.Offset // committed, as last seen
	runs      map[string]client.Offset                  // next offset by member and run of a partition
	faults    []string
}

func newChecker(c *client.Client) *checker {
	return &checker{
		c: c, acked: map[string]protocol.TopicPartition{}, processed: map[protocol.TopicPartition]map[client.Offset]int{},
		values: map[string]int{}, high: map[protocol.TopicPartition]client.Offset{}, runs: map[string]client.Offset{},
	}
}

func (k *checker) faultLocked(format string, args ...any) {
	if len(k.faults) < 20 {
		k.faults = append(k.faults, fmt.Sprintf(format, args...))
	}
}

// process is the handler of a member.
func (k *checker) process(member string, r client.Record) {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := protocol.TopicPartition{Topic: r.Topic, Partition: r.Partition}
	if k.processed[p] == nil {
		k.processed[p] = map[client.Offset]int{}
	}
	k.processed[p][r.Offset]++
	k.values[string(r.Value)]++
	run := member + " " + p.String()
	if next, known := k.runs[run]; known && r.Offset != next {
		k.faultLocked("%s got offset %d of %s, expected %d", member, r.Offset, p, next)
	}
	k.runs[run] = r.Offset + 1
}

// end ends the runs of a member's partitions.
func (k *checker) end(member string, ps []protocol.TopicPartition) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range ps {
		delete(k.runs, member+" "+p.String())
	}
}

// look compares the committed offsets with what was processed.
func (k *checker) look(ctx context.Context) {
	offsets, err := k.c.Admin().GroupOffsets(ctx, "g")
	if err != nil {
		return // the broker is away
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, o := range offsets {
		p := o.At()
		if o.Offset < k.high[p] {
			k.faultLocked("committed offset of %s went back from %d to %d", p, k.high[p], o.Offset)
		}
		for at := k.high[p]; at < o.Offset; at++ {
			if k.processed[p][at] == 0 {
				k.faultLocked("committed offset of %s is %d, but %d was not processed", p, o.Offset, at)
				break
			}
		}
		k.high[p] = max(k.high[p], o.Offset)
	}
}

func (k *checker) missing() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := 0
	for v := range k.acked {
		if k.values[v] == 0 {
			n++
		}
	}
	return n
}

// player is a member with a connection of its own.
type player struct {
	name string
	c    *client.Client
	con  *client.Consumer
}

// stage is one run: a broker, its members, and what happens to them.
type stage struct {
	t       testing.TB
	w       *world
	k       *checker
	bug     bool // commit before processing
	players []*player
	gone    []*player // crashed; closed at the end
	named   int
}

func (s *stage) enter() {
	s.named++
	name := fmt.Sprintf("m%d", s.named)
	c, err := client.Connect(context.Background(), client.WithServers(s.w.url))
	if err != nil {
		s.t.Fatal(err)
	}
	p, ready := &player{name: name, c: c}, make(chan struct{})
	handle := func(ctx context.Context, r client.Record) error {
		if s.bug && r.Offset%10 == 9 {
			// Says that it is done before it is, and then is not.
			<-ready
			if err := p.con.Commit(ctx, r); err != nil {
				return err
			}
			<-ctx.Done()
			return ctx.Err()
		}
		s.k.process(name, r)
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	p.con, err = c.NewConsumer(ctx, "g", []string{"orders", "mails"}, handle,
		client.WithSession(1500*time.Millisecond), client.WithCommitInterval(50*time.Millisecond),
		client.OnPartitions(func([]protocol.TopicPartition) {}, func(ps []protocol.TopicPartition) { s.k.end(name, ps) }))
	if err != nil {
		s.t.Fatal(err)
	}
	close(ready)
	s.players = append(s.players, p)
}

func (s *stage) close(p *player, patience time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_ = p.con.Close(ctx) // after a crash it cannot leave
	p.c.Close()
}

// step lets something happen.
func (s *stage) step(what int) {
	switch {
	case len(s.players) < 2 || what == 0 && len(s.players) < 6:
		s.enter()
	case what == 1: // leaves
		s.close(s.players[0], patience)
		s.players = s.players[1:]
	case what == 2: // its machine is cut off, and it does not know
		s.players[0].c.Close()
		s.gone = append(s.gone, s.players[0])
		s.players = s.players[1:]
	case what == 3:
		s.w.restart()
	default:
	}
}

// perform runs the stage and returns the faults that were seen.
func perform(t testing.TB, length time.Duration, seed uint64, bug bool) []string {
	t.Helper()
	w := newWorld(t)
	c := connect(t, w.url)
	k := newChecker(c)
	s := &stage{t: t, w: w, k: k, bug: bug}
	r := rand.New(rand.NewPCG(seed, 0))
	ctx, stop := context.WithCancel(t.Context())
	var work sync.WaitGroup
	work.Go(func() { k.produce(ctx, t) })
	work.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			k.look(ctx)
			<-tick.C
		}
	})
	tick := time.NewTicker(400 * time.Millisecond)
	defer tick.Stop()
	for begun := time.Now(); time.Since(begun) < length; <-tick.C {
		s.step(r.IntN(6))
	}
	stop()
	work.Wait()
	if !bug {
		stable := time.Now()
		await(t, "all partitions at living members", func() bool { return s.owned() })
		t.Logf("all partitions owned after %v", time.Since(stable))
		await(t, "all acknowledged records", func() bool { return k.missing() == 0 })
	}
	for _, p := range append(s.players, s.gone...) {
		s.close(p, time.Second)
	}
	k.look(t.Context())
	k.mu.Lock()
	defer k.mu.Unlock()
	twice := 0
	for _, n := range k.values {
		twice += n - 1
	}
	t.Logf("%d members, %d acknowledged, %d processed, %d of them again", s.named, len(k.acked), len(k.values), twice)
	return k.faults
}

// owned says whether the living members have all partitions, each once.
func (s *stage) owned() bool {
	all := map[protocol.TopicPartition]bool{}
	n := 0
	for _, p := range s.players {
		for _, a := range p.con.Assigned() {
			all[a] = true
			n++
		}
	}
	return n == 8 && len(all) == 8
}

// produce sends unique values and notes what was acknowledged.
func (k *checker) produce(ctx context.Context, t testing.TB) {
	p, err := k.c.NewProducer()
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = p.Close(context.WithoutCancel(ctx)) }()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ctx.Err() == nil; i++ {
		value := fmt.Sprint(i)
		topic := "orders"
		if i%2 == 0 {
			topic = "mails"
		}
		err := p.SendAsync(ctx, client.Record{Topic: topic, Value: []byte(value)}, func(res client.Result, err error) {
			if err == nil {
				k.mu.Lock()
				defer k.mu.Unlock()
				k.acked[value] = protocol.TopicPartition{Topic: res.Topic, Partition: res.Partition}
			}
		})
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		<-tick.C
	}
}

// TestGroupUnderFire is the checker's run. METAQ_SOAK makes it as long as it says,
// for example 5m.
func TestGroupUnderFire(t *testing.T) {
	length := 8 * time.Second
	if s := os.Getenv("METAQ_SOAK"); s != "" {
		var err error
		if length, err = time.ParseDuration(s); err != nil {
			t.Fatalf("METAQ_SOAK: %v", err)
		}
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for _, fault := range perform(t, length, seed, false) {
		t.Error(fault)
	}
}

func TestTheCheckerSeesACommitBeforeProcessing(t *testing.T) {
	faults := perform(t, 2*time.Second, 1, true)
	if !strings.Contains(strings.Join(faults, "\n"), "was not processed") {
		t.Errorf("it saw %q", faults)
	}
}
