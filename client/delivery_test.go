package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"metaq/client/internal/clientfake"
	"metaq/protocol"
)

// TestEveryRecordIsStoredOnceInOrder sends through random faults: requests that
// are lost, answers that are lost, broken connections, copies that come late,
// refusals, absent leaders. Whatever happens, every record is stored once, in the
// order of its partition, and the results tell where.
func TestEveryRecordIsStoredOnceInOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		run := faultyRun{
			seed:        rapid.Uint64().Draw(rt, "seed"),
			faults:      rapid.IntRange(0, 80).Draw(rt, "faults in 100"),
			records:     rapid.IntRange(1, 300).Draw(rt, "records"),
			partitions:  rapid.IntRange(1, 4).Draw(rt, "partitions"),
			batchBytes:  rapid.IntRange(1, 2000).Draw(rt, "batch bytes"),
			linger:      time.Duration(rapid.IntRange(0, 20).Draw(rt, "linger")) * time.Millisecond,
			compression: Compression(rapid.IntRange(0, 2).Draw(rt, "compression")),
			buffer:      rapid.IntRange(1, 100).Draw(rt, "buffer"),
		}
		var problem error
		synctest.Test(t, func(t *testing.T) { problem = run.check(t) })
		if problem != nil {
			rt.Fatal(problem)
		}
	})
}

type faultyRun struct {
	seed                                    uint64
	faults, records, partitions, batchBytes int
	linger                                  time.Duration
	compression                             Compression
	buffer                                  int
}

func (run faultyRun) plan() func(string, int) clientfake.Fault {
	rnd := rand.New(rand.NewPCG(run.seed, 1))
	return func(string, int) clientfake.Fault {
		if rnd.IntN(100) >= run.faults {
			return clientfake.Fault{Delay: time.Duration(rnd.IntN(3)) * time.Millisecond}
		}
		return []clientfake.Fault{
			{Nobody: true},
			{Lose: true},
			{Mute: true},
			{Cut: true},
			{Late: time.Duration(rnd.IntN(30)) * time.Second},
			{Refuse: protocol.ErrBusy},
			{Refuse: protocol.ErrUnavailable},
			{Delay: time.Second},
		}[rnd.IntN(8)]
	}
}

func (run faultyRun) check(t *testing.T) error {
	b, l, c := fakeCluster(t, "orders", run.partitions)
	l.Plan = run.plan()
	p := mustProducer(t, c, WithBatchBytes(run.batchBytes), WithLinger(run.linger), WithCompression(run.compression),
		WithBuffer(1<<20, run.buffer), WithDeliveryTimeout(24*time.Hour))
	rnd := rand.New(rand.NewPCG(run.seed, 2))
	var mu sync.Mutex
	results := make([]Result, run.records)
	told := make([]int, run.records)
	for i := range run.records {
		r := Record{Topic: "orders", Value: fmt.Append(nil, i)}
		if rnd.IntN(2) == 0 {
			r.Key = fmt.Appendf(nil, "k%d", rnd.IntN(10))
		}
		if rnd.IntN(10) == 0 {
			elapse(time.Duration(rnd.IntN(100)) * time.Millisecond)
		}
		err := p.SendAsync(t.Context(), r, func(res Result, err error) {
			mu.Lock()
			defer mu.Unlock()
			results[i] = res
			if told[i]++; err != nil {
				t.Error(err)
			}
		})
		if err != nil {
			return err
		}
	}
	if err := p.Close(t.Context()); err != nil {
		return err
	}
	l.Late.Wait()
	stored := 0
	for n := range run.partitions {
		last := -1
		for _, r := range recordsOf(t, b, "orders", n) {
			var i int
			if _, err := fmt.Sscan(string(r.Value), &i); err != nil {
				return err
			}
			if i <= last {
				return fmt.Errorf("record %d came after %d in partition %d", i, last, n)
			}
			if want := (Result{Topic: "orders", Partition: r.Partition, Offset: r.Offset}); results[i] != want || told[i] != 1 {
				return fmt.Errorf("record %d was reported %d times, as %+v; it is at %+v", i, told[i], results[i], want)
			}
			last = i
			stored++
		}
	}
	if stored != run.records {
		return fmt.Errorf("%d records are stored, %d were sent", stored, run.records)
	}
	if n, bytes := p.Buffered(); n != 0 || bytes != 0 {
		return fmt.Errorf("%d records, %d bytes are left in the buffer", n, bytes)
	}
	return nil
}

