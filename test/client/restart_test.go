package clienttest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"metaq/client"
	"metaq/protocol"
	"metaq/test/process"
)

// ledger is what a producer was told of each of its records.
type ledger struct {
	mu      sync.Mutex
	results map[int]client.Result
	failed  []error
}

func (l *ledger) done(i int) func(client.Result, error) {
	return func(res client.Result, err error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if _, twice := l.results[i]; twice || err != nil {
			l.failed = append(l.failed, fmt.Errorf("record %d, told before %v: %w", i, twice, err))
		}
		l.results[i] = res
	}
}

// check reads all and compares: each record once, where it was reported, and in
// order within its partition.
func (l *ledger) check(ctx context.Context, t *testing.T, c *client.Client, topic string, total int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := errors.Join(l.failed...); err != nil || len(l.results) != total {
		t.Fatalf("%d of %d records reported: %v", len(l.results), total, err)
	}
	r, err := c.NewReader(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	last := map[client.PartitionID]int{}
	for range total {
		rec, err := r.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		n := numberOf(t, &rec)
		if before, ok := last[rec.Partition]; ok && n <= before {
			t.Fatalf("record %d comes after %d in %s", n, before, rec.Partition)
		}
		if want := l.results[n]; want.Partition != rec.Partition || want.Offset != rec.Offset {
			t.Fatalf("record %d was reported at %+v and is at %s %d", n, want, rec.Partition, rec.Offset)
		}
		last[rec.Partition] = n
	}
	info, err := c.Admin().TopicInfo(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	var stored client.Offset
	for _, p := range info.Partitions {
		stored += p.EndOffset
	}
	if int(stored) != total {
		t.Errorf("%d records are stored, %d were sent", stored, total)
	}
}

// TestKilledBroker kills the broker again and again in the middle of a stream.
// All is delivered once and in order, and reported rightly.
func TestKilledBroker(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	b := process.Start(t, nil)
	c := connect(t, b.URL)
	if _, err := c.Admin().CreateTopic(ctx, protocol.TopicCreate{Topic: "orders", Partitions: 3}); err != nil {
		t.Fatal(err)
	}
	p, err := c.NewProducer(client.WithBatchBytes(4<<10), client.WithBuffer(1<<20, 2000))
	if err != nil {
		t.Fatal(err)
	}
	l := &ledger{results: map[int]client.Result{}}
	const rounds, each = 4, 5000
	for i := range rounds * each {
		r := client.Record{Topic: "orders", Key: fmt.Appendf(nil, "k%d", i%17), Value: fmt.Append(nil, i)}
		if err := p.SendAsync(ctx, r, l.done(i)); err != nil {
			t.Fatal(err)
		}
		if i%each == each/2 {
			b.Kill()
			b.Start()
		}
	}
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
	l.check(ctx, t, c, "orders", rounds*each)
}

// TestStoppedBroker: a broker that stops in order and comes back loses nothing
// either, and a producer without a broker fills its buffer and then refuses.
func TestStoppedBroker(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	b := process.Start(t, nil)
	c := connect(t, b.URL)
	p, err := c.NewProducer(client.WithBuffer(1<<20, 1000), client.RefuseWhenFull())
	if err != nil {
		t.Fatal(err)
	}
	l := &ledger{results: map[int]client.Result{}}
	send := func(i int) error {
		return p.SendAsync(ctx, client.Record{Topic: "auto", Key: fmt.Appendf(nil, "k%d", i%5), Value: fmt.Append(nil, i)}, l.done(i))
	}
	if err := send(0); err != nil { // creates the topic
		t.Fatal(err)
	}
	if err := p.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	b.Stop()
	total := 1
	for ; ; total++ {
		if err := send(total); errors.Is(err, client.ErrBufferFull) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if total != 1001 {
		t.Errorf("%d records were taken, the buffer holds 1000", total-1)
	}
	b.Start()
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
	l.check(ctx, t, c, "auto", total)
}

// TestReaderFollowsARestart: a reader goes on where it was.
func TestReaderFollowsARestart(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	b := process.Start(t, nil)
	c := connect(t, b.URL)
	p, err := c.NewProducer(client.WithCompression(client.CompressionZstd))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(ctx)
	first := client.PartitionID{}
	send := func(i int) {
		t.Helper()
		if _, err := p.Send(ctx, client.Record{Topic: "follow", Pinned: true, Partition: first, Value: fmt.Append(nil, i)}); err != nil {
			t.Fatal(err)
		}
	}
	send(0)
	r, err := c.NewReader(ctx, "follow")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for i := range 10 {
		rec, err := r.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if n := numberOf(t, &rec); n != i {
			t.Fatalf("record %d came when %d was due", n, i)
		}
		if i == 4 {
			b.Kill()
			b.Start()
		}
		begun := time.Now()
		send(i + 1)
		if d := time.Since(begun); d > 10*time.Second {
			t.Errorf("record %d took %v", i+1, d)
		}
	}
}
