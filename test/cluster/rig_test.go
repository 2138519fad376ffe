package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"metaq/client"
	"metaq/protocol"
	"metaq/test/process"
	zktest "metaq/test/zk"
)

// sessionTimeout is short, so that what waits for it is fast. Service returns within it
// and a second more after the end of what broke it: back. patience is for what no rule
// bounds.
const (
	sessionTimeout = 4 * time.Second
	back           = sessionTimeout + time.Second
	patience       = 40 * time.Second
)

func TestMain(m *testing.M) {
	process.Main(m,
		// The actor library's limiter of its log lines sleeps for a second after a
		// dead letter.
		goleak.IgnoreAnyFunction("github.com/asynkron/protoactor-go/actor.NewDeadLetter.NewThrottle.func4.1"))
}

// world is an ensemble and the brokers of one cluster over it.
type world struct {
	t       testing.TB
	zk      *zktest.Ensemble
	root    string
	brokers []*process.Broker
	metrics map[int]string // by broker id: where they are
	mu      sync.Mutex     // guards metrics
}

// add makes a broker a part of the world.
func (w *world) add(b *process.Broker) { w.brokers = append(w.brokers, b) }

// newWorld starts an ensemble of n servers, and one broker for each id.
func newWorld(t testing.TB, n int, ids ...int) *world {
	t.Helper()
	w := &world{t: t, zk: zktest.Start(t, n), root: "/meta"}
	var all sync.WaitGroup
	w.brokers = make([]*process.Broker, len(ids))
	for i, id := range ids {
		all.Go(func() { w.brokers[i] = w.start(id, nil) }) // at the same time
	}
	all.Wait()
	for _, b := range w.brokers {
		if b == nil {
			t.FailNow()
		}
	}
	return w
}

// flags of a broker of the cluster.
func (w *world) flags(id int, more map[string]string) map[string]string {
	f := map[string]string{
		"broker-id": strconv.Itoa(id), "zookeeper": w.zk.Connect(), "zk-root": w.root, "nats-cluster-port": "0",
		"zk-session-timeout-ms": strconv.FormatInt(sessionTimeout.Milliseconds(), 10), "num-partitions": "3",
		"metrics": w.freeAddress(id),
	}
	for k, v := range more {
		f[k] = v
	}
	return f
}

// freeAddress is where a broker's metrics will be.
func (w *world) freeAddress(id int) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Error(err)
		return ""
	}
	defer func() { _ = l.Close() }()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.metrics == nil {
		w.metrics = map[int]string{}
	}
	w.metrics[id] = l.Addr().String()
	return w.metrics[id]
}

func (w *world) start(id int, more map[string]string) *process.Broker {
	return w.start0(w.flags(id, more))
}

// start0 starts a broker with nothing but these flags.
func (w *world) start0(flags map[string]string) *process.Broker { return process.Start(w.t, flags) }

// connect connects to a broker.
func (w *world) connect(i int) *client.Client {
	w.t.Helper()
	c, err := client.Connect(w.t.Context(), client.WithServers(w.brokers[i].URL))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.Close)
	return c
}

// nats connects to a broker with nothing but the NATS library.
func (w *world) nats(i int) *nats.Conn {
	w.t.Helper()
	nc, err := nats.Connect(w.brokers[i].URL)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(nc.Close)
	return nc
}

