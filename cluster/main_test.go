package cluster_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"metaq/cluster"
	zktest "metaq/test/zk"
)

func TestMain(m *testing.M) {
	var err error
	if shared.dir, err = os.MkdirTemp("", "metaq-zk-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if shared.ensemble != nil {
		if err := shared.ensemble.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "stop ZooKeeper:", err)
			code = 1
		}
	}
	if err := os.RemoveAll(shared.dir); err != nil {
		fmt.Fprintln(os.Stderr, "remove ZooKeeper's files:", err)
		code = 1
	}
	// The fuzzing engine leaves goroutines of its own.
	fuzzing := flag.Lookup("test.fuzz").Value.String() != ""
	if err := goleak.Find(); err != nil && code == 0 && !fuzzing {
		fmt.Fprintln(os.Stderr, "goroutines left:", err)
		code = 1
	}
	os.Exit(code)
}

// shared is the ensemble that all tests use, one after the other.
var shared struct {
	once     sync.Once
	dir      string
	ensemble *zktest.Ensemble
	err      error
}

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// zooKeeper returns three servers that serve. A test may kill and freeze them: they are
// brought back at its end.
func zooKeeper(t testing.TB) *zktest.Ensemble {
	t.Helper()
	if testing.Short() {
		t.Skip("needs ZooKeeper, run make test")
	}
	shared.once.Do(func() {
		shared.ensemble, shared.err = zktest.New(shared.dir, 3)
	})
	if shared.err != nil {
		t.Fatalf("start ZooKeeper: %v", shared.err)
	}
	serve := func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
		defer cancel()
		for _, s := range shared.ensemble.Servers {
			if s.Running() {
				check(t, s.Resume())
			}
			check(t, s.Start())
		}
		if err := shared.ensemble.WaitQuorum(ctx); err != nil {
			t.Fatalf("ZooKeeper does not serve: %v", err)
		}
	}
	serve()
	t.Cleanup(serve)
	return shared.ensemble
}

// zkOptions are those of most tests: short sessions, and a session that stays.
func zkOptions(e *zktest.Ensemble) cluster.ZooKeeperOptions {
	return cluster.ZooKeeperOptions{Connect: e.Connect(), SessionTimeout: 4 * time.Second}
}

func zkOpener(t testing.TB, o cluster.ZooKeeperOptions) cluster.Opener {
	t.Helper()
	z, err := cluster.NewZooKeeper(o)
	check(t, err)
	return z.Open
}

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// eventually polls until done, for at most patience.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}
