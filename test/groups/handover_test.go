package groups

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"metaq/client"
	"metaq/protocol"
)

// pool is a group of consumers on one topic, and what they saw of it.
type pool struct {
	t   testing.TB
	url string

	mu     sync.Mutex // guards what follows
	owners map[protocol.TopicPartition]string
	moves  map[protocol.TopicPartition]int // times that it was assigned
	next   map[protocol.TopicPartition]client.Offset
	seen   map[protocol.TopicPartition][]time.Time
	broken []string
}

const poolPartitions = 20

// newPool makes four consumers with five partitions each. hold is called by the
// handlers.
func newPool(t testing.TB, hold func(context.Context, client.Record)) (p *pool, producer *client.Producer) {
	t.Helper()
	p = &pool{
		t: t, url: newWorld(t).url, owners: map[protocol.TopicPartition]string{}, moves: map[protocol.TopicPartition]int{},
		next: map[protocol.TopicPartition]client.Offset{}, seen: map[protocol.TopicPartition][]time.Time{},
	}
	c := connect(t, p.url)
	if _, err := c.Admin().CreateTopic(t.Context(), protocol.TopicCreate{Topic: "orders", Partitions: poolPartitions}); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		p.enters(fmt.Sprintf("m%d", i+1), hold)
	}
	await(t, "five partitions each", func() bool {
		n := p.shares()
		return n["m1"] == 5 && n["m2"] == 5 && n["m3"] == 5 && n["m4"] == 5
	})
	producer, err := c.NewProducer()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := producer.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.moves)
	return p, producer
}

// enters adds a consumer with a connection of its own.
func (p *pool) enters(name string, hold func(context.Context, client.Record)) *client.Consumer {
	p.t.Helper()
	handle := func(ctx context.Context, r client.Record) error {
		p.sees(name, r)
		hold(ctx, r)
		return nil
	}
	return consume(p.t, connect(p.t, p.url), handle, client.OnPartitions(
		func(ps []protocol.TopicPartition) {
			p.mu.Lock()
			defer p.mu.Unlock()
			for _, at := range ps {
				if owner := p.owners[at]; owner != "" {
					p.broken = append(p.broken, fmt.Sprintf("%s got %s while %s had it", name, at, owner))
				}
				p.owners[at] = name
				p.moves[at]++
			}
		},
		func(ps []protocol.TopicPartition) {
			p.mu.Lock()
			defer p.mu.Unlock()
			for _, at := range ps {
				delete(p.owners, at)
			}
		}))
}

func (p *pool) sees(name string, r client.Record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := protocol.TopicPartition{Topic: r.Topic, Partition: r.Partition}
	if p.owners[at] != name || r.Offset != p.next[at] {
		p.broken = append(p.broken, fmt.Sprintf("%s got offset %d of %s, which is at %d and %s's", name, r.Offset, at, p.next[at], p.owners[at]))
	}
	p.next[at] = r.Offset + 1
	p.seen[at] = append(p.seen[at], time.Now())
}

// shares is how many partitions each consumer has.
func (p *pool) shares() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := map[string]int{}
	for _, owner := range p.owners {
		n[owner]++
	}
	return n
}

// moved are the partitions that were assigned since the beginning, and faults.
func (p *pool) moved() (moved map[protocol.TopicPartition]int, broken []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	moved = map[protocol.TopicPartition]int{}
	for at, n := range p.moves {
		moved[at] = n
	}
	return moved, p.broken
}

// judge looks at the pool after m5 has come.
func (p *pool) judge() (moved map[protocol.TopicPartition]int) {
	p.t.Helper()
	moved, broken := p.moved()
	for _, fault := range broken {
		p.t.Error(fault)
	}
	for at, n := range moved {
		if n != 1 {
			p.t.Errorf("%s was assigned %d times", at, n)
		}
	}
	if shares := p.shares(); len(moved) != 4 || shares["m5"] != 4 {
		p.t.Errorf("%d partitions moved, the shares are %v; want 4, and all of them at m5", len(moved), shares)
	}
	return moved
}

func allPartitions() (all []protocol.TopicPartition) {
	for i := range poolPartitions {
		all = append(all, protocol.TopicPartition{Topic: "orders", Partition: protocol.PartitionID{N: i}})
	}
	return all
}

func send(t testing.TB, p *client.Producer, at protocol.TopicPartition, value string) {
	t.Helper()
	rec := client.Record{Topic: at.Topic, Partition: at.Partition, Pinned: true, Value: []byte(value)}
	if err := p.SendAsync(t.Context(), rec, func(_ client.Result, err error) {
		if err != nil {
			t.Error(err)
		}
	}); err != nil {
		t.Fatal(err)
	}
}

