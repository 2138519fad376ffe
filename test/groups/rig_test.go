// Package groups runs consumer groups of the public client against real brokers.
package groups

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"metaq/client"
	"metaq/configs"
	"metaq/internal/broker"
	"metaq/test/process"
)

const patience = 60 * time.Second

func TestMain(m *testing.M) {
	for role, be := range map[string]func(string) error{memberRole: beMember, keeperRole: beKeeper} {
		if plan, mine := os.LookupEnv(role); mine {
			if err := be(plan); err != nil {
				fmt.Fprintln(os.Stderr, role+":", err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	process.Main(m,
		// The actor library's limiter of its log lines sleeps for a second after a
		// dead letter.
		goleak.IgnoreAnyFunction("github.com/asynkron/protoactor-go/actor.NewDeadLetter.NewThrottle.func4.1"))
}

// world is a broker that can be stopped and started again on its data and its
// port.
type world struct {
	t    testing.TB
	dir  string
	port string
	url  string
	more map[string]string // flags
	b    *broker.Broker
}

func newWorld(t testing.TB) *world {
	t.Helper()
	return newWorldWith(t, nil)
}

// newWorldWith gives the broker more flags.
func newWorldWith(t testing.TB, more map[string]string) *world {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, dir: t.TempDir(), port: port, more: more}
	w.start()
	t.Cleanup(w.stop)
	return w
}

func (w *world) start() {
	w.t.Helper()
	flags := map[string]string{"data": w.dir, "nats-port": w.port, "nats-host": "127.0.0.1"}
	maps.Copy(flags, w.more)
	cfg, err := configs.Load(configs.LoadOptions{Flags: flags})
	if err != nil {
		w.t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(w.t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	if w.b, err = broker.Start(context.Background(), cfg, broker.Options{Version: "test", Logger: log}); err != nil {
		w.t.Fatal(err)
	}
	w.url = w.b.URL()
}

func (w *world) stop() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := w.b.Stop(ctx); err != nil {
		w.t.Error(err)
	}
}

func (w *world) restart() {
	w.t.Helper()
	w.stop()
	w.start()
}

// connect connects a client that ends with the test.
func connect(t testing.TB, url string) *client.Client {
	t.Helper()
	c, err := client.Connect(t.Context(), client.WithServers(url))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}
