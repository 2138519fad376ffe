// Package clienttest starts a broker inside the process of a test, so that programs
// which use package client, or any other NATS client, can be tested without a service:
//
//	func TestOrders(t *testing.T) {
//		url := clienttest.Start(t)
//		c, err := client.Connect(t.Context(), client.WithServers(url))
//		...
//	}
//
// It is the broker that `metaq broker` runs, with the settings of one that has no
// server.ini: it listens on a free port of 127.0.0.1, syncs before it acknowledges, keeps
// its data in a temporary directory, and creates a topic when it is first used. Several
// may run in one process; they know nothing of one another.
//
// The goroutines of a broker end before Close returns. Packages that only talk to a
// broker must not import this one, which links in the whole of it.
//
// Start at Start, or at NewBroker where there is no testing.TB.
package clienttest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"metaq/configs"
	"metaq/internal/broker"
)

// Start starts a broker and returns the URL to connect to. The broker stops when the
// test and its subtests have ended. A failure to start or to stop fails the test.
func Start(t testing.TB) (url string) {
	t.Helper()
	b, err := start(t.TempDir())
	if err != nil {
		t.Fatalf("clienttest: %v", err)
	}
	t.Cleanup(func() {
		if err := b.stop(); err != nil {
			t.Errorf("clienttest: %v", err)
		}
	})
	return b.URL
}

// Broker is a running broker, for code that has no testing.TB: an example, or a TestMain.
type Broker struct {
	// URL is where clients connect, nats://127.0.0.1:PORT.
	URL string

	running *broker.Broker
	dir     string // removed by Close; "" when it belongs to a test
	once    sync.Once
}

// NewBroker starts a broker, which the caller closes. It panics when it cannot, as
// httptest.NewServer does.
func NewBroker() *Broker {
	dir, err := os.MkdirTemp("", "metaq-clienttest-") //nolint:forbidigo // a directory for one run, which nobody crashes; there is no testing.TB
	if err != nil {
		panic(fmt.Sprintf("clienttest: %v", err))
	}
	b, err := start(dir)
	if err != nil {
		panic(fmt.Sprintf("clienttest: %v", errors.Join(err, remove(dir))))
	}
	b.dir = dir
	return b
}

// Close stops the broker in order and removes its data. It panics when it cannot. Later
// calls do nothing.
func (b *Broker) Close() {
	b.once.Do(func() {
		if err := errors.Join(b.stop(), remove(b.dir)); err != nil {
			panic(fmt.Sprintf("clienttest: %v", err))
		}
	})
}

func remove(dir string) error {
	return os.RemoveAll(dir) //nolint:forbidigo // what NewBroker made
}

func start(dir string) (*Broker, error) {
	cfg, err := configs.Load(configs.LoadOptions{Flags: map[string]string{"data": dir, "nats-port": "0", "nats-host": "127.0.0.1"}})
	if err != nil {
		return nil, fmt.Errorf("configure a broker: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	running, err := broker.Start(ctx, cfg, broker.Options{Version: "clienttest"})
	if err != nil {
		return nil, fmt.Errorf("start a broker: %w", err)
	}
	return &Broker{URL: running.URL(), running: running}, nil
}

// patience bounds a start and a stop, each of which takes milliseconds on an idle machine.
const patience = 30 * time.Second

func (b *Broker) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := b.running.Stop(ctx); err != nil {
		return fmt.Errorf("stop the broker: %w", err)
	}
	return nil
}
