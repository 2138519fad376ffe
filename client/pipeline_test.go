package client

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"metaq/client/internal/clientfake"
	"metaq/protocol"
)

// sendNumbered sends the numbers below n, each in a batch of its own.
func sendNumbered(t *testing.T, p *Producer, n int) *collected {
	t.Helper()
	got := new(collected)
	for i := range n {
		if err := p.SendAsync(t.Context(), Record{Topic: "orders", Value: fmt.Append(nil, i)}, got.done); err != nil {
			t.Fatal(err)
		}
	}
	return got
}

// requireNumbered: all is stored once and in order, and the results say where.
func requireNumbered(t *testing.T, b *clientfake.Broker, got *collected, n int) {
	t.Helper()
	if err := got.failed(); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(numbered(n), values(recordsOf(t, b, "orders", 0))); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
	for i, r := range got.results {
		if r.Offset != Offset(i) {
			t.Errorf("the %d-th result says offset %d", i, r.Offset)
		}
	}
}

func TestUpToFiveFullBatchesAreInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l, c := fakeCluster(t, "orders", 1)
		p := mustProducer(t, c, WithBatchBytes(1))
		l.Plan = func(string, int) clientfake.Fault { return clientfake.Fault{Delay: time.Second} }
		got := sendNumbered(t, p, 12)
		synctest.Wait()
		if n := l.Seen["bat"]; n != 5 {
			t.Errorf("%d batches are in flight, want 5", n)
		}
		mustClose(t, p)
		requireNumbered(t, b, got, 12)
	})
}

// TestLaterBatchesWaitForOneThatFailed: one of those in flight fails while the
// others arrive, also when the broker has never heard of the producer, so that
// nothing but the sequence tells that the first one is missing.
func TestLaterBatchesWaitForOneThatFailed(t *testing.T) {
	faults := map[string]clientfake.Fault{
		"refused":     {Refuse: protocol.ErrBusy},
		"not there":   {Nobody: true},
		"lost":        {Lose: true},
		"answer lost": {Mute: true},
		"cut":         {Cut: true},
		"failed":      {Refuse: protocol.ErrPartition},
		"slow":        {Delay: time.Second},
		"twice":       {Late: 15 * time.Second},
	}
	for name, f := range faults {
		for at := range 5 {
			t.Run(fmt.Sprintf("%s at %d", name, at), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b, l, c := fakeCluster(t, "orders", 1)
					p := mustProducer(t, c, WithBatchBytes(1))
					l.Plan = func(_ string, n int) clientfake.Fault {
						if n == at {
							return f
						}
						return clientfake.Fault{Delay: time.Millisecond}
					}
					got := sendNumbered(t, p, 20)
					mustClose(t, p)
					l.Late.Wait()
					requireNumbered(t, b, got, 20)
				})
			})
		}
	}
}

// TestBrokerThatForgotTheProducer does not take the second of the batches in
// flight for the first, which it has refused.
func TestBrokerThatForgotTheProducer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l, c := fakeCluster(t, "orders", 1)
		p := mustProducer(t, c, WithBatchBytes(1))
		if _, err := p.Send(t.Context(), Record{Topic: "orders", Value: []byte("0")}); err != nil {
			t.Fatal(err)
		}
		b.With("orders", 0, func(q *clientfake.Partition) { clear(q.Producers) })
		l.Set(func() {
			l.Plan = func(_ string, n int) clientfake.Fault {
				if n == 1 {
					return clientfake.Fault{Refuse: protocol.ErrBusy}
				}
				return clientfake.Fault{Delay: time.Millisecond}
			}
		})
		for i := 1; i < 10; i++ {
			if err := p.SendAsync(t.Context(), Record{Topic: "orders", Value: fmt.Append(nil, i)}, nil); err != nil {
				t.Fatal(err)
			}
		}
		mustClose(t, p)
		if diff := cmp.Diff(numbered(10), values(recordsOf(t, b, "orders", 0))); diff != "" {
			t.Errorf("stored (-want +got):\n%s", diff)
		}
	})
}

// TestOneBatchIsGivenUpAmongMany: those behind it are stored, under new numbers,
// since the broker would wait for the one that never comes.
func TestOneBatchIsGivenUpAmongMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l, c := fakeCluster(t, "orders", 1)
		p := mustProducer(t, c, WithBatchBytes(1))
		l.Plan = func(_ string, n int) clientfake.Fault {
			if n == 2 {
				return clientfake.Fault{Refuse: protocol.ErrNotAccepted}
			}
			return clientfake.Fault{Delay: time.Millisecond}
		}
		got := sendNumbered(t, p, 8)
		mustClose(t, p)
		for i, err := range got.errs {
			if refused := errors.Is(err, protocol.ErrNotAccepted) && !errors.Is(err, ErrOutcomeUnknown); refused != (i == 2) {
				t.Errorf("record %d: %v", i, err)
			}
		}
		if diff := cmp.Diff([]string{"0", "1", "3", "4", "5", "6", "7"}, values(recordsOf(t, b, "orders", 0))); diff != "" {
			t.Errorf("stored (-want +got):\n%s", diff)
		}
	})
}

// TestProducersAreGrantedTheirIDs: each has another one, and one that is drawn, since
// the broker is an old one, is none that could be granted.
func TestProducersAreGrantedTheirIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l, c := fakeCluster(t, "orders", 1)
		seen := make(map[int64]bool)
		l.Tap = func(batch []byte) {
			h, err := protocol.ParseBatchHeader(batch)
			if err != nil {
				t.Error(err)
			}
			if seen[h.ProducerID] || (h.ProducerID >= 1<<62) != b.Old || h.ProducerEpoch != 0 || h.BaseSequence != 0 {
				t.Errorf("a producer begins with id %d, epoch %d, sequence %d", h.ProducerID, h.ProducerEpoch, h.BaseSequence)
			}
			seen[h.ProducerID] = true
		}
		for range 3 {
			p := mustProducer(t, c)
			sendNumbered(t, p, 1)
			mustClose(t, p)
		}
		// While there is no connection nothing is drawn.
		l.Set(func() { l.Down = true })
		p := mustProducer(t, c)
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := p.Send(short, Record{Topic: "orders"}); !errors.Is(err, ErrNoBroker) {
			t.Errorf("without a connection: %v", err)
		}
		l.Set(func() { l.Down = false })
		sendNumbered(t, p, 1)
		mustClose(t, p)
		b.Old = true
		p = mustProducer(t, c)
		sendNumbered(t, p, 1)
		mustClose(t, p)
		if len(seen) != 5 {
			t.Errorf("%d producers have sent, want 5", len(seen))
		}
	})
}
