package durability

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"metaq/client"
	"metaq/protocol"
	"metaq/test/process"
)

const patience = 3 * time.Minute

func TestMain(m *testing.M) { process.Main(m) }

func connect(t testing.TB, url string) *client.Client {
	t.Helper()
	c, err := client.Connect(t.Context(), client.WithServers(url))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func create(t testing.TB, c *client.Client, topic string, partitions int) {
	t.Helper()
	if _, err := c.Admin().CreateTopic(t.Context(), protocol.TopicCreate{Topic: topic, Partitions: partitions}); err != nil {
		t.Fatal(err)
	}
}

// place is where a record is.
type place struct {
	partition client.PartitionID
	offset    client.Offset
}

// ledger is what producers were told. It is safe for concurrent use.
type ledger struct {
	mu     sync.Mutex
	acked  map[string]place // by value
	failed []error
	more   *sync.Cond // on mu: acked or failed grew
}

func newLedger() *ledger {
	l := &ledger{acked: map[string]place{}}
	l.more = sync.NewCond(&l.mu)
	return l
}

func (l *ledger) ack(value string, at place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if before, twice := l.acked[value]; twice {
		l.failed = append(l.failed, fmt.Errorf("%s was acknowledged at %v and at %v", value, before, at))
	}
	l.acked[value] = at
	l.more.Broadcast()
}

func (l *ledger) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed = append(l.failed, err)
	l.more.Broadcast()
}

// count is how many records were acknowledged.
func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

// wait returns when n records were acknowledged, or something failed.
func (l *ledger) wait(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.acked) < n && len(l.failed) == 0 {
		l.more.Wait()
	}
}

// stream sends numbered records with a native producer until stop is closed, and
// returns how many it sent once each has been reported.
func (l *ledger) stream(ctx context.Context, c *client.Client, topic, name string, stop <-chan struct{}) (int, error) {
	p, err := c.NewProducer(client.WithBuffer(1<<20, 500))
	if err != nil {
		return 0, err
	}
	n := 0
	for ; ; n++ {
		select {
		case <-stop:
			return n, p.Close(ctx)
		default:
		}
		value := name + " " + strconv.Itoa(n)
		err := p.SendAsync(ctx, client.Record{Topic: topic, Key: fmt.Appendf(nil, "%s%d", name, n%7), Value: []byte(value)},
			func(r client.Result, err error) {
				if err != nil {
					l.fail(fmt.Errorf("%s: %w", value, err))
					return
				}
				l.ack(value, place{r.Partition, r.Offset})
			})
		if err != nil {
			return n, err
		}
	}
}

// judge reads the whole topic and compares it with what producers were told:
// acknowledged is within stored is within sent, each native record exactly once,
// at its place, in order within its key.
func (l *ledger) judge(ctx context.Context, t *testing.T, c *client.Client, topic string, native bool) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, err := range l.failed {
		t.Error(err)
	}
	info, err := c.Admin().TopicInfo(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	stored := 0
	for _, p := range info.Partitions {
		stored += int(p.EndOffset)
	}
	r, err := c.NewReader(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	seen := map[string]place{}
	last := map[string]int{} // by key
	for range stored {
		rec, err := r.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		value, at := string(rec.Value), place{rec.Partition, rec.Offset}
		if before, twice := seen[value]; twice {
			t.Errorf("%s is stored at %v and at %v", value, before, at)
		}
		seen[value] = at
		if told, ok := l.acked[value]; ok && told != at {
			t.Errorf("%s was acknowledged at %v and is at %v", value, told, at)
		}
		_, number, _ := cut(value)
		if before, ok := last[string(rec.Key)]; ok && native && number <= before {
			t.Errorf("key %s: %d comes after %d", rec.Key, number, before)
		}
		last[string(rec.Key)] = number
	}
	for value, at := range l.acked {
		if _, ok := seen[value]; !ok {
			t.Errorf("%s was acknowledged at %v and is lost", value, at)
		}
	}
	if native && len(seen) != len(l.acked) {
		t.Errorf("%d records are stored, %d were acknowledged", len(seen), len(l.acked))
	}
	t.Logf("%s: %d acknowledged, %d stored", topic, len(l.acked), stored)
}

// cut splits a value into its producer's name and its number.
func cut(value string) (name string, number int, err error) {
	_, err = fmt.Sscanf(value, "%s %d", &name, &number)
	return name, number, err
}

// decodeAck reads the answer to a put.
func decodeAck(b []byte) (protocol.PubAck, error) {
	if err := protocol.DecodeError(b); err != nil {
		return protocol.PubAck{}, err
	}
	var ack protocol.PubAck
	err := json.Unmarshal(b, &ack)
	return ack, err
}
