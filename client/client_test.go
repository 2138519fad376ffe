package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"metaq/client/internal/clientfake"
	"metaq/client/internal/link"
	"metaq/protocol"
)

func connect(t testing.TB, opts ...Option) *Client {
	t.Helper()
	c, err := Connect(t.Context(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// freeAddress returns an address on which nobody listens.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// mutePeer accepts connections and never says a word.
func mutePeer(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

func TestConnectNamesWhatItTried(t *testing.T) {
	refused := freeAddress(t)
	for _, tc := range []struct {
		name    string
		opts    []Option
		texts   []string
		longest time.Duration
	}{
		{"nobody listens", []Option{WithServers(refused)}, []string{"nats://" + refused, "connection refused", "metaq broker"}, 4 * time.Second},
		{"nobody answers", []Option{WithServers(mutePeer(t), mutePeer(t)), WithDialTimeout(200 * time.Millisecond)}, []string{"nats://127"}, 2 * time.Second},
		{"two servers", []Option{WithServers("nats://u:secret@"+refused, freeAddress(t))}, []string{"nats://" + refused + ", nats://"}, 4 * time.Second},
		{"from a resolver", []Option{WithResolver(func(context.Context) ([]string, error) { return []string{refused}, nil })}, []string{refused}, 4 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			begun := time.Now()
			_, err := Connect(t.Context(), tc.opts...)
			if d := time.Since(begun); d > tc.longest {
				t.Errorf("took %v", d)
			}
			if !errors.Is(err, ErrNoBroker) {
				t.Errorf("error %v", err)
			}
			for _, text := range tc.texts {
				if !strings.Contains(fmt.Sprint(err), text) {
					t.Errorf("error %q lacks %q", err, text)
				}
			}
			if strings.Contains(fmt.Sprint(err), "secret") || strings.Contains(fmt.Sprint(err), "\n") {
				t.Errorf("error %q tells a password, or has several lines", err)
			}
		})
	}
	lost := errors.New("no registry")
	_, err := Connect(t.Context(), WithResolver(func(context.Context) ([]string, error) { return nil, lost }))
	if !errors.Is(err, lost) {
		t.Errorf("a resolver that fails: %v", err)
	}
}

func TestConnectHonoursCtx(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begun := time.Now()
	if _, err := Connect(ctx, WithServers(mutePeer(t)), WithDialTimeout(time.Minute)); err == nil || time.Since(begun) > 5*time.Second {
		t.Errorf("after %v: %v", time.Since(begun), err)
	}
	if _, err := Connect(ctx, WithServers(freeAddress(t)), WithWait()); err == nil {
		t.Error("connected to nobody")
	}
}

func TestConnectWaitsForAServer(t *testing.T) {
	s := clientfake.StartServer(t, clientfake.NewBroker())
	s.Stop()
	address := fmt.Sprintf("127.0.0.1:%d", s.Port)
	type made struct {
		c   *Client
		err error
	}
	got := make(chan made)
	go func() {
		c, err := Connect(t.Context(), WithServers(address), WithWait())
		got <- made{c, err}
	}()
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	m := <-got
	if m.err != nil {
		t.Fatal(m.err)
	}
	if _, err := m.c.Admin().WaitReady(t.Context()); err != nil {
		t.Error(err)
	}
	m.c.Close()
	m.c.Close()
}

func TestPingWithoutABroker(t *testing.T) {
	s := clientfake.StartServer(t, clientfake.NewBroker())
	c := connect(t, WithServers(s.URL()), WithPrefix("elsewhere"))
	_, err := c.Admin().Ping(t.Context())
	if !errors.Is(err, ErrNoBroker) || !strings.Contains(err.Error(), s.URL()) {
		t.Errorf("error %v", err)
	}
}

func TestWaitReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, l, c := fakeCluster(t, "orders", 1)
		l.Down = true
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		begun := time.Now()
		if _, err := c.Admin().WaitReady(ctx); !errors.Is(err, ErrNoBroker) || time.Since(begun) != 3*time.Second {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
		time.AfterFunc(3*time.Second, func() { l.Set(func() { l.Down = false }) })
		if b, err := c.Admin().WaitReady(t.Context()); err != nil || !b.Ready {
			t.Errorf("once it is there: %+v, %v", b, err)
		}
	})
}

func TestAdmin(t *testing.T) {
	s := clientfake.StartServer(t, clientfake.NewBroker())
	nc, err := nats.Connect(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	c := connect(t, WithNATS(nc))
	a := c.Admin()
	if info, err := a.CreateTopic(t.Context(), protocol.TopicCreate{Topic: "orders", Partitions: 2}); err != nil || len(info.Partitions) != 2 {
		t.Errorf("create: %+v, %v", info, err)
	}
	if _, err := a.CreateTopic(t.Context(), protocol.TopicCreate{Topic: "orders"}); !errors.Is(err, ErrExists) {
		t.Errorf("create again: %v", err)
	}
	if info, err := a.SetTopic(t.Context(), protocol.TopicSet{Topic: "orders", Partitions: 3}); err != nil || len(info.Partitions) != 3 {
		t.Errorf("set: %+v, %v", info, err)
	}
	if list, err := a.ListTopics(t.Context()); err != nil || len(list) != 1 || list[0].Topic != "orders" {
		t.Errorf("ls: %+v, %v", list, err)
	}
	fill(t, s.B, "orders", 1, 0, 10)
	if o, err := a.Offsets(t.Context(), "orders", PartitionID{N: 1}, time.UnixMilli(4000)); err != nil || o.Offset != 4 || o.EndOffset != 10 {
		t.Errorf("offsets: %+v, %v", o, err)
	}
	if cluster, err := a.ClusterInfo(t.Context()); err != nil || len(cluster.Brokers) != 1 {
		t.Errorf("cluster: %+v, %v", cluster, err)
	}
	if b, err := a.Ping(t.Context()); err != nil || !b.Ready {
		t.Errorf("ping: %+v, %v", b, err)
	}
	if err := a.DeleteTopic(t.Context(), "orders"); err != nil {
		t.Errorf("delete: %v", err)
	}
	if err := a.DeleteTopic(t.Context(), "orders"); !errors.Is(err, ErrNoTopic) {
		t.Errorf("delete again: %v", err)
	}
	c.Close()
	if nc.IsClosed() {
		t.Error("Close closed a connection that it does not own")
	}
}

// TestServerRestart stops the server in the middle of a stream: nothing is lost or
// stored twice, and what was in flight does not wait for its timeout.
func TestServerRestart(t *testing.T) {
	b := clientfake.NewBroker()
	b.Create("orders", 2)
	s := clientfake.StartServer(t, b)
	c := connect(t, WithServers(s.URL()))
	p := mustProducer(t, c, WithRequestTimeout(time.Minute))
	r := mustReader(t, c, "orders", ReadPartitions(PartitionID{N: 1}), WithMaxWait(time.Minute))
	defer r.Close()
	var got collected
	key := keyFor(1, 2)
	send := func(i int) {
		t.Helper()
		if err := p.SendAsync(t.Context(), Record{Topic: "orders", Key: key, Value: fmt.Append(nil, i)}, got.done); err != nil {
			t.Fatal(err)
		}
	}
	send(0)
	if got := read(t, r, 1); got[0] != "0" {
		t.Fatalf("read %q", got)
	}
	// The answers to the next batches are swallowed, so that one is in flight when
	// the server goes.
	arrived := make(chan struct{}, 100)
	s.Swallow(func(subject string) bool {
		if strings.HasPrefix(subject, "metaq.batch.") {
			arrived <- struct{}{}
			return true
		}
		return false
	})
	for i := 1; i < 100; i++ {
		send(i)
	}
	<-arrived
	s.Stop()
	for i := 100; i < 200; i++ {
		send(i)
	}
	s.Swallow(nil)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	mustClose(t, p)
	if diff := cmp.Diff(numbered(200)[1:], read(t, r, 199)); diff != "" {
		t.Errorf("read (-want +got):\n%s", diff)
	}
	if d := time.Since(begun); d > 30*time.Second {
		t.Errorf("all was there after %v", d)
	}
	if err := got.failed(); err != nil || got.count() != 200 {
		t.Errorf("%d records reported, %v", got.count(), err)
	}
}

func TestRequestsWithoutAConnection(t *testing.T) {
	b := clientfake.NewBroker()
	b.Create("orders", 1)
	s := clientfake.StartServer(t, b)
	nc, err := nats.Connect(s.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond)) // keeps what it cannot send
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for name, c := range map[string]*Client{
		"own connection": connect(t, WithServers(s.URL())), "given connection": connect(t, WithNATS(nc)),
	} {
		s.Stop()
		// Until the client notices the request may count as sent.
		_, err := c.Admin().TopicInfo(t.Context(), "orders")
		for errors.Is(err, link.ErrConnLost) {
			_, err = c.Admin().TopicInfo(t.Context(), "orders")
		}
		if !errors.Is(err, ErrNoBroker) || !strings.Contains(fmt.Sprint(err), fmt.Sprintf("not connected to nats://127.0.0.1:%d", s.Port)) {
			t.Errorf("%s: error %v", name, err)
		}
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Admin().WaitReady(t.Context()); err != nil {
			t.Errorf("%s, connected again: %v", name, err)
		}
	}
}

// TestClosedClient: what is in flight ends, and says that it is unknown.
func TestClosedClient(t *testing.T) {
	b := clientfake.NewBroker()
	b.Create("orders", 1)
	s := clientfake.StartServer(t, b)
	nc, err := nats.Connect(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for name, opt := range map[string]Option{"own connection": WithServers(s.URL()), "given connection": WithNATS(nc)} {
		c := connect(t, opt)
		p := mustProducer(t, c)
		if _, err := p.Send(t.Context(), Record{Topic: "orders"}); err != nil {
			t.Fatal(err)
		}
		arrived := make(chan struct{})
		s.Swallow(func(string) bool { close(arrived); return true })
		var got collected
		if err := p.SendAsync(t.Context(), Record{Topic: "orders"}, got.done); err != nil {
			t.Fatal(err)
		}
		<-arrived
		s.Swallow(nil)
		c.Close()
		mustClose(t, p)
		if err := got.failed(); !errors.Is(err, ErrOutcomeUnknown) || !strings.Contains(fmt.Sprint(err), "is closed") {
			t.Errorf("%s, in flight: %v", name, err)
		}
		if _, err := c.Admin().TopicInfo(t.Context(), "orders"); !errors.Is(err, ErrClosed) {
			t.Errorf("%s, closed: %v", name, err)
		}
	}
}
