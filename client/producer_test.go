package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"metaq/client/internal/clientfake"
	"metaq/protocol"
)

// collect returns a callback that notes results and errors in order.
type collected struct {
	mu      sync.Mutex
	results []Result
	errs    []error
}

func (c *collected) done(r Result, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.results = append(c.results, r)
	c.errs = append(c.errs, err)
}

func (c *collected) failed() error { c.mu.Lock(); defer c.mu.Unlock(); return errors.Join(c.errs...) }
func (c *collected) count() int    { c.mu.Lock(); defer c.mu.Unlock(); return len(c.errs) }

// elapse lets fake time pass.
func elapse(d time.Duration) { <-time.After(d) }

func values(recs []Record) []string {
	var out []string
	for i := range recs {
		out = append(out, string(recs[i].Value))
	}
	return out
}

func numbered(n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprint(i))
	}
	return out
}

func TestSendStoresAllOfARecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _, c := fakeCluster(t, "orders", 4)
		p := mustProducer(t, c)
		rec := Record{
			Topic: "orders", Key: []byte("k"), Value: []byte("v"), Time: time.Now().Add(-time.Hour),
			Headers: []Header{{Name: "a", Value: "1"}, {Name: "a", Value: "2"}},
		}
		n := protocol.PartitionOf(rec.Key, 4)
		for i := range 3 {
			res, err := p.Send(t.Context(), rec)
			if err != nil {
				t.Fatal(err)
			}
			if want := (Result{Topic: "orders", Partition: PartitionID{N: n}, Offset: Offset(i)}); res != want {
				t.Errorf("result %+v, want %+v", res, want)
			}
		}
		mustClose(t, p)
		got := recordsOf(t, b, "orders", n)
		if len(got) != 3 || !bytes.Equal(got[2].Key, rec.Key) || !bytes.Equal(got[2].Value, rec.Value) || !cmp.Equal(got[2].Headers, rec.Headers) {
			t.Errorf("stored %+v", got)
		}
	})
}

func TestSendRefusesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l, c := fakeCluster(t, "orders", 2)
		b.MaxMessage = 1000
		p := mustProducer(t, c)
		defer mustClose(t, p)
		for _, tc := range []struct {
			name string
			rec  Record
			want error
			text string
		}{
			{"header of a put", Record{Topic: "orders", Headers: []Header{{Name: "a"}, {Name: "Nats-Msg-Id"}}}, protocol.ErrHeaderInBatch, "Nats-Msg-Id"},
			{"above the broker's limit", Record{Topic: "orders", Key: []byte("k"), Value: make([]byte, 1000)}, ErrTooLarge, "1001 bytes is larger than the limit of 1000"},
			{"name not allowed", Record{Topic: "a.b"}, ErrBadName, "a.b"},
			{"no such topic", Record{Topic: "other"}, ErrNoTopic, "other"},
			{"no such partition", Record{Topic: "orders", Pinned: true, Partition: PartitionID{N: 2}}, ErrNoPartition, "no partition 0-2"},
		} {
			err := p.SendAsync(t.Context(), tc.rec, func(Result, error) { t.Error("callback of a record that was not taken") })
			if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("%s: error %q, want %q with %q", tc.name, err, tc.want, tc.text)
			}
		}
		if l.Seen["bat"] != 0 {
			t.Errorf("%d batches were sent", l.Seen["bat"])
		}
		if n, bytes := p.Buffered(); n != 0 || bytes != 0 {
			t.Errorf("%d records, %d bytes are left in the buffer", n, bytes)
		}
	})
}

func TestRecordsUpToTheLimitFitTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l, c := fakeCluster(t, "orders", 1)
		b.MaxMessage, l.Limit = 1<<20, 64<<10
		p := mustProducer(t, c, WithBatchBytes(1<<20))
		defer mustClose(t, p)
		headers := []Header{{Name: "n", Value: "v"}}
		send := func(n int) error {
			_, err := p.Send(t.Context(), Record{Topic: "orders", Key: []byte("k"), Value: make([]byte, n), Headers: headers})
			return err
		}
		var most int
		l.Tap = func(data []byte) { most = max(most, len(data)) }
		limit := 0
		for n := 64 << 10; n > 0 && limit == 0; n-- {
			if err := send(n); err == nil {
				limit = n
			} else if !errors.Is(err, ErrTooLarge) {
				t.Fatal(err)
			}
		}
		if most > l.Limit-protocol.FetchHeaderSize || most < l.Limit-2*1024 {
			t.Errorf("the largest batch has %d bytes, the connection takes %d", most, l.Limit)
		}
	})
}

func TestTopicIsCreatedAtFirstUseWhereTheBrokerDoesThat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _, c := fakeCluster(t, "other", 1)
		b.AutoCreate = true
		p := mustProducer(t, c)
		defer mustClose(t, p)
		if _, err := p.Send(t.Context(), Record{Topic: "fresh", Value: []byte("v")}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Admin().TopicInfo(t.Context(), "typo"); !errors.Is(err, ErrNoTopic) {
			t.Errorf("info of a topic that is not there: %v", err)
		}
	})
}

