package groups

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"

	"metaq/client"
	"metaq/client/messagedir"
	"metaq/protocol"
)

// book notes what the consumers of one group process.
type book struct {
	mu     sync.Mutex // guards what follows
	seen   map[int]int
	last   map[string]client.Offset // by member and partition
	broken error
}

func newBook() *book { return &book{seen: map[int]int{}, last: map[string]client.Offset{}} }

// handler returns a handler that checks the order within one run of a partition.
func (b *book) handler(name string) client.Handler {
	return func(_ context.Context, r client.Record) error {
		n, err := strconv.Atoi(string(r.Value))
		if err != nil {
			return err
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		key := name + r.Topic + r.Partition.String()
		if last, known := b.last[key]; known && r.Offset > last+1 {
			b.broken = fmt.Errorf("%s went from offset %d to %d of %s", name, last, r.Offset, r.Partition)
		}
		b.last[key] = r.Offset
		b.seen[n]++
		return nil
	}
}

// forget is for partitions that go: they may come back further on.
func (b *book) forget(name string) client.ConsumerOption {
	return client.OnPartitions(func([]protocol.TopicPartition) {}, func(ps []protocol.TopicPartition) {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, p := range ps {
			delete(b.last, name+p.Topic+p.Partition.String())
		}
	})
}

func (b *book) count() (distinct, all int, broken error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, n := range b.seen {
		all += n
	}
	return len(b.seen), all, b.broken
}

// await polls until done.
func await(t testing.TB, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !done(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for: %s", patience, what)
		}
	}
}

func consume(t testing.TB, c *client.Client, h client.Handler, opts ...client.ConsumerOption) *client.Consumer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	opts = append([]client.ConsumerOption{
		client.WithSession(3 * time.Second), client.OnError(func(err error) { t.Log("consumer:", err) }),
	}, opts...)
	con, err := c.NewConsumer(ctx, "g", []string{"orders"}, h, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeConsumer(t, con) })
	return con
}

func closeConsumer(t testing.TB, con *client.Consumer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	defer cancel()
	if err := con.Close(ctx); err != nil {
		t.Error(err)
	}
}

