package groups

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"metaq/client"
	"metaq/protocol"
	zktest "metaq/test/zk"
)

// crowd is many members that speak the protocol and nothing else.
type crowd struct {
	b     *testing.B
	nc    *nats.Conn
	beats atomic.Int64
	moves atomic.Int64 // views of another generation than the one before
}

// ask makes one request, again while the broker is busy.
func (c *crowd) ask(ctx context.Context, group, verb string, req, reply any) error {
	body, err := json.Marshal(req)
	if err != nil {
		return err
	}
	for {
		m, err := c.nc.RequestWithContext(ctx, protocol.Subjects{}.Group(group, verb), body)
		if err != nil {
			return err
		}
		if err := protocol.DecodeError(m.Data); err != nil {
			if protocol.AsError(err).Class() == protocol.GiveUp || ctx.Err() != nil {
				return err
			}
			continue
		}
		return json.Unmarshal(m.Data, reply)
	}
}

// live beats until ctx ends.
func (c *crowd) live(ctx context.Context, group string, v protocol.GroupView) error {
	for ctx.Err() == nil {
		r := protocol.GroupHeartbeat{Member: v.Member, Generation: v.Generation, Revision: v.Revision, WaitMs: 3000, Released: v.Release}
		was := v.Generation
		v = protocol.GroupView{}
		if err := c.ask(ctx, group, protocol.GroupVerbHeartbeat, r, &v); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		c.beats.Add(1)
		if v.Generation != was {
			c.moves.Add(1)
		}
	}
	return nil
}

// stableTime is how long BenchmarkThousandMembers looks on.
const stableTime = time.Minute

// BenchmarkThousandMembers lets 1,000 members join 100 groups of 20 partitions, at
// a broker with a ZooKeeper; then looks on for a minute, in which each member commits
// its offsets each second; and then each group commits as often as it can. It prints
// how long the joining took, the heartbeats and the writes to ZooKeeper in each second
// of the minute, and the commits a second after it. It fails when any member is told
// of another generation in the minute, or is lost.
func BenchmarkThousandMembers(b *testing.B) {
	const groups, members, partitions, records = 100, 10, 20, 10_000
	ensemble := zktest.Start(b, 1)
	w := newWorldWith(b, map[string]string{"zookeeper": ensemble.Connect(), "broker-id": "0", "nats-cluster-port": "0"})
	cl := connect(b, w.url)
	admin := cl.Admin()
	if _, err := admin.CreateTopic(b.Context(), protocol.TopicCreate{Topic: "orders", Partitions: partitions}); err != nil {
		b.Fatal(err)
	}
	fill(b, cl, partitions, records)
	nc, err := nats.Connect(w.url)
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	c := &crowd{b: b, nc: nc}
	ctx, stop := context.WithCancel(b.Context())
	var work, joined sync.WaitGroup
	defer work.Wait()
	defer stop()
	begun := time.Now()
	for i := range groups * members {
		group := fmt.Sprintf("g%d", i%groups)
		joined.Add(1)
		work.Go(func() {
			var v protocol.GroupView
			err := c.ask(ctx, group, protocol.GroupVerbJoin, protocol.GroupJoin{Member: fmt.Sprintf("m%d", i), Topics: []string{"orders"}}, &v)
			joined.Done()
			if err == nil {
				err = c.live(ctx, group, v)
			}
			if err != nil {
				b.Error(err)
			}
		})
	}
	joined.Wait()
	joining := time.Since(begun)
	crews := make([]*crew, groups)
	for i := range crews {
		crews[i] = &crew{c: c, group: fmt.Sprintf("g%d", i)}
	}
	await(b, "stable groups", func() bool {
		return !slices.ContainsFunc(crews, func(k *crew) bool { return !k.look(b, admin, members) })
	})
	settling := time.Since(begun)
	b.ReportMetric(joining.Seconds(), "s-to-join")
	b.ReportMetric(settling.Seconds(), "s-to-stable")
	minute(b, c, crews, ensemble.Servers[0])
	for _, k := range crews {
		was := k.generation
		if !k.look(b, admin, members) || k.generation != was {
			b.Errorf("group %s was not stable for %v: generation %d, now %d", k.group, stableTime, was, k.generation)
		}
	}
	b.ReportMetric(burst(b, crews, records), "commits/s")
}

// burst commits with 64 requests at a time, and returns how many a second there were.
func burst(b *testing.B, crews []*crew, commits int) float64 {
	b.Helper()
	var next atomic.Int64
	var work sync.WaitGroup
	since := time.Now()
	for range 64 {
		work.Go(func() {
			for n := int(next.Add(1)); n <= commits; n = int(next.Add(1)) {
				k := crews[n%len(crews)]
				// Above all before, so that each commit is logged.
				if err := k.commit(b.Context(), n/len(crews)%len(k.members), protocol.Offset(n)); err != nil {
					b.Error(err)
				}
			}
		})
	}
	work.Wait()
	return float64(commits) / time.Since(since).Seconds()
}

