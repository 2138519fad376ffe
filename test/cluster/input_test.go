package cluster

import (
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"metaq/client"
	"metaq/client/discovery"
	"metaq/configs"
	"metaq/internal/broker"
	zktest "metaq/test/zk"
)

// tryStart starts a broker in this process; it must not start.
func (w *world) tryStart(flags map[string]string, file string, wait time.Duration) (said string, err error) {
	w.t.Helper()
	flags["data"], flags["nats-host"], flags["nats-port"] = w.t.TempDir(), "127.0.0.1", "0"
	cfg, err := configs.Load(configs.LoadOptions{Path: file, Flags: flags})
	if err != nil {
		w.t.Fatal(err)
	}
	var log strings.Builder
	b, err := broker.Start(w.t.Context(), cfg, broker.Options{
		Version: "test", Wait: wait, Source: file,
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		w.t.Errorf("it started (stop: %v)", b.Stop(ctx))
	}
	return log.String(), err
}

func needs(t testing.TB, where, text string, want ...string) {
	t.Helper()
	for _, s := range want {
		if !strings.Contains(text, s) {
			t.Errorf("%s does not say %q: %s", where, s, text)
		}
	}
}

func TestARegistryThatCannotBeUsed(t *testing.T) {
	http, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // another service
		defer close(done)
		for {
			c, err := http.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
			_ = c.Close()
		}
	}()
	defer func() {
		_ = http.Close()
		<-done
	}()
	w := &world{t: t, zk: zktest.Start(t, 1), root: "/meta"}
	w.makeNode("/locked", zk.DigestACL(zk.PermAll, "somebody", "else"))
	for name, c := range map[string]struct {
		connect string
		says    []string
	}{
		"nobody listens":              {"127.0.0.1:1,127.0.0.1:2", []string{"127.0.0.1:1", "127.0.0.1:2", "refused", "--wait"}},
		"another service":             {http.Addr().String(), []string{http.Addr().String(), "not as ZooKeeper does", "--wait"}},
		"a name that is unknown":      {"no-such-host.invalid:2181", []string{"no-such-host.invalid"}},
		"a root that is closed to us": {w.zk.Connect(), []string{"/locked", "permission denied", "--wait"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{t: t, zk: w.zk, root: "/locked"}
			flags := w.flags(0, map[string]string{"zookeeper": c.connect})
			delete(flags, "metrics")
			began := time.Now()
			said, err := w.tryStart(flags, "", 2500*time.Millisecond)
			if err == nil {
				return
			}
			needs(t, "the error", err.Error(), c.says...)
			needs(t, "the log", said, "trying", c.connect[:10])
			if d := time.Since(began); d > 15*time.Second {
				t.Errorf("--wait 2.5s took %s", d)
			}
			find, err := discovery.Resolver(discovery.Options{Connect: c.connect, Root: w.root})
			if err != nil {
				t.Fatal(err)
			}
			if _, err = client.Connect(t.Context(), client.WithResolver(find), client.WithDialTimeout(2*time.Second)); err == nil {
				t.Error("a client found brokers")
			}
		})
	}
}

func TestTwoConfigurationsThatDisagree(t *testing.T) {
	w := &world{t: t, zk: zktest.Start(t, 1), root: "/meta"}
	ini := func(id, partitions string) string {
		return w.file("[system]\nbrokerId=" + id + "\nnumPartitions=" + partitions + "\nhostName=127.0.0.1\n[nats]\nclusterPort=0\n" +
			"[zookeeper]\nzk.zkConnect=" + w.zk.Connect() + "\nzk.zkSessionTimeoutMs=3000\n[topic=orders]\n")
	}
	flags := func() map[string]string { return map[string]string{} }
	first := flags()
	first["file"] = ini("0", "5")
	w.add(w.start0(first))
	for _, partitions := range []string{"3", "8"} {
		file := ini("1", partitions)
		_, err := w.tryStart(flags(), file, patience)
		if err == nil {
			continue
		}
		needs(t, "the error", err.Error(), "orders", "5 partitions", w.zk.Connect(), partitions, file)
	}
	w.whole("orders", 5) // the first one goes on
}

func TestABrokerIDThatIsTaken(t *testing.T) {
	w := newWorld(t, 1, 0)
	flags := w.flags(0, nil)
	delete(flags, "metrics")
	_, err := w.tryStart(flags, "", patience)
	if err != nil {
		needs(t, "the error", err.Error(), "broker id is taken", "0 is held by 127.0.0.1", "started 20")
	}
	// Its own restart is another matter, also while the old session lives.
	w.create("t", 1)
	w.brokers[0].Kill()
	began := time.Now()
	w.brokers[0].Start()
	w.whole("t", 1)
	if d := time.Since(began); d > sessionTimeout {
		t.Errorf("a restart within the old session took %s", d)
	}
}

// Clusters with other roots share an ensemble and do not mix.
func TestRootsKeepClustersApart(t *testing.T) {
	w := newWorld(t, 1, 0)
	w.create("mine", 1)
	other := &world{t: t, zk: w.zk, root: "/other"}
	other.add(other.start(1, nil))
	other.create("theirs", 1)
	for _, c := range []*world{w, other} {
		info, err := c.connect(0).Admin().ClusterInfo(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		topics, err := c.connect(0).Admin().ListTopics(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(info.Brokers) != 1 || len(topics) != 1 {
			t.Errorf("%s: brokers %+v, topics %+v", c.root, info.Brokers, topics)
		}
	}
}

// What MetaQ's own tools and clients read has MetaQ's paths and formats.
func TestZooKeeperShowsMetaQ(t *testing.T) {
	w := newWorld(t, 1, 0, 1)
	w.create("orders", 3)
	want := map[string]string{
		"/meta/brokers/ids/0/master":          "meta://127.0.0.1:8123",
		"/meta/brokers/ids/1/master":          "meta://127.0.0.1:8123",
		"/meta/brokers/topics-pub/orders/0-m": `{"numParts":3,"broker":"0-m"}`,
		"/meta/brokers/topics-sub/orders/1-m": `{"numParts":3,"broker":"1-m"}`,
		"/meta/brokers/topics/orders/0-m":     "3",
	}
	w.eventually("MetaQ's nodes", patience, func(context.Context) error {
		tree := w.tree()
		for path, data := range want {
			if tree[path] != data {
				return &differs{path, tree[path], data}
			}
		}
		return nil
	})

	// A client finds the brokers through the ensemble alone.
	var asked string
	find, err := discovery.Resolver(discovery.Options{Connect: w.zk.Connect(), Found: func(server string, _ []string) { asked = server }})
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.Connect(t.Context(), client.WithResolver(find))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if asked != w.zk.Servers[0].Address {
		t.Errorf("asked %q", asked)
	}
	if _, err := c.Admin().TopicInfo(t.Context(), "orders"); err != nil {
		t.Error(err)
	}
}

type differs struct{ path, is, want string }

func (d *differs) Error() string { return d.path + " is " + d.is + ", not " + d.want }