// The hand-over is stopped in its middle: all that moves is in a handler that does not
// end, so that nobody can have released it. Everything else must go on.
func TestOtherPartitionsGoOnWhileSomeAreHandedOver(t *testing.T) {
	free, release := make(chan struct{}), make(chan struct{})
	taken := make(chan protocol.TopicPartition, poolPartitions)
	p, producer := newPool(t, func(ctx context.Context, r client.Record) {
		if string(r.Value) != "hold" {
			return
		}
		select {
		case <-free:
		case <-ctx.Done():
			taken <- protocol.TopicPartition{Topic: r.Topic, Partition: r.Partition}
			<-release
		}
	})
	for _, at := range allPartitions() {
		send(t, producer, at, "hold")
	}
	reached := func(at protocol.TopicPartition, n client.Offset) bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.next[at] >= n
	}
	for _, at := range allPartitions() {
		await(t, "a record of "+at.String(), func() bool { return reached(at, 1) })
	}
	fifth := p.enters("m5", func(context.Context, client.Record) {})
	moving := map[protocol.TopicPartition]bool{}
	for range 4 {
		moving[<-taken] = true
	}
	close(free)
	const more = 50
	for i := range more {
		for _, at := range allPartitions() {
			send(t, producer, at, strconv.Itoa(i))
		}
	}
	for _, at := range allPartitions() {
		if !moving[at] {
			await(t, "all records of "+at.String(), func() bool { return reached(at, more+1) })
		}
	}
	if moved, _ := p.moved(); len(moved) != 0 || len(fifth.Assigned()) != 0 {
		t.Errorf("%v moved before they were released", moved)
	}
	close(release)
	for at := range moving {
		await(t, "all records of "+at.String(), func() bool { return reached(at, more+1) })
	}
	for at := range p.judge() {
		if !moving[at] {
			t.Errorf("%s moved as well", at)
		}
	}
}

// A partition is to go and comes back before its work has ended: the view that says so
// is older than the commit with which the work ends.
func TestAPartitionThatStaysAfterAllGoesOnWhereItWas(t *testing.T) {
	w := newWorld(t)
	c := connect(t, w.url)
	produce(t, c, 0, 100)
	b := newBook()
	note := b.handler("one")
	entered, free := make(chan struct{}, 4), make(chan struct{})
	var cut sync.WaitGroup
	cut.Add(2)
	one := consume(t, c, func(ctx context.Context, r client.Record) error {
		if r.Offset == 0 {
			entered <- struct{}{}
			select {
			case <-free:
			case <-ctx.Done():
				cut.Done()
				<-free
			}
		}
		return note(ctx, r)
	}, client.WithCommitInterval(time.Hour))
	for range 4 {
		<-entered
	}
	two := consume(t, connect(t, w.url), note)
	cut.Wait()
	closeConsumer(t, two)
	left := time.Now()
	await(t, "a beat of the first, which has heard by then that it keeps all", func() bool {
		asked := time.Now()
		info, err := c.Admin().GroupInfo(t.Context(), "g")
		return err == nil && len(info.Members) == 1 && asked.Add(-time.Duration(info.Members[0].SilentMs+1)*time.Millisecond).After(left)
	})
	close(free)
	await(t, "all records", func() bool { n, _, _ := b.count(); return n == 100 })
	closeConsumer(t, one)
	if _, all, broken := b.count(); all != 100 || broken != nil {
		t.Errorf("%d records of 100 were processed, %v", all, broken)
	}
}

// What a fifth member costs the others, measured.
func TestAFifthMemberTakesFourOfTwentyPartitions(t *testing.T) {
	p, producer := newPool(t, func(context.Context, client.Record) {})
	ctx, stop := context.WithCancel(t.Context())
	var work sync.WaitGroup
	defer work.Wait()
	defer stop()
	work.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ctx.Err() == nil; i++ {
			for _, at := range allPartitions() {
				send(t, producer, at, strconv.Itoa(i))
			}
			<-tick.C
		}
	})
	begun := time.Now()
	flow := func(since time.Time) {
		for _, at := range allPartitions() {
			await(t, "a hundred records of "+at.String(), func() bool {
				p.mu.Lock()
				defer p.mu.Unlock()
				n := 0
				for _, when := range p.seen[at] {
					if when.After(since) {
						n++
					}
				}
				return n >= 100
			})
		}
	}
	flow(begun)
	joined := time.Now()
	p.enters("m5", func(context.Context, client.Record) {})
	await(t, "four partitions at the fifth", func() bool { return p.shares()["m5"] == 4 })
	settled := time.Now()
	flow(settled)
	over := time.Now()
	stop()
	work.Wait()
	moved := p.judge()
	kept := func(at protocol.TopicPartition) bool { return moved[at] == 0 }
	t.Logf("the fifth member had its four partitions after %v", settled.Sub(joined))
	t.Logf("longest time without a record of a partition: that stayed %v, that moved %v; before %v, afterwards %v",
		p.gap(kept, joined, settled), p.gap(func(at protocol.TopicPartition) bool { return !kept(at) }, joined, settled),
		p.gap(kept, begun, joined), p.gap(kept, settled, over))
}

// gap is the longest time between two records of one of these partitions, of which some
// was between from and to.
func (p *pool) gap(which func(protocol.TopicPartition) bool, from, to time.Time) (longest time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for at, times := range p.seen {
		for i := 1; which(at) && i < len(times); i++ {
			if times[i].After(from) && times[i-1].Before(to) {
				longest = max(longest, times[i].Sub(times[i-1]))
			}
		}
	}
	return longest.Round(100 * time.Microsecond)
}