func TestRecordsWithoutKeyGoAroundAbsentBrokers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _, c := fakeCluster(t, "orders", 4)
		b.With("orders", 1, func(p *clientfake.Partition) { p.LeaderOff = true })
		p := mustProducer(t, c, WithDeliveryTimeout(5*time.Second))
		defer mustClose(t, p)
		per := map[PartitionID]int{}
		for range 40 {
			res, err := p.Send(t.Context(), Record{Topic: "orders", Value: []byte("v")})
			if err != nil {
				t.Fatal(err)
			}
			per[res.Partition]++
		}
		if len(per) != 3 || per[PartitionID{N: 1}] != 0 {
			t.Errorf("records per partition: %v", per)
		}
		for id, n := range per {
			if n < 10 {
				t.Errorf("partition %s got %d of 40 records", id, n)
			}
		}
		// A key that belongs to the absent partition waits for it.
		key := keyFor(1, 4)
		if res, err := p.Send(t.Context(), Record{Topic: "orders", Key: key}); !errors.Is(err, ErrNotDelivered) {
			t.Errorf("keyed record: %+v, %v", res, err)
		}
		// Once it is back, it gets its share.
		b.With("orders", 1, func(p *clientfake.Partition) { p.LeaderOff = false })
		elapse(2 * time.Minute) // past the next refresh
		per = map[PartitionID]int{}
		for range 40 {
			res, err := p.Send(t.Context(), Record{Topic: "orders", Value: []byte("v")})
			if err != nil {
				t.Fatal(err)
			}
			per[res.Partition]++
		}
		if per[PartitionID{N: 1}] != 10 {
			t.Errorf("records per partition after the return: %v", per)
		}
	})
}

// TestRecordsWithoutKeyLeaveAFailingPartition: the topic's description still names
// a leader, but nobody answers. Only what was given to it before waits.
func TestRecordsWithoutKeyLeaveAFailingPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l, c := fakeCluster(t, "orders", 2)
		l.Plan = func(subject string, _ int) clientfake.Fault {
			return clientfake.Fault{Nobody: strings.HasSuffix(subject, ".0-1")}
		}
		p := mustProducer(t, c)
		var got collected
		for range 50 {
			if err := p.SendAsync(t.Context(), Record{Topic: "orders", Value: []byte("v")}, got.done); err != nil {
				t.Fatal(err)
			}
			elapse(100 * time.Millisecond)
		}
		if n := got.count(); n < 49 {
			t.Errorf("%d of 50 records are stored; one may wait", n)
		}
		l.Set(func() { l.Plan = nil })
		mustClose(t, p)
		if n := len(recordsOf(t, b, "orders", 0)) + len(recordsOf(t, b, "orders", 1)); n != 50 || got.failed() != nil {
			t.Errorf("%d of 50 records are stored, %v", n, got.failed())
		}
	})
}

// keyFor returns a key that belongs to the i-th of n partitions.
func keyFor(i, n int) []byte {
	for k := 0; ; k++ {
		if key := fmt.Appendf(nil, "key%d", k); protocol.PartitionOf(key, n) == i {
			return key
		}
	}
}

func TestNewPartitionsAreUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _, c := fakeCluster(t, "orders", 1)
		p := mustProducer(t, c)
		defer mustClose(t, p)
		rec := Record{Topic: "orders", Key: keyFor(1, 2)}
		for _, want := range []int{0, 1} {
			res, err := p.Send(t.Context(), rec)
			if err != nil || res.Partition.N != want {
				t.Errorf("%+v, %v; want partition %d", res, err, want)
			}
			b.Create("orders", 2)
			elapse(2 * time.Minute) // past the next refresh
		}
	})
}

func TestDeletedTopicFailsAndMayComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _, c := fakeCluster(t, "orders", 1)
		p := mustProducer(t, c)
		defer mustClose(t, p)
		rec := Record{Topic: "orders", Value: []byte("v")}
		if _, err := p.Send(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
		if err := c.Admin().DeleteTopic(t.Context(), "orders"); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if _, err := p.Send(t.Context(), rec); !errors.Is(err, ErrNoTopic) {
			t.Errorf("into a deleted topic: %v", err)
		}
		if d := time.Since(begun); d > 5*time.Second {
			t.Errorf("the deletion was noticed after %v", d)
		}
		if _, err := p.Send(t.Context(), rec); !errors.Is(err, ErrNoTopic) {
			t.Errorf("into a deleted topic again: %v", err)
		}
		b.Create("orders", 1)
		if res, err := p.Send(t.Context(), rec); err != nil || res.Offset != 0 {
			t.Errorf("into the new topic: %+v, %v", res, err)
		}
	})
}

func TestLookupWaitsForABrokerUntilCtxEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, l, c := fakeCluster(t, "orders", 1)
		l.Down = true
		p := mustProducer(t, c)
		defer mustClose(t, p)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, err := p.Send(ctx, Record{Topic: "orders"})
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrNoBroker) || !strings.Contains(err.Error(), "nats://fake:4222") {
			t.Errorf("error %v", err)
		}
		time.AfterFunc(3*time.Second, func() { l.Set(func() { l.Down = false }) })
		if _, err := p.Send(t.Context(), Record{Topic: "orders"}); err != nil {
			t.Errorf("once the broker is there: %v", err)
		}
	})
}
