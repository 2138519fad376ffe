package registrytest

import (
	"context"
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"metaq/cluster/registry"
	"metaq/cluster/zookeeper"
	zktest "metaq/test/zk"
)

// shared is the ensemble that all tests of a package use, one after the other.
var shared struct {
	once     sync.Once
	dir      string
	ensemble *zktest.Ensemble
	err      error
}

// Main runs the tests of a package and stops the ensemble that they used. It fails when
// goroutines are left.
func Main(m *testing.M) {
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

// ZooKeeper returns three servers that serve. A test may kill and freeze them: they are
// brought back at its end.
func ZooKeeper(t testing.TB) *zktest.Ensemble {
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
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), Patience)
		defer cancel()
		for _, s := range shared.ensemble.Servers {
			if s.Running() {
				Check(t, s.Resume())
			}
			Check(t, s.Start())
		}
		if err := shared.ensemble.WaitQuorum(ctx); err != nil {
			t.Fatalf("ZooKeeper does not serve: %v", err)
		}
	}
	serve()
	t.Cleanup(serve)
	return shared.ensemble
}

// ZooKeeperOptions are those of most tests: short sessions, and a session that stays.
func ZooKeeperOptions(e *zktest.Ensemble) zookeeper.Options {
	return zookeeper.Options{Connect: e.Connect(), SessionTimeout: 4 * time.Second}
}

// ZooKeeperOpener opens sessions with an ensemble.
func ZooKeeperOpener(t testing.TB, o zookeeper.Options) registry.Opener {
	t.Helper()
	z, err := zookeeper.New(o)
	Check(t, err)
	return z.Open
}
