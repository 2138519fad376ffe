package groups

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"metaq/client"
	"metaq/client/messagedir"
	"metaq/protocol"
)

// connectWith connects a client that keeps things in d.
func connectWith(t testing.TB, url string, d client.MessageDir) *client.Client {
	t.Helper()
	c, err := client.Connect(t.Context(), client.WithServers(url), client.WithMessageDir(d))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// stubborn is a handler that fails with some values until it is mended.
type stubborn struct {
	mu     sync.Mutex // guards what follows
	bad    map[string]bool
	passed []string
}

func newStubborn(bad ...string) *stubborn {
	s := &stubborn{bad: map[string]bool{}}
	for _, v := range bad {
		s.bad[v] = true
	}
	return s
}

func (s *stubborn) handle(_ context.Context, r client.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bad[string(r.Value)] {
		return errors.New("not today")
	}
	s.passed = append(s.passed, string(r.Value))
	return nil
}

func (s *stubborn) batch(ctx context.Context, recs []client.Record) error {
	for i, r := range recs {
		if err := s.handle(ctx, r); err != nil {
			return &client.BatchError{Index: i, Err: err}
		}
	}
	return nil
}

func (s *stubborn) mend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.bad)
}

func (s *stubborn) values() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.passed)
}

// keeping are the options of a consumer that keeps what fails, without patience.
func keeping(more ...client.ConsumerOption) []client.ConsumerOption {
	return append([]client.ConsumerOption{
		client.OnFailure(client.Keep), client.WithRetries(1, time.Millisecond, 10*time.Millisecond),
		client.WithCommitInterval(20 * time.Millisecond),
	}, more...)
}

func TestARecordThatFailsIsKeptForTheNextConsumer(t *testing.T) {
	w := newWorld(t)
	d := messagedir.New(filepath.Join(t.TempDir(), "logs"))
	c := connectWith(t, w.url, d)
	produce(t, c, 0, 100)
	first := newStubborn("13", "14", "77")
	one := consume(t, c, first.handle, keeping()...)
	await(t, "the group is past what failed", func() bool { return lag(t, c) == 0 })
	if got := len(first.values()); got != 97 {
		t.Fatalf("%d of 97 were processed", got)
	}
	closeConsumer(t, one)
	w.restart() // what is kept is the client's

	second := newStubborn("14")
	two := consume(t, connectWith(t, w.url, d), nil, keeping(client.WithBatchHandler(second.batch, 100), client.WithKeptInterval(20*time.Millisecond))...)
	await(t, "two of the kept records", func() bool { return len(second.values()) == 2 })
	second.mend()
	await(t, "the third one", func() bool { return len(second.values()) == 3 })
	closeConsumer(t, two)
	got := second.values()
	slices.Sort(got)
	if !slices.Equal(got, []string{"13", "14", "77"}) {
		t.Fatalf("got %v", got)
	}

	produce(t, c, 100, 1)
	third := newStubborn()
	consume(t, c, third.handle, keeping()...)
	await(t, "the record since", func() bool { return len(third.values()) > 0 })
	if got := third.values(); !slices.Equal(got, []string{"100"}) {
		t.Fatalf("got %v: what was processed came again", got)
	}
}