func produce(t testing.TB, c *client.Client, from, n int) {
	t.Helper()
	p, err := c.NewProducer()
	if err != nil {
		t.Fatal(err)
	}
	var failed sync.Map
	for i := from; i < from+n; i++ {
		rec := client.Record{Topic: "orders", Value: []byte(strconv.Itoa(i)), Key: []byte(strconv.Itoa(i % 17))}
		if err := p.SendAsync(t.Context(), rec, func(_ client.Result, err error) {
			if err != nil {
				failed.Store(i, err)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	failed.Range(func(k, v any) bool { t.Errorf("record %v: %v", k, v); return true })
}

func lag(t testing.TB, c *client.Client) int64 {
	t.Helper()
	info, err := c.Admin().GroupInfo(t.Context(), "g")
	if err != nil {
		t.Log(err)
		return -1
	}
	return info.Lag
}

func TestAGroupSharesPartitionsAndHandsThemOver(t *testing.T) {
	c := connect(t, newWorld(t).url)
	b := newBook()
	produce(t, c, 0, 1000)
	one := consume(t, c, b.handler("one"), b.forget("one"))
	two := consume(t, c, b.handler("two"), b.forget("two"))
	await(t, "two partitions each", func() bool { return len(one.Assigned()) == 2 && len(two.Assigned()) == 2 })
	produce(t, c, 1000, 1000)
	await(t, "all records", func() bool { n, _, _ := b.count(); return n == 2000 })
	closeConsumer(t, one)
	await(t, "all partitions at the second", func() bool { return len(two.Assigned()) == 4 })
	produce(t, c, 2000, 1000)
	await(t, "no lag", func() bool { return lag(t, c) == 0 })
	distinct, all, broken := b.count()
	if distinct != 3000 || all != 3000 || broken != nil {
		t.Errorf("%d distinct, %d in all, %v: an orderly hand-over repeats nothing", distinct, all, broken)
	}
}

func TestAGroupGoesOnAfterABrokerWasRestarted(t *testing.T) {
	w := newWorld(t)
	c := connect(t, w.url)
	b := newBook()
	one := consume(t, c, b.handler("one"), b.forget("one"))
	consume(t, c, b.handler("two"), b.forget("two"))
	produce(t, c, 0, 1000)
	await(t, "the first records", func() bool { n, _, _ := b.count(); return n > 100 })
	w.restart()
	produce(t, c, 1000, 1000)
	await(t, "all records", func() bool { n, _, _ := b.count(); return n == 2000 })
	await(t, "no lag", func() bool { return lag(t, c) == 0 })
	if _, all, broken := b.count(); broken != nil {
		t.Errorf("%v (%d in all)", broken, all)
	}
	if one.Err() != nil {
		t.Error(one.Err())
	}
}

func TestAFailingRecordGoesToTheDeadLetters(t *testing.T) {
	c := connect(t, newWorld(t).url)
	b := newBook()
	good := b.handler("one")
	consume(t, c, func(ctx context.Context, r client.Record) error {
		switch string(r.Value) {
		case "13":
			return errors.New(strings.Repeat("x", 999) + "\u00e9, and more") // its 1000th byte is half a character
		case "17":
			panic("prime")
		}
		return good(ctx, r)
	}, b.forget("one"), client.WithRetries(2, time.Millisecond, time.Millisecond))
	produce(t, c, 0, 100)
	await(t, "the good ones", func() bool { n, _, _ := b.count(); return n == 98 })
	await(t, "no lag", func() bool { return lag(t, c) == 0 })
	r, err := c.NewReader(t.Context(), client.DeadLetterTopic("orders", "g"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var values []string
	for range 2 {
		rec, err := r.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		values = append(values, string(rec.Value))
		for _, h := range rec.Headers {
			if h.Name == client.HeaderDeadReason && (!utf8.ValidString(h.Value) || len(h.Value) < 5) {
				t.Errorf("the reason is %q", h.Value)
			}
		}
		for _, want := range []client.Header{
			{Name: client.HeaderDeadAttempts, Value: "3"}, {Name: client.HeaderDeadTopic, Value: "orders"}, {Name: client.HeaderDeadGroup, Value: "g"},
		} {
			if !slices.Contains(rec.Headers, want) {
				t.Errorf("headers are %v, %v is missing", rec.Headers, want)
			}
		}
	}
	slices.Sort(values)
	if !slices.Equal(values, []string{"13", "17"}) {
		t.Errorf("dead letters are %v", values)
	}
}

// A message that was put with headers that a batch must not have goes to the dead
// letters and back, and nothing of it is lost.
func TestAPutWithAMessageIDGoesToTheDeadLettersAndBack(t *testing.T) {
	w := newWorld(t)
	c := connect(t, w.url)
	nc, err := nats.Connect(w.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	put := &nats.Msg{Subject: "metaq.put.orders", Data: []byte("pears"), Header: nats.Header{
		"Nats-Msg-Id": {"a"}, "Metaq-Key": {"k"}, "Trace": {"t"}, "Nats-Expected-Last-Msg-Id": {""},
	}}
	m, err := nc.RequestMsg(put, patience)
	if err == nil {
		err = protocol.DecodeError(m.Data)
	}
	if err != nil {
		t.Fatal(err)
	}
	con := consume(t, c, func(context.Context, client.Record) error { return errors.New("no room") }, client.WithRetries(0, time.Millisecond, time.Millisecond))
	await(t, "no lag", func() bool { return lag(t, c) == 0 })
	if err := con.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Redrive(t.Context(), "g", "orders"); n != 1 || err != nil {
		t.Fatalf("%d put back: %v", n, err)
	}
	r, err := c.NewReader(t.Context(), "orders")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var recs []client.Record
	for range 2 {
		rec, err := r.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		recs = append(recs, rec)
	}
	want := []client.Header{
		{Name: "Metaq-Original-Nats-Expected-Last-Msg-Id"}, {Name: "Metaq-Original-Nats-Msg-Id", Value: "a"}, {Name: "Trace", Value: "t"},
	}
	if back := recs[1]; string(back.Value) != "pears" || string(back.Key) != "k" || !slices.Equal(back.Headers, want) {
		t.Errorf("%q with key %q and headers %v came back, want headers %v", back.Value, back.Key, back.Headers, want)
	}
}

// Of several that put the same letters back at once one does, and the others are told so.
func TestDeadLettersArePutBackByOneAtATime(t *testing.T) {
	c := connect(t, newWorld(t).url)
	const letters = 500
	produce(t, c, 0, letters)
	con := consume(t, c, func(context.Context, client.Record) error { return errors.New("no room") }, client.WithRetries(0, time.Millisecond, time.Millisecond))
	await(t, "no lag", func() bool { return lag(t, c) == 0 })
	if err := con.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	var back, worked atomic.Int64
	var calls sync.WaitGroup
	for range 8 {
		calls.Go(func() {
			switch n, err := c.Redrive(t.Context(), "g", "orders"); {
			case err == nil && n > 0:
				worked.Add(1)
				back.Add(n)
			case err != nil && !errors.Is(err, client.ErrConflict):
				t.Errorf("%d put back: %v", n, err)
			}
		})
	}
	calls.Wait()
	if back.Load() != letters || worked.Load() != 1 {
		t.Errorf("%d letters were put back by %d, want %d by 1", back.Load(), worked.Load(), letters)
	}
}

// A record as large as the broker allows still fits where dead letters go.
func TestALargestRecordGoesToTheDeadLetters(t *testing.T) {
	c := connect(t, newWorld(t).url)
	p, err := c.NewProducer()
	if err != nil {
		t.Fatal(err)
	}
	value := make([]byte, 1<<20)
	if _, err := p.Send(t.Context(), client.Record{Topic: "orders", Value: value}); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	consume(t, c, func(context.Context, client.Record) error { return errors.New("no room") }, client.WithRetries(0, time.Second, time.Second))
	await(t, "no lag", func() bool { return lag(t, c) == 0 })
}

func TestAConsumerPausesSeeksAndCommitsByHand(t *testing.T) {
	c := connect(t, newWorld(t).url)
	produce(t, c, 0, 100)
	var mu sync.Mutex
	var got []client.Record
	records := func() []client.Record {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(got)
	}
	con := consume(t, c, nil, client.ManualCommit(), client.WithBatchHandler(func(_ context.Context, recs []client.Record) error {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, recs...)
		return nil
	}, 7))
	await(t, "all records", func() bool { return len(records()) == 100 })
	if l := lag(t, c); l != 100 {
		t.Errorf("lag is %d before a commit", l)
	}
	con.Pause()
	for _, p := range con.Assigned() {
		con.Seek(p, client.Earliest())
	}
	con.Resume()
	await(t, "all records again", func() bool { return len(records()) == 200 })
	if err := con.Commit(t.Context(), records()...); err != nil {
		t.Fatal(err)
	}
	if l := lag(t, c); l != 0 {
		t.Errorf("lag is %d after the commit", l)
	}
	if _, err := c.Admin().GroupReset(t.Context(), "g", "orders", client.Earliest(), false); !errors.Is(err, client.ErrConflict) {
		t.Errorf("reset of a group with members: %v", err)
	}
	closeConsumer(t, con)
	if _, err := c.Admin().GroupReset(t.Context(), "g", "orders", client.Earliest(), false); err != nil {
		t.Fatal(err)
	}
	if l := lag(t, c); l != 100 {
		t.Errorf("lag is %d after the reset", l)
	}
	if err := c.Admin().GroupDelete(t.Context(), "g", false); err != nil {
		t.Fatal(err)
	}
	if list, err := c.Admin().GroupList(t.Context()); err != nil || len(list.Groups) != 0 {
		t.Errorf("groups are %v, %v", list.Groups, err)
	}
}

func TestAConsumerMayStopAtAFailure(t *testing.T) {
	c := connect(t, newWorld(t).url)
	produce(t, c, 0, 10)
	con := consume(t, c, func(context.Context, client.Record) error { return errors.New("no") },
		client.WithRetries(0, time.Millisecond, time.Millisecond), client.OnFailure(client.StopConsumer))
	select {
	case <-con.Done():
	case <-time.After(patience):
		t.Fatal("it goes on")
	}
	var e *client.HandlerError
	if !errors.As(con.Err(), &e) || e.Attempts != 1 {
		t.Errorf("error is %v", con.Err())
	}
	if l := lag(t, c); l != 10 {
		t.Errorf("lag is %d: nothing was processed", l)
	}
}

func TestAFilterLeavesOutAtTheBroker(t *testing.T) {
	c := connect(t, newWorld(t).url)
	p, err := c.NewProducer()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		kind := "common"
		if i%10 == 0 {
			kind = "rare"
		}
		rec := client.Record{Topic: "orders", Value: []byte(strconv.Itoa(i)), Headers: []client.Header{{Name: "Kind", Value: kind}}}
		if _, err := p.Send(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var got []string
	prefix := "ra"
	consume(t, c, func(_ context.Context, r client.Record) error {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, string(r.Value))
		return nil
	}, client.WithFilter(protocol.Filter{Header: "Kind", Prefix: &prefix}), client.WithCommitInterval(50*time.Millisecond))
	await(t, "no lag, though most records were left out", func() bool { return lag(t, c) == 0 })
	mu.Lock()
	defer mu.Unlock()
	slices.Sort(got)
	if !slices.Equal(got, []string{"0", "10", "20", "30", "40", "50", "60", "70", "80", "90"}) {
		t.Errorf("got %v", got)
	}
}

func TestABroadcastConsumerGetsAllAndRemembersItself(t *testing.T) {
	w := newWorld(t)
	dir := messagedir.New(t.TempDir())
	c := connectWith(t, w.url, dir)
	produce(t, c, 0, 100)
	one, two := newBook(), newBook()
	first := consume(t, c, one.handler("one"), client.Broadcast(nil), client.WithInstance("one"))
	consume(t, c, two.handler("two"), client.Broadcast(nil), client.WithInstance("two"))
	for _, b := range []*book{one, two} {
		await(t, "all records", func() bool { n, _, _ := b.count(); return n == 100 })
	}
	closeConsumer(t, first)
	produce(t, c, 100, 50)
	again := newBook()
	consume(t, connectWith(t, w.url, dir), again.handler("again"), client.Broadcast(nil), client.WithInstance("one"))
	await(t, "the records since", func() bool { n, _, _ := again.count(); return n == 50 })
	if _, all, broken := again.count(); all != 50 || broken != nil {
		t.Errorf("%d in all, %v", all, broken)
	}
}
