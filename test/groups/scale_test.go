package groups

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"metaq/protocol"
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

// BenchmarkThousandMembers lets 1,000 members join 100 groups of 20 partitions,
// and then each group commit all its offsets as often as it can. It prints how
// long the joining took, commits and beats a second, and how many members were
// told of another generation after the first commits began: none, when the groups
// are stable.
func BenchmarkThousandMembers(b *testing.B) {
	const groups, members, partitions = 100, 10, 20
	w := newWorld(b)
	admin := connect(b, w.url).Admin()
	if _, err := admin.CreateTopic(b.Context(), protocol.TopicCreate{Topic: "orders", Partitions: partitions}); err != nil {
		b.Fatal(err)
	}
	nc, err := nats.Connect(w.url)
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	c := &crowd{b: b, nc: nc}
	ctx, stop := context.WithCancel(b.Context())
	defer stop()
	var work, joined sync.WaitGroup
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
	owner := make([]map[string][]protocol.GroupPosition, groups)
	generation := make([]int64, groups)
	await(b, "stable groups", func() bool {
		for i := range groups {
			info, err := admin.GroupInfo(b.Context(), fmt.Sprintf("g%d", i))
			if err != nil || info.State != protocol.GroupStable || len(info.Members) != members {
				return false
			}
			owner[i], generation[i] = map[string][]protocol.GroupPosition{}, info.Generation
			for _, p := range info.Partitions {
				owner[i][p.Owner] = append(owner[i][p.Owner], protocol.GroupPosition{Topic: p.Topic, Partition: p.Partition})
			}
		}
		return true
	})
	settling := time.Since(begun)
	c.moves.Store(0)
	beats, since := c.beats.Load(), time.Now()
	var next atomic.Int64
	b.ResetTimer()
	b.SetParallelism(64)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			n := next.Add(1)
			i := int(n) % groups
			for member, offsets := range owner[i] {
				var reply protocol.GroupOffsets
				offsets = slices.Clone(offsets)
				for k := range offsets {
					offsets[k].Offset = protocol.Offset(n) // each commit moves, so each is logged
				}
				err := c.ask(b.Context(), fmt.Sprintf("g%d", i), protocol.GroupVerbCommit,
					protocol.GroupCommit{Member: member, Generation: generation[i], Offsets: offsets}, &reply)
				if err != nil {
					b.Error(err)
				}
				break
			}
		}
	})
	b.StopTimer()
	took := time.Since(since).Seconds()
	b.ReportMetric(joining.Seconds(), "s-to-join")
	b.ReportMetric(settling.Seconds(), "s-to-stable")
	b.ReportMetric(float64(c.beats.Load()-beats)/took, "beats/s")
	b.ReportMetric(float64(b.N)/took, "commits/s")
	b.ReportMetric(float64(c.moves.Load()), "moves")
	stop()
	work.Wait()
}