// minute lets all members commit each second, for stableTime, and prints what that
// makes of heartbeats and of writes to ZooKeeper.
func minute(b *testing.B, c *crowd, crews []*crew, server *zktest.Server) {
	b.Helper()
	writes, err := server.Writes(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	c.moves.Store(0)
	beats, since := c.beats.Load(), time.Now()
	ctx, stop := context.WithTimeout(b.Context(), stableTime)
	defer stop()
	var commits atomic.Int64
	var work sync.WaitGroup
	for i, k := range crews {
		work.Go(func() {
			beat := time.NewTicker(time.Second)
			defer beat.Stop()
			for at := protocol.Offset(1); ; at++ {
				select {
				case <-ctx.Done():
					return
				case <-beat.C:
				}
				for m := range k.members {
					if err := k.commit(b.Context(), m, at); err != nil {
						b.Errorf("commit %d of group %d: %v", at, i, err)
					}
					commits.Add(1)
				}
			}
		})
	}
	work.Wait()
	took := time.Since(since).Seconds()
	after, err := server.Writes(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(c.beats.Load()-beats)/took, "beats/s")
	b.ReportMetric(float64(commits.Load())/took, "steady-commits/s")
	b.ReportMetric(float64(after-writes)/took, "zk-writes/s")
	if n := c.moves.Load(); n > 0 {
		b.Errorf("%d views had another generation", n)
	}
}

// crew is one group of the crowd, as it was when it was looked at.
type crew struct {
	c          *crowd
	group      string
	generation int64
	members    []string
	owned      map[string][]protocol.GroupPosition
}

// look says whether the group is stable with so many members.
func (k *crew) look(b *testing.B, admin *client.Admin, members int) bool {
	info, err := admin.GroupInfo(b.Context(), k.group)
	if err != nil || info.State != protocol.GroupStable || len(info.Members) != members {
		return false
	}
	k.generation, k.owned = info.Generation, map[string][]protocol.GroupPosition{}
	for _, p := range info.Partitions {
		k.owned[p.Owner] = append(k.owned[p.Owner], protocol.GroupPosition{Topic: p.Topic, Partition: p.Partition})
	}
	k.members = slices.Sorted(maps.Keys(k.owned))
	return len(k.members) == members
}

// commit commits an offset in all partitions of a member.
func (k *crew) commit(ctx context.Context, member int, at protocol.Offset) error {
	name := k.members[member]
	offsets := slices.Clone(k.owned[name])
	for i := range offsets {
		offsets[i].Offset = at
	}
	var reply protocol.GroupOffsets
	return k.c.ask(ctx, k.group, protocol.GroupVerbCommit, protocol.GroupCommit{Member: name, Generation: k.generation, Offsets: offsets}, &reply)
}

// fill puts records into each partition of orders.
func fill(b *testing.B, c *client.Client, partitions, records int) {
	b.Helper()
	p, err := c.NewProducer()
	if err != nil {
		b.Fatal(err)
	}
	for i := range partitions * records {
		id := protocol.PartitionID{Home: 0, N: i / records}
		err := p.SendAsync(b.Context(), client.Record{Topic: "orders", Partition: id, Pinned: true, Value: []byte("x")}, func(_ client.Result, err error) {
			if err != nil {
				b.Error(err)
			}
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	if err := p.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkIdleLatency prints how long a record takes from the call of Send to the
// handler of a consumer that has nothing to do: the median and the longest. That the
// append answers the get that waits, and no timer does, is TestLongPoll in actors.
func BenchmarkIdleLatency(b *testing.B) {
	c := connect(b, newWorld(b).url)
	if _, err := c.Admin().CreateTopic(b.Context(), protocol.TopicCreate{Topic: "orders", Partitions: 4}); err != nil {
		b.Fatal(err)
	}
	arrived := make(chan time.Time, 1)
	take := func(context.Context, client.Record) error { arrived <- time.Now(); return nil }
	con, err := c.NewConsumer(b.Context(), "g", []string{"orders"}, take)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = con.Close(context.WithoutCancel(b.Context())) }()
	await(b, "partitions", func() bool { return len(con.Assigned()) == 4 })
	p, err := c.NewProducer()
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = p.Close(context.WithoutCancel(b.Context())) }()
	var took []time.Duration
	for b.Loop() {
		begun := time.Now()
		if _, err := p.Send(b.Context(), client.Record{Topic: "orders", Value: []byte("x")}); err != nil {
			b.Fatal(err)
		}
		took = append(took, (<-arrived).Sub(begun))
	}
	slices.Sort(took)
	b.ReportMetric(took[len(took)/2].Seconds()*1e3, "ms-median")
	b.ReportMetric(took[len(took)-1].Seconds()*1e3, "ms-longest")
}