// metric reads one value of a broker's metrics.
func (w *world) metric(address, name string) string {
	w.t.Helper()
	r, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if value, found := strings.CutPrefix(line, name+" "); found {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// number is metric for a broker's whole numbers.
func (w *world) number(id int, name string) int {
	w.t.Helper()
	n, err := strconv.Atoi(w.metric(w.metrics[id], name))
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// eventually tries until do returns no error.
func (w *world) eventually(what string, within time.Duration, do func(ctx context.Context) error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), within)
	defer cancel()
	var err error
	for {
		// An attempt may wait for a broker that is frozen.
		one, cancel := context.WithTimeout(ctx, 2*time.Second)
		err = do(one)
		cancel()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			w.t.Fatalf("%s: not within %s: %v", what, within, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// whole waits until each broker says that the topic has n partitions with a leader.
func (w *world) whole(topic string, n int) {
	w.t.Helper()
	w.wholeBy(topic, n, time.Now().Add(patience))
}

// wholeBy is whole with a deadline for all of it.
func (w *world) wholeBy(topic string, n int, deadline time.Time) {
	w.t.Helper()
	for i := range w.brokers {
		admin := w.connect(i).Admin()
		w.eventually(fmt.Sprintf("all partitions of %s at broker %d", topic, i), time.Until(deadline), func(ctx context.Context) error {
			info, err := admin.TopicInfo(ctx, topic)
			if err != nil {
				return err
			}
			led := 0
			for _, p := range info.Partitions {
				if p.Leader == p.Home {
					led++
				}
			}
			if led != n || len(info.Partitions) != n {
				return fmt.Errorf("%d of %d partitions have a leader: %+v", led, len(info.Partitions), info.Partitions)
			}
			return nil
		})
	}
}

// ledger remembers what was acknowledged.
type ledger struct {
	mu    sync.Mutex
	acked map[string]bool // by payload
	last  time.Time       // of the last acknowledgement
}

func newLedger() *ledger { return &ledger{acked: map[string]bool{}} }

func (l *ledger) ack(payload string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked[payload] = true
	l.last = time.Now()
}

func (l *ledger) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

// traffic puts messages, with keys and without, until stop; every acknowledgement is
// noted. Records that are given up are not counted: nobody promised anything.
type traffic struct {
	*ledger
	w    *world
	p    *client.Producer
	done chan struct{}
	end  context.CancelFunc

	openMu sync.Mutex      // guards open
	open   map[string]bool // payloads that are neither acknowledged nor given up
}

// produce begins to put messages into a topic through a client.
func (w *world) produce(c *client.Client, topic string) *traffic {
	w.t.Helper()
	// A request that a broker took with it is repeated while there is time.
	p, err := c.NewProducer(client.WithDeliveryTimeout(patience), client.WithRequestTimeout(sessionTimeout/2))
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	f := &traffic{ledger: newLedger(), w: w, p: p, done: make(chan struct{}), end: cancel, open: map[string]bool{}}
	go func() {
		defer close(f.done)
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ctx.Err() == nil; n++ {
			if err := f.send(ctx, topic, n); err != nil && ctx.Err() == nil {
				w.t.Errorf("send: %v", err)
				return
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	}()
	w.t.Cleanup(func() { f.stop() })
	return f
}

func (f *traffic) send(ctx context.Context, topic string, n int) error {
	payload := fmt.Sprintf("%s-%d", topic, n)
	r := client.Record{Topic: topic, Value: []byte(payload)}
	if n%2 == 0 {
		r.Key = []byte(strconv.Itoa(n % 20))
	}
	f.openMu.Lock()
	f.open[payload] = true
	f.openMu.Unlock()
	over := func() {
		f.openMu.Lock()
		defer f.openMu.Unlock()
		delete(f.open, payload)
	}
	err := f.p.SendAsync(ctx, r, func(_ client.Result, err error) {
		if err == nil {
			f.ack(payload)
		}
		over()
	})
	if err != nil {
		over()
	}
	return err
}

// settles waits until everything that was sent so far is acknowledged or given up.
func (f *traffic) settles(within time.Duration) {
	f.w.t.Helper()
	f.openMu.Lock()
	waiting := slices.Collect(maps.Keys(f.open))
	f.openMu.Unlock()
	f.w.eventually("the outcome of all that was sent", within, func(context.Context) error {
		f.openMu.Lock()
		defer f.openMu.Unlock()
		left := 0
		for _, payload := range waiting {
			if f.open[payload] {
				left++
			}
		}
		if left > 0 {
			return fmt.Errorf("%d of %d have none", left, len(waiting))
		}
		return nil
	})
}

// stop ends the traffic and waits for what is on its way.
func (f *traffic) stop() {
	f.end()
	<-f.done
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := f.p.Close(ctx); err != nil {
		f.w.t.Errorf("close the producer: %v", err)
	}
}

// flows waits until n more messages were acknowledged.
func (f *traffic) flows(n int, within time.Duration) {
	f.w.t.Helper()
	want := f.len() + n
	f.w.eventually("acknowledgements", within, func(context.Context) error {
		if have := f.len(); have < want {
			return fmt.Errorf("%d of %d", have, want)
		}
		return nil
	})
}

// judge reads the whole topic and fails when an acknowledged message is missing.
func (w *world) judge(topic string, acked *ledger) {
	w.t.Helper()
	got := w.readAll(topic)
	lost := 0
	for payload := range acked.acked {
		if !got[payload] {
			lost++
			if lost < 4 {
				w.t.Errorf("%s was acknowledged and is lost", payload)
			}
		}
	}
	w.t.Logf("%d messages acknowledged, %d lost", len(acked.acked), lost)
	if lost > 0 {
		w.t.Errorf("%d of %d acknowledged messages are lost", lost, len(acked.acked))
	}
}

// readAll returns the payloads of all partitions.
func (w *world) readAll(topic string) map[string]bool {
	w.t.Helper()
	c := w.connect(0)
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	// The ends of a partition whose leader has not answered are not known.
	var info protocol.TopicInfo
	w.eventually("the ends of all partitions", patience, func(ctx context.Context) (err error) {
		info, err = c.Admin().TopicInfo(ctx, topic)
		for _, p := range info.Partitions {
			if err == nil && p.Leader < 0 {
				err = fmt.Errorf("partition %s has no leader: %s", p.Partition, p.Error)
			}
		}
		return err
	})
	left := int64(0)
	for _, p := range info.Partitions {
		left += int64(p.EndOffset - p.LogStart)
	}
	r, err := c.NewReader(ctx, topic)
	if err != nil {
		w.t.Fatal(err)
	}
	defer r.Close()
	got := map[string]bool{}
	for left > 0 {
		recs, err := r.NextBatch(ctx)
		if err != nil {
			w.t.Fatalf("read %s: %v, %d messages left of %+v", topic, err, left, info.Partitions)
		}
		for _, rec := range recs {
			got[string(rec.Value)] = true
		}
		left -= int64(len(recs))
	}
	return got
}

// tree returns the data of all nodes below the cluster's root, by path.
func (w *world) tree() map[string]string {
	w.t.Helper()
	conn := w.raw("")
	defer conn.Close()
	return w.treeOf(conn, w.root)
}

// treeOf reads the nodes below one, by path.
func (w *world) treeOf(conn *zk.Conn, root string) map[string]string {
	w.t.Helper()
	out := map[string]string{}
	var walk func(path string)
	walk = func(path string) {
		data, _, err := conn.Get(path)
		if err != nil {
			if errors.Is(err, zk.ErrNoNode) {
				return
			}
			w.t.Fatal(err)
		}
		out[path] = string(data)
		children, _, err := conn.Children(path)
		if err != nil && !errors.Is(err, zk.ErrNoNode) {
			w.t.Fatal(err)
		}
		for _, child := range children {
			walk(path + "/" + child)
		}
	}
	walk(root)
	return out
}

// unregistered waits until a broker's registration has gone.
func (w *world) unregistered(broker int, within time.Duration) {
	w.t.Helper()
	w.eventually("its registration to go", within, func(context.Context) error {
		if _, there := w.tree()[fmt.Sprintf("/meta/nats/brokers/%d", broker)]; there {
			return errors.New("it is still there")
		}
		return nil
	})
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}

// create makes a topic through a broker and waits until all know it.
func (w *world) create(topic string, partitions int) {
	w.t.Helper()
	if _, err := w.connect(0).Admin().CreateTopic(w.t.Context(), protocol.TopicCreate{Topic: topic, Partitions: partitions}); err != nil {
		w.t.Fatal(err)
	}
	w.whole(topic, partitions*len(w.brokers))
}

// file writes a configuration and returns its path.
func (w *world) file(text string) string {
	w.t.Helper()
	path := w.t.TempDir() + "/server.ini"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

func hostPort(url string) string { return strings.TrimPrefix(url, "nats://") }