// The kept records reach their limit: the partitions wait, which is told, nothing
// is lost, and they go on by themselves when there is room.
func TestAPartitionWaitsWhileNoMoreCanBeKept(t *testing.T) {
	d := messagedir.NewWith(t.TempDir(), messagedir.Options{Limit: 1000})
	c := connectWith(t, newWorld(t).url, d)
	values := make([]string, 50)
	for i := range values {
		values[i] = string(rune('0'+i/10)) + string(rune('0'+i%10))
	}
	p, err := c.NewProducer()
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range values {
		if _, err := p.Send(t.Context(), client.Record{Topic: "orders", Key: []byte("one partition"), Value: []byte(v)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := newStubborn(values...)
	told := make(chan error, 1)
	consume(t, c, s.handle, keeping(client.WithKeptInterval(20*time.Millisecond), client.OnError(func(err error) {
		if errors.Is(err, messagedir.ErrFull) {
			select {
			case told <- err:
			default:
			}
		}
	}))...)
	select {
	case err := <-told:
		if !strings.Contains(err.Error(), "waits at offset") || !strings.Contains(err.Error(), "limit of 1000") {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("nobody said that there is no room")
	}
	if n := lag(t, c); n < 30 {
		t.Errorf("a lag of %d: the group went past what is not kept", n)
	}
	s.mend()
	await(t, "no lag", func() bool { return lag(t, c) == 0 })
	await(t, "all records", func() bool {
		got := s.values()
		slices.Sort(got)
		return slices.Equal(slices.Compact(got), values)
	})
}

func TestAConsumerDoesNotStartOnADamagedFile(t *testing.T) {
	dir := t.TempDir()
	c := connectWith(t, newWorld(t).url, messagedir.New(dir))
	produce(t, c, 0, 20)
	closeConsumer(t, keepSome(t, c))
	path := filepath.Join(dir, "g", "kept.log")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	damaged := bytes.Clone(b)
	damaged[len(b)/2] ^= 1
	if err := os.WriteFile(path, damaged, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = c.NewConsumer(t.Context(), "g", []string{"orders"}, newStubborn().handle, keeping()...)
	var damage *messagedir.DamageError
	if !errors.As(err, &damage) || damage.Path != path {
		t.Fatal(err)
	}
	if err := os.Rename(path, path+".away"); err != nil { // as the error says
		t.Fatal(err)
	}
	produce(t, c, 20, 1)
	s := newStubborn()
	consume(t, c, s.handle, keeping()...)
	await(t, "the record since", func() bool { return slices.Equal(s.values(), []string{"20"}) })
}

// keepSome runs a consumer that keeps everything, until the group has no lag.
func keepSome(t *testing.T, c *client.Client) *client.Consumer {
	t.Helper()
	con := consume(t, c, func(context.Context, client.Record) error { return errors.New("never") }, keeping()...)
	await(t, "the group is past what failed", func() bool { return lag(t, c) == 0 })
	return con
}

func TestTwoConsumersDoNotShareWhatTheyKeep(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	c := connectWith(t, w.url, messagedir.New(dir))
	produce(t, c, 0, 1)
	one := consume(t, c, newStubborn().handle, keeping()...)
	other := connectWith(t, w.url, messagedir.New(dir))
	if _, err := other.NewConsumer(t.Context(), "g", []string{"orders"}, newStubborn().handle, keeping()...); !errors.Is(err, messagedir.ErrInUse) {
		t.Fatal(err)
	}
	consume(t, other, newStubborn().handle, keeping(client.WithInstance("two"))...)
	closeConsumer(t, one)
	consume(t, other, newStubborn().handle, keeping()...)
}

// Close waits for a handler that has a kept record in hand, as for any other; when
// its own context ends it ends the handler's, and the record stays.
func TestCloseWaitsForAKeptRecordInHand(t *testing.T) {
	for _, c := range []struct {
		name     string
		patient  bool
		leftover int
	}{{"to its end", true, 0}, {"until its context ends", false, 1}} {
		t.Run(c.name, func(t *testing.T) {
			d := messagedir.New(t.TempDir())
			cl := connectWith(t, newWorld(t).url, d)
			produce(t, cl, 0, 1)
			closeConsumer(t, keepSome(t, cl))
			inHand, revoked := make(chan struct{}), make(chan struct{}, 100)
			closing, cut := context.WithCancel(t.Context())
			defer cut()
			con := consume(t, cl, func(ctx context.Context, _ client.Record) error {
				close(inHand)
				<-revoked // the consumer has nothing else left
				if !c.patient {
					cut()
					<-ctx.Done()
				}
				for range 5 { // time to end the context too early
					if _, err := cl.Admin().GroupInfo(ctx, "g"); err != nil {
						return err
					}
				}
				return ctx.Err()
			}, keeping(client.OnPartitions(func([]protocol.TopicPartition) {}, func([]protocol.TopicPartition) { revoked <- struct{}{} }))...)
			<-inHand
			await(t, "partitions", func() bool { return len(con.Assigned()) > 0 })
			if err := con.Close(closing); err != nil {
				t.Fatal(err)
			}
			s, err := d.OpenConsumer("g", "")
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if numbers, err := s.Kept(); err != nil || len(numbers) != c.leftover {
				t.Errorf("%v is kept, %v; want %d", numbers, err, c.leftover)
			}
		})
	}
}

func TestAConsumerThatDoesNotStartHoldsNothing(t *testing.T) {
	d := messagedir.New(t.TempDir())
	c := connectWith(t, newWorld(t).url, d)
	if _, err := c.NewConsumer(t.Context(), "g", []string{"nothing"}, newStubborn().handle, keeping(client.Broadcast(nil))...); !errors.Is(err, client.ErrNoTopic) {
		t.Fatal(err)
	}
	s, err := d.OpenConsumer("g", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