// TestBrokerAwayForTenSeconds: the producer buffers to its limit, then blocks or
// refuses as chosen, and delivers all of it once and in order afterwards.
func TestBrokerAwayForTenSeconds(t *testing.T) {
	for _, refuse := range []bool{false, true} {
		t.Run(fmt.Sprintf("refuse=%v", refuse), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, l, c := fakeCluster(t, "orders", 1)
				opts := []ProducerOption{WithBuffer(1<<20, 100)}
				if refuse {
					opts = append(opts, RefuseWhenFull())
				}
				p := mustProducer(t, c, opts...)
				if _, err := p.Send(t.Context(), Record{Topic: "orders", Value: []byte("0")}); err != nil {
					t.Fatal(err)
				}
				begun := time.Now()
				l.Set(func() { l.Down = true })
				time.AfterFunc(10*time.Second, func() { l.Set(func() { l.Down = false }) })
				var c1 collected
				for i := 1; i < 200; i++ {
					err := p.SendAsync(t.Context(), Record{Topic: "orders", Value: fmt.Append(nil, i)}, c1.done)
					switch {
					case i <= 100 && (err != nil || time.Since(begun) > 0):
						t.Fatalf("record %d after %v: %v", i, time.Since(begun), err)
					case i > 100 && refuse:
						if !errors.Is(err, ErrBufferFull) || time.Since(begun) > 0 {
							t.Fatalf("record %d after %v: %v", i, time.Since(begun), err)
						}
					case i > 100 && (err != nil || time.Since(begun) < 10*time.Second):
						t.Fatalf("record %d after %v: %v", i, time.Since(begun), err)
					}
				}
				mustClose(t, p)
				if err := c1.failed(); err != nil {
					t.Error(err)
				}
				if d := time.Since(begun); d > 12*time.Second {
					t.Errorf("all was delivered after %v", d)
				}
				want := numbered(200)
				if refuse {
					want = numbered(101)
				}
				if diff := cmp.Diff(want, values(recordsOf(t, b, "orders", 0))); diff != "" {
					t.Errorf("stored (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestBlockedSendHonoursCtxAndClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, l, c := fakeCluster(t, "orders", 1)
		p := mustProducer(t, c, WithBuffer(1<<20, 1))
		l.Plan = func(string, int) clientfake.Fault { return clientfake.Fault{Delay: time.Minute} }
		if err := p.SendAsync(t.Context(), Record{Topic: "orders"}, nil); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.SendAsync(ctx, Record{Topic: "orders"}, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with a ctx that ends: %v", err)
		}
		closed := make(chan error)
		go func() { closed <- p.SendAsync(t.Context(), Record{Topic: "orders"}, nil) }()
		synctest.Wait()
		l.Set(func() { l.Plan = nil })
		mustClose(t, p)
		if err := <-closed; !errors.Is(err, ErrClosed) {
			t.Errorf("while the producer is closed: %v", err)
		}
		if _, err := p.Send(t.Context(), Record{Topic: "orders"}); !errors.Is(err, ErrClosed) {
			t.Errorf("after it was closed: %v", err)
		}
		mustClose(t, p)
	})
}

// TestGivenUpBatchLeavesNoTrace: after the delivery timeout the error says what is
// known, later records are stored, and a late copy of the first is not.
func TestGivenUpBatchLeavesNoTrace(t *testing.T) {
	for _, tc := range []struct {
		name   string
		fault  clientfake.Fault
		want   error
		not    error
		stored []string
	}{
		{"never arrived", clientfake.Fault{Nobody: true}, ErrNotDelivered, ErrOutcomeUnknown, []string{"after"}},
		{"lost", clientfake.Fault{Lose: true}, ErrOutcomeUnknown, ErrNotDelivered, []string{"after"}},
		{"answer lost", clientfake.Fault{Mute: true}, ErrOutcomeUnknown, ErrNotDelivered, []string{"first", "after"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, l, c := fakeCluster(t, "orders", 1)
				l.Plan = func(string, int) clientfake.Fault { return tc.fault }
				var copies [][]byte
				l.Tap = func(data []byte) { copies = append(copies, slices.Clone(data)) }
				p := mustProducer(t, c, WithDeliveryTimeout(5*time.Second))
				defer mustClose(t, p)
				begun := time.Now()
				_, err := p.Send(t.Context(), Record{Topic: "orders", Value: []byte("first")})
				if !errors.Is(err, tc.want) || errors.Is(err, tc.not) || time.Since(begun) != 5*time.Second {
					t.Errorf("after %v: %v", time.Since(begun), err)
				}
				l.Set(func() { l.Plan = nil })
				if _, err := p.Send(t.Context(), Record{Topic: "orders", Value: []byte("after")}); err != nil {
					t.Error(err)
				}
				for _, late := range copies[:max(len(copies)-1, 0)] {
					if _, err := b.Handle(t.Context(), "metaq.batch.orders.0-0", late); err != nil {
						t.Error(err)
					}
				}
				if diff := cmp.Diff(tc.stored, values(recordsOf(t, b, "orders", 0))); diff != "" {
					t.Errorf("stored (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestBrokerThatDoesNotKnowItsPartitionYet: a broker that is starting says 404.
func TestBrokerThatDoesNotKnowItsPartitionYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l, c := fakeCluster(t, "orders", 1)
		l.Plan = func(string, int) clientfake.Fault { return clientfake.Fault{Refuse: protocol.ErrNoPartition} }
		time.AfterFunc(5*time.Second, func() { l.Set(func() { l.Plan = nil }) })
		p := mustProducer(t, c)
		defer mustClose(t, p)
		r := mustReader(t, c, "orders")
		defer r.Close()
		if _, err := p.Send(t.Context(), Record{Topic: "orders", Value: []byte("v")}); err != nil {
			t.Error(err)
		}
		if got := read(t, r, 1); got[0] != "v" || len(recordsOf(t, b, "orders", 0)) != 1 {
			t.Errorf("read %q", got)
		}
	})
}

func TestFinalRefusalFailsTheBatchOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l, c := fakeCluster(t, "orders", 1)
		p := mustProducer(t, c)
		defer mustClose(t, p)
		l.Plan = func(_ string, n int) clientfake.Fault {
			if n == 1 {
				return clientfake.Fault{Refuse: protocol.ErrNotAccepted}
			}
			return clientfake.Fault{}
		}
		for i := range 4 {
			_, err := p.Send(t.Context(), Record{Topic: "orders", Value: fmt.Append(nil, i)})
			if refused := errors.Is(err, protocol.ErrNotAccepted) && !errors.Is(err, ErrOutcomeUnknown); refused != (i == 1) {
				t.Errorf("record %d: %v", i, err)
			}
		}
		if diff := cmp.Diff([]string{"0", "2", "3"}, values(recordsOf(t, b, "orders", 0))); diff != "" {
			t.Errorf("stored (-want +got):\n%s", diff)
		}
	})
}

// TestBrokerThatLostItsMemory: a broker whose log lost its end expects an earlier
// sequence than the producer's. What was never stored is sent in a new sequence.
func TestBrokerThatLostItsMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _, c := fakeCluster(t, "orders", 1)
		p := mustProducer(t, c)
		defer mustClose(t, p)
		send := func(value string) {
			t.Helper()
			if _, err := p.Send(t.Context(), Record{Topic: "orders", Value: []byte(value)}); err != nil {
				t.Error(err)
			}
		}
		send("kept")
		send("lost with the machine")
		b.With("orders", 0, func(q *clientfake.Partition) {
			q.Batches, q.End = q.Batches[:1], 1
			for _, known := range q.Producers {
				known.Next, known.Recent = 1, known.Recent[:1]
			}
		})
		send("next")
		if diff := cmp.Diff([]string{"kept", "next"}, values(recordsOf(t, b, "orders", 0))); diff != "" {
			t.Errorf("stored (-want +got):\n%s", diff)
		}
	})
}

func TestLingerCollectsAndFlushEndsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _, c := fakeCluster(t, "orders", 1)
		p := mustProducer(t, c, WithLinger(time.Minute), WithBatchBytes(protocol.BatchHeaderSize+1000))
		var got collected
		send := func(bytes int) {
			t.Helper()
			if err := p.SendAsync(t.Context(), Record{Topic: "orders", Value: make([]byte, bytes)}, got.done); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		expect := func(when string, batches, reported int) {
			t.Helper()
			if b.Arrived() != batches || got.count() != reported {
				t.Errorf("%s: %d batches, %d records reported; want %d and %d", when, b.Arrived(), got.count(), batches, reported)
			}
		}
		for range 3 {
			send(300)
		}
		expect("below the batch size", 0, 0)
		send(300)
		expect("beyond the batch size", 1, 3)
		elapse(30 * time.Second)
		expect("before the linger is over", 1, 3)
		elapse(31 * time.Second)
		expect("after the linger", 2, 4)
		send(1)
		begun := time.Now()
		if err := p.Flush(t.Context()); err != nil || time.Since(begun) > 0 {
			t.Errorf("flush took %v, %v", time.Since(begun), err)
		}
		expect("after a flush", 3, 5)
		send(1)
		mustClose(t, p)
		expect("after close", 4, 6)
		if err := got.failed(); err != nil {
			t.Error(err)
		}
	})
}

