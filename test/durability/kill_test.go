//go:build unix

package durability

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"metaq/protocol"
	"metaq/test/process"
)

// plain publishes single numbered messages as any NATS client does, each once:
// one without an answer may be stored or not.
func (l *ledger) plain(url, topic string, stop <-chan struct{}) error {
	nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond), nats.ReconnectBufSize(-1))
	if err != nil {
		return err
	}
	defer nc.Close()
	for n := 0; ; n++ {
		select {
		case <-stop:
			return nil
		default:
		}
		value := fmt.Sprintf("plain %d", n)
		m, err := nc.Request(protocol.Subjects{}.Put(topic), []byte(value), 500*time.Millisecond)
		if err != nil {
			continue // killed meanwhile: nobody knows
		}
		ack, err := decodeAck(m.Data)
		if err != nil {
			continue // refused: it is starting or stopping
		}
		l.ack(value, place{ack.Partition, ack.Offset})
	}
}

// TestFiftyKills kills the broker fifty times under load, each time after a
// random number of further acknowledgements, while producers go on.
func TestFiftyKills(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute: run make test")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	b := process.Start(t, nil)
	c := connect(t, b.URL)
	create(t, c, "native", 4)
	create(t, c, "plain", 4)
	native, plain := newLedger(), newLedger()
	stop := make(chan struct{})
	var producers sync.WaitGroup
	for i := range 3 {
		producers.Go(func() {
			if _, err := native.stream(ctx, c, "native", fmt.Sprintf("p%d", i), stop); err != nil {
				native.fail(err)
			}
		})
	}
	producers.Go(func() {
		if err := plain.plain(b.URL, "plain", stop); err != nil {
			plain.fail(err)
		}
	})
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	const kills = 50
	for range kills {
		native.wait(native.count() + 1 + rng.IntN(2000))
		b.Kill()
		b.Start()
	}
	close(stop)
	producers.Wait()
	native.judge(ctx, t, c, "native", true)
	plain.judge(ctx, t, c, "plain", false)
	t.Logf("%d kills survived", kills)
}

// TestTermAnswersEverything floods the broker with requests and asks it to stop:
// what it has received is answered, each request once, and what it acknowledged
// is there afterwards.
func TestTermAnswersEverything(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	b := process.Start(t, nil)
	c := connect(t, b.URL)
	create(t, c, "t", 4)
	nc, err := nats.Connect(b.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	const requests = 20_000
	inbox := nc.NewInbox()
	answers := make(chan *nats.Msg, 2*requests)
	if _, err := nc.ChanSubscribe(inbox+".*", answers); err != nil {
		t.Fatal(err)
	}
	for i := range requests {
		if err := nc.PublishRequest("metaq.put.t", fmt.Sprintf("%s.%d", inbox, i), fmt.Appendf(nil, "n %d", i)); err != nil {
			t.Fatal(err)
		}
	}
	// The server has them all once it answers the flush. Most are still on their
	// way to the disk.
	if err := nc.FlushWithContext(ctx); err != nil {
		t.Fatal(err)
	}
	b.Terminate()
	l := newLedger()
	seen, refused := map[string]int{}, 0
	for len(seen) < requests {
		select {
		case m := <-answers:
			id := m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]
			if seen[id]++; seen[id] > 1 {
				t.Errorf("request %s was answered twice: %s", id, m.Data)
			}
			ack, err := decodeAck(m.Data)
			if err != nil {
				refused++ // or no responders: also an answer
				continue
			}
			l.ack("n "+id, place{ack.Partition, ack.Offset})
		case <-ctx.Done():
			t.Fatalf("%d of %d requests were answered", len(seen), requests)
		}
	}
	b.Wait()
	b.Start()
	t.Logf("%d acknowledged, %d refused", l.count(), refused)
	l.judge(ctx, t, connect(t, b.URL), "t", false)
}

// TestFrozenForTenSeconds stops the broker's process as a suspended machine
// would, under load, and lets it go on.
func TestFrozenForTenSeconds(t *testing.T) {
	if testing.Short() {
		t.Skip("takes ten seconds: run make test")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	b := process.Start(t, nil)
	c := connect(t, b.URL)
	create(t, c, "t", 2)
	l := newLedger()
	stop := make(chan struct{})
	var producer sync.WaitGroup
	producer.Go(func() {
		if _, err := l.stream(ctx, c, "t", "p", stop); err != nil {
			l.fail(err)
		}
	})
	l.wait(1000)
	b.Pause()
	frozen := l.count()
	<-time.After(10 * time.Second)
	b.Resume()
	l.wait(frozen + 5000)
	close(stop)
	producer.Wait()
	l.judge(ctx, t, c, "t", true)
}
