package client

import (
	"context"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"metaq/client/internal/clientfake"
	"metaq/protocol"
)

// A partition whose leader is away when the reader begins is read from then on, not from
// where its log ends when the leader is back.
func TestALatestThatIsFoundLateIsThatOfTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _, c := fakeCluster(t, "orders", 1)
		fill(t, b, "orders", 0, 0, 5)
		elapse(10 * time.Minute)
		b.With("orders", 0, func(p *clientfake.Partition) { p.LeaderOff = true })
		r := mustReader(t, c, "orders", StartAt(Latest()))
		now := int(time.Now().Unix()) // fill counts the seconds
		fill(t, b, "orders", 0, now, now+3)
		b.With("orders", 0, func(p *clientfake.Partition) { p.LeaderOff = false })
		for want := Offset(5); want < 8; want++ {
			bounded, cancel := context.WithTimeout(t.Context(), time.Minute)
			rec, err := r.Next(bounded)
			cancel()
			if err != nil || rec.Offset != want {
				t.Fatalf("record %d, %v; want %d", rec.Offset, err, want)
			}
		}
		r.Close()
	})
}

// memoryStore is an OffsetStore.
type memoryStore struct {
	mu    sync.Mutex
	saved map[protocol.TopicPartition]Offset
	saves int
}

func (s *memoryStore) Load() (map[protocol.TopicPartition]Offset, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.saved), nil
}

func (s *memoryStore) Save(m map[protocol.TopicPartition]Offset) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saved, s.saves = m, s.saves+1
	return nil
}

// broadcastOf starts a broadcast consumer from the latest, and returns where its records go.
func broadcastOf(t *testing.T, c *Client, s OffsetStore) (*Consumer, <-chan Record) {
	t.Helper()
	got := make(chan Record, 100)
	con, err := c.NewConsumer(t.Context(), "all", []string{"orders"}, func(_ context.Context, r Record) error {
		got <- r
		return nil
	}, Broadcast(s), ConsumeFrom(Latest()))
	if err != nil {
		t.Fatal(err)
	}
	return con, got
}

func TestABroadcastConsumerBeginsOnce(t *testing.T) {
	b, _, c := fakeCluster(t, "orders", 2)
	fill(t, b, "orders", 0, 0, 3)
	s := &memoryStore{}
	con, _ := broadcastOf(t, c, s)
	if err := con.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Nobody is there when a partition comes, and records with it.
	b.Create("orders", 3)
	fill(t, b, "orders", 2, 0, 4)
	fill(t, b, "orders", 0, 3, 4)
	con, got := broadcastOf(t, c, s)
	var seen []Offset
	for len(seen) < 5 {
		if r := <-got; r.Partition.N == 2 {
			seen = append(seen, r.Offset)
		} else {
			seen = append(seen, 100+r.Offset)
		}
	}
	slices.Sort(seen)
	if !slices.Equal(seen, []Offset{0, 1, 2, 3, 103}) {
		t.Errorf("it got %v", seen)
	}
	if err := con.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// What a broadcast consumer remembers says that it has begun. So nothing is remembered
// before all of it is known.
func TestABroadcastConsumerThatCannotBeginHasNotBegun(t *testing.T) {
	b, _, c := fakeCluster(t, "orders", 3)
	b.With("orders", 1, func(p *clientfake.Partition) { p.LeaderOff = true })
	s := &memoryStore{}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.NewConsumer(ctx, "all", []string{"orders"}, func(context.Context, Record) error { return nil }, Broadcast(s), ConsumeFrom(Latest())); err == nil {
		t.Fatal("it began")
	}
	if s.saves > 0 {
		t.Errorf("%v is remembered", s.saved)
	}
	b.With("orders", 1, func(p *clientfake.Partition) { p.LeaderOff = false })
	con, _ := broadcastOf(t, c, s)
	if len(s.saved) != 3 || s.saves != 1 {
		t.Errorf("%v is remembered after %d saves", s.saved, s.saves)
	}
	if err := con.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// The number of questions about a topic does not grow with its partitions.
func TestAWideTopicIsDescribedOnce(t *testing.T) {
	const width = 300
	b, l, c := fakeCluster(t, "orders", width)
	con, got := broadcastOf(t, c, &memoryStore{})
	for n := range width {
		fill(t, b, "orders", n, 0, 1)
	}
	for range width {
		<-got
	}
	l.Set(func() {
		if l.Seen["adm"] > 2 {
			t.Errorf("%d requests for %d partitions", l.Seen["adm"], width)
		}
	})
	if err := con.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}
