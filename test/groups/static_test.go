package groups

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"metaq/client"
	"metaq/protocol"
)

// A static member that closes is expected back: nobody else stops, nothing is processed
// twice, and it goes on with the partitions that it had.
func TestAStaticMemberThatClosesKeepsItsPartitions(t *testing.T) {
	c := connect(t, newWorld(t).url)
	b := newBook()
	other := consume(t, c, b.handler("other"), b.forget("other"))
	static := func() *client.Consumer {
		return consume(t, c, b.handler("static"), b.forget("static"), client.WithInstance("i"), client.WithSession(time.Minute))
	}
	// owned is what the static member has, once the group has come to rest.
	owned := func() (info protocol.GroupInfo, partitions []protocol.TopicPartition) {
		await(t, "a group at rest", func() bool {
			var err error
			info, err = c.Admin().GroupInfo(t.Context(), "g")
			partitions = nil
			for i := range info.Partitions {
				if p := &info.Partitions[i]; p.Owner != other.Member() {
					partitions = append(partitions, protocol.TopicPartition{Topic: p.Topic, Partition: p.Partition})
				}
			}
			return err == nil && info.State == protocol.GroupStable && len(info.Members) == 2 && len(partitions) == 2
		})
		return info, partitions
	}
	con := static()
	produce(t, c, 0, 500) // it makes the topic
	before, had := owned()
	await(t, "no lag", func() bool { return lag(t, c) == 0 })
	for run := range 2 {
		if err := con.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if away, has := owned(); away.Generation != before.Generation || !slices.Equal(has, had) {
			t.Errorf("while it is away the generation is %d, it was %d; it has %v, it had %v", away.Generation, before.Generation, has, had)
		}
		produce(t, c, 500*(run+1), 500)
		con = static()
		await(t, "no lag", func() bool { return lag(t, c) == 0 })
		if back, has := owned(); back.Generation != before.Generation || !slices.Equal(has, had) {
			t.Errorf("back again the generation is %d, it was %d; it has %v, it had %v", back.Generation, before.Generation, has, had)
		}
	}
	b.mu.Lock()
	for n := range 1500 {
		if b.seen[n] != 1 {
			t.Errorf("record %d was processed %d times", n, b.seen[n])
			break
		}
	}
	b.mu.Unlock()

	// One that does not come back is removed, long before its session is over.
	if err := con.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Admin().GroupRemove(t.Context(), "g", "i"); err != nil {
		t.Fatal(err)
	}
	await(t, "one member with all partitions", func() bool {
		info, err := c.Admin().GroupInfo(t.Context(), "g")
		return err == nil && info.State == protocol.GroupStable && len(info.Members) == 1 && info.Members[0].Partitions == len(info.Partitions)
	})
}

// Two processes run with one instance by mistake: the older one ends and says why, the newer
// one has the partitions, and the group does not notice.
func TestTheOlderOfTwoProcessesWithOneInstanceEnds(t *testing.T) {
	w := newWorld(t)
	b := newBook()
	older := consume(t, connect(t, w.url), b.handler("older"), b.forget("older"), client.WithInstance("i"), client.WithSession(time.Minute))
	c := connect(t, w.url)
	produce(t, c, 0, 500)
	await(t, "no lag", func() bool { return lag(t, c) == 0 })
	before, err := c.Admin().GroupInfo(t.Context(), "g")
	if err != nil {
		t.Fatal(err)
	}
	newer := consume(t, c, b.handler("newer"), b.forget("newer"), client.WithInstance("i"), client.WithSession(time.Minute))
	select {
	case <-older.Done():
	case <-time.After(patience):
		t.Fatal("the older one has not ended")
	}
	if err := older.Err(); !errors.Is(err, client.ErrInstance) || !strings.Contains(err.Error(), newer.Member()) {
		t.Errorf("the older one ended with %v", err)
	}
	produce(t, c, 500, 500)
	await(t, "no lag", func() bool { return lag(t, c) == 0 })
	after, err := c.Admin().GroupInfo(t.Context(), "g")
	if err != nil {
		t.Fatal(err)
	}
	if len(after.Members) != 1 || after.Members[0].Member != newer.Member() || after.Members[0].Partitions != 4 || after.Generation != before.Generation {
		t.Errorf("the group is %+v; the generation was %d and the newer one is %s", after.Members, before.Generation, newer.Member())
	}
	if err := newer.Err(); err != nil {
		t.Errorf("the newer one ended with %v", err)
	}
}

// What it was to give up when it closed goes to its new owner at once, and no record of it
// is processed twice.
func TestAStaticMemberThatClosesGivesBackWhatItHadTo(t *testing.T) {
	c := connect(t, newWorld(t).url)
	b := newBook()
	var busy, cut atomic.Int32
	work := make(chan struct{})
	con := consume(t, c, func(ctx context.Context, _ client.Record) error {
		busy.Add(1)
		<-ctx.Done()
		cut.Add(1)
		<-work
		return ctx.Err()
	}, client.WithInstance("i"), client.WithSession(5*time.Minute), client.WithReleaseTime(5*time.Minute))
	produce(t, c, 0, 500)
	await(t, "a record of each partition in hand", func() bool { return busy.Load() == 4 })
	other := consume(t, c, b.handler("other"))
	at := func(name string) (n int) {
		info, err := c.Admin().GroupInfo(t.Context(), "g")
		if err != nil {
			return -1
		}
		for i := range info.Partitions {
			if info.Partitions[i].Owner == name {
				n++
			}
		}
		return n
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	closed := make(chan error)
	go func() { closed <- con.Close(over) }()
	await(t, "all handlers to be told", func() bool { return cut.Load() == 4 }) // those that stay only are when it closes
	close(work)
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	await(t, "half of the partitions at the other one", func() bool { return at(other.Member()) == 2 })
	if err := c.Admin().GroupRemove(t.Context(), "g", "i"); err != nil {
		t.Fatal(err)
	}
	await(t, "no lag", func() bool { return lag(t, c) == 0 })
	b.mu.Lock()
	defer b.mu.Unlock()
	for n := range 500 {
		if b.seen[n] != 1 {
			t.Errorf("record %d was processed %d times", n, b.seen[n])
			break
		}
	}
}
