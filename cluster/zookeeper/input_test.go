package zookeeper_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"metaq/cluster"
	"metaq/cluster/registry"
	"metaq/cluster/registrytest"
	"metaq/cluster/zookeeper"
	"metaq/internal/vfs/faultfs"
)

// answering listens and says the same to everybody who connects.
func answering(t testing.TB, words string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	registrytest.Check(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, words)
			_ = c.Close()
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}

func TestOpenNamesEveryServerAndWhatWasWrongWithIt(t *testing.T) {
	web := answering(t, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
	nats := answering(t, "INFO {\"server_id\":\"x\"}\r\n")
	nobody := answering(t, "")
	o := zookeeper.Options{Connect: web + "," + nats + "," + nobody + ",no.such.host.invalid:2181", SessionTimeout: 2 * time.Second}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err := registrytest.ZooKeeperOpener(t, o)(ctx)
	registrytest.WantErr(t, err, registry.ErrUnavailable)
	registrytest.WantErr(t, err, context.DeadlineExceeded)
	for _, want := range []string{web, nats, nobody, "no.such.host.invalid", "not as ZooKeeper", "no greeting"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not name %q", err, want)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("more than one line: %q", err)
	}
}

func TestOpenSaysInTheLogThatItIsStillTrying(t *testing.T) {
	var log lockedBuffer
	o := zookeeper.Options{Connect: answering(t, ""), Log: slog.New(slog.NewTextHandler(&log, nil))}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { _, err := registrytest.ZooKeeperOpener(t, o)(ctx); done <- err }()
	registrytest.Eventually(t, "a line in the log", func() bool { return strings.Contains(log.String(), "trying on") })
	cancel()
	registrytest.WantErr(t, <-done, context.Canceled)
	if !strings.Contains(log.String(), o.Connect) {
		t.Errorf("the log does not name the server: %s", log.String())
	}
}

// lockedBuffer is a log that a test reads while it is written.
type lockedBuffer struct {
	mu   sync.Mutex // guards what follows
	text strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func TestOptionsThatCannotBeRightAreRefused(t *testing.T) {
	for _, o := range []zookeeper.Options{
		{},
		{Connect: "/meta"},
		{Connect: "a:1:2:3"},
		{Connect: "a:2181/x//y"},
		{Connect: "a:2181/x,b:2181"},
		{Connect: "a:2181", Auth: "no-password"},
		{Connect: "a:2181", SessionTimeout: time.Millisecond},
	} {
		_, err := zookeeper.New(o)
		registrytest.WantErr(t, err, registry.ErrInvalid)
	}
}

func TestMissingChrootIsNamed(t *testing.T) {
	e := registrytest.ZooKeeper(t)
	o := registrytest.ZooKeeperOptions(e)
	o.Connect += "/no/such/place"
	_, err := registrytest.ZooKeeperOpener(t, o)(registrytest.Context(t))
	registrytest.WantErr(t, err, registry.ErrNotFound)
	if !strings.Contains(err.Error(), "chroot /no/such/place") {
		t.Errorf("%q does not name the chroot", err)
	}
}

func TestZooKeeperContractBelowAChroot(t *testing.T) {
	e := registrytest.ZooKeeper(t)
	registrytest.Put(t, registrytest.Session(t, registrytest.ZooKeeperOpener(t, registrytest.ZooKeeperOptions(e))), registrytest.Root(t), "")
	o := registrytest.ZooKeeperOptions(e)
	o.Connect += registrytest.Root(t)
	registrytest.Suite(t, func(t testing.TB) registry.Opener { return registrytest.ZooKeeperOpener(t, o) })
}

func TestZooKeeperContractWithDigestAuthentication(t *testing.T) {
	e := registrytest.ZooKeeper(t)
	o := registrytest.ZooKeeperOptions(e)
	o.Auth = "metaq:secret"
	registrytest.Suite(t, func(t testing.TB) registry.Opener { return registrytest.ZooKeeperOpener(t, o) })
}

func TestNodesOfAnotherUserAreDenied(t *testing.T) {
	e := registrytest.ZooKeeper(t)
	o := registrytest.ZooKeeperOptions(e)
	o.Auth = "metaq:secret"
	owner := registrytest.Session(t, registrytest.ZooKeeperOpener(t, o))
	registrytest.Put(t, owner, registrytest.Root(t), "private")
	o.WorldRead = true
	registrytest.Put(t, registrytest.Session(t, registrytest.ZooKeeperOpener(t, o)), registrytest.Root(t)+"-readable", "public")

	o.Auth = "metaq:wrong"
	stranger := registrytest.Session(t, registrytest.ZooKeeperOpener(t, o))
	registrytest.CaughtUp(t, stranger)
	_, err := stranger.Get(registrytest.Context(t), registrytest.Root(t))
	registrytest.WantErr(t, err, registry.ErrDenied)
	registrytest.WantErr(t, stranger.Create(registrytest.Context(t), registrytest.Root(t)+"/a", nil, registry.Persistent), registry.ErrDenied)
	registrytest.WantData(t, stranger, registrytest.Root(t)+"-readable", "public")
	_, err = stranger.Set(registrytest.Context(t), registrytest.Root(t)+"-readable", nil, 0)
	registrytest.WantErr(t, err, registry.ErrDenied)
	c, err := cluster.NewCatalog(stranger, registrytest.Root(t))
	registrytest.Check(t, err)
	_, err = c.Register(registrytest.Context(t), cluster.Broker{Token: "a", NATS: "nats://10.0.0.1:4222", Host: "10.0.0.1"}, nil)
	registrytest.WantErr(t, err, registry.ErrDenied)
	if !strings.Contains(err.Error(), registrytest.Root(t)) {
		t.Errorf("%q does not name the root", err)
	}
}

// TestBothRegistriesAnswerTheSame does random operations on a local and a ZooKeeper
// registry; every answer must be equal.
func TestBothRegistriesAnswerTheSame(t *testing.T) {
	e := registrytest.ZooKeeper(t)
	zk := registrytest.Session(t, registrytest.ZooKeeperOpener(t, registrytest.ZooKeeperOptions(e)))
	local := registrytest.Session(t, registrytest.OpenLocal(t, faultfs.New(0)).Open)
	registrytest.Same(t, zk, local)
}