func TestWithoutLingerBatchesGrowWhileOneIsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l, c := fakeCluster(t, "orders", 1)
		l.Plan = func(string, int) clientfake.Fault { return clientfake.Fault{Delay: time.Millisecond} }
		p := mustProducer(t, c)
		for i := range 1000 {
			if err := p.SendAsync(t.Context(), Record{Topic: "orders", Value: fmt.Append(nil, i)}, nil); err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				synctest.Wait() // the first goes alone
			}
		}
		mustClose(t, p)
		if n := b.Arrived(); n != 2 {
			t.Errorf("%d batches, want 2", n)
		}
		if diff := cmp.Diff(numbered(1000), values(recordsOf(t, b, "orders", 0))); diff != "" {
			t.Errorf("stored (-want +got):\n%s", diff)
		}
	})
}

func TestFlushWaitsForWhatWasTakenBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, l, c := fakeCluster(t, "orders", 4)
		p := mustProducer(t, c)
		defer mustClose(t, p)
		if err := p.Flush(t.Context()); err != nil {
			t.Errorf("of nothing: %v", err)
		}
		var got collected
		l.Plan = func(string, int) clientfake.Fault { return clientfake.Fault{Delay: time.Second} }
		for i := range 4 {
			if err := p.SendAsync(t.Context(), Record{Topic: "orders", Key: keyFor(i, 4)}, got.done); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := p.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with a ctx that ends: %v", err)
		}
		if err := p.Flush(t.Context()); err != nil || got.count() != 4 {
			t.Errorf("%d of 4 records are reported, %v", got.count(), err)
		}
	})
}

// TestCloseReportsEveryRecord: what cannot be delivered until ctx ends is told,
// and told rightly.
func TestCloseReportsEveryRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, l, c := fakeCluster(t, "orders", 1)
		p := mustProducer(t, c)
		l.Plan = func(string, int) clientfake.Fault { return clientfake.Fault{Lose: true} }
		var sent, unsent collected
		if err := p.SendAsync(t.Context(), Record{Topic: "orders"}, sent.done); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // it is in flight
		for range 10 {
			if err := p.SendAsync(t.Context(), Record{Topic: "orders"}, unsent.done); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v", err)
		}
		if err := sent.failed(); sent.count() != 1 || !errors.Is(err, ErrOutcomeUnknown) {
			t.Errorf("the record in flight: %v", err)
		}
		if err := unsent.failed(); unsent.count() != 10 || !errors.Is(err, ErrClosed) || errors.Is(err, ErrOutcomeUnknown) {
			t.Errorf("%d records never sent: %v", unsent.count(), err)
		}
	})
}

func TestSendThatIsLeftDoesNotKnow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l, c := fakeCluster(t, "orders", 1)
		p := mustProducer(t, c)
		l.Plan = func(string, int) clientfake.Fault { return clientfake.Fault{Delay: time.Second} }
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := p.Send(ctx, Record{Topic: "orders", Value: []byte("v")})
		if !errors.Is(err, ErrOutcomeUnknown) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		mustClose(t, p)
		if got := values(recordsOf(t, b, "orders", 0)); len(got) != 1 {
			t.Errorf("stored %q: what was taken is delivered", got)
		}
	})
}

func TestOptionsAreChecked(t *testing.T) {
	_, _, c := fakeCluster(t, "orders", 1)
	_, err := c.NewProducer(WithLinger(-1), WithBuffer(0, 0), WithCompression(9), WithBatchBytes(0))
	for _, text := range []string{"linger -1ns", "buffer of 0 bytes", "buffer of 0 records", "compression 9", "batch bytes 0"} {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("producer: error %v lacks %q", err, text)
		}
	}
	if _, err := c.NewReader(t.Context(), "orders", WithPrefetch(-1)); err == nil || !strings.Contains(err.Error(), "prefetch of -1 bytes") {
		t.Errorf("reader: %v", err)
	}
	if _, err := Connect(t.Context(), WithPrefix("a.*"), WithDialTimeout(-1)); err == nil || !strings.Contains(err.Error(), `prefix "a.*"`) {
		t.Errorf("connect: %v", err)
	}
	if _, err := Connect(t.Context(), WithServers("nats://")); err == nil || !strings.Contains(err.Error(), `server "nats://"`) {
		t.Errorf("connect: %v", err)
	}
}
