package cluster_test

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
	"metaq/cluster/registrytest"
	"metaq/internal/vfs/faultfs"
)

// answering listens and says the same to everybody who connects.
func answering(t testing.TB, words string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
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
	o := cluster.ZooKeeperOptions{Connect: web + "," + nats + "," + nobody + ",no.such.host.invalid:2181", SessionTimeout: 2 * time.Second}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err := zkOpener(t, o)(ctx)
	wantErr(t, err, cluster.ErrUnavailable)
	wantErr(t, err, context.DeadlineExceeded)
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
	o := cluster.ZooKeeperOptions{Connect: answering(t, ""), Log: slog.New(slog.NewTextHandler(&log, nil))}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { _, err := zkOpener(t, o)(ctx); done <- err }()
	eventually(t, "a line in the log", func() bool { return strings.Contains(log.String(), "trying on") })
	cancel()
	wantErr(t, <-done, context.Canceled)
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
	for _, o := range []cluster.ZooKeeperOptions{
		{},
		{Connect: "/meta"},
		{Connect: "a:1:2:3"},
		{Connect: "a:2181/x//y"},
		{Connect: "a:2181/x,b:2181"},
		{Connect: "a:2181", Auth: "no-password"},
		{Connect: "a:2181", SessionTimeout: time.Millisecond},
	} {
		_, err := cluster.NewZooKeeper(o)
		wantErr(t, err, cluster.ErrInvalid)
	}
}

func TestMissingChrootIsNamed(t *testing.T) {
	e := zooKeeper(t)
	o := zkOptions(e)
	o.Connect += "/no/such/place"
	_, err := zkOpener(t, o)(testContext(t))
	wantErr(t, err, cluster.ErrNotFound)
	if !strings.Contains(err.Error(), "chroot /no/such/place") {
		t.Errorf("%q does not name the chroot", err)
	}
}

func TestZooKeeperContractBelowAChroot(t *testing.T) {
	e := zooKeeper(t)
	put(t, session(t, zkOpener(t, zkOptions(e))), root(t), "")
	o := zkOptions(e)
	o.Connect += root(t)
	registrytest.Suite(t, func(t testing.TB) cluster.Opener { return zkOpener(t, o) })
}

func TestZooKeeperContractWithDigestAuthentication(t *testing.T) {
	e := zooKeeper(t)
	o := zkOptions(e)
	o.Auth = "metaq:secret"
	registrytest.Suite(t, func(t testing.TB) cluster.Opener { return zkOpener(t, o) })
}

func TestNodesOfAnotherUserAreDenied(t *testing.T) {
	e := zooKeeper(t)
	o := zkOptions(e)
	o.Auth = "metaq:secret"
	owner := session(t, zkOpener(t, o))
	put(t, owner, root(t), "private")
	o.WorldRead = true
	put(t, session(t, zkOpener(t, o)), root(t)+"-readable", "public")

	o.Auth = "metaq:wrong"
	stranger := session(t, zkOpener(t, o))
	caughtUp(t, stranger)
	_, err := stranger.Get(testContext(t), root(t))
	wantErr(t, err, cluster.ErrDenied)
	wantErr(t, stranger.Create(testContext(t), root(t)+"/a", nil, cluster.Persistent), cluster.ErrDenied)
	wantData(t, stranger, root(t)+"-readable", "public")
	_, err = stranger.Set(testContext(t), root(t)+"-readable", nil, 0)
	wantErr(t, err, cluster.ErrDenied)
	c, err := cluster.NewCatalog(stranger, root(t))
	check(t, err)
	_, err = c.Register(testContext(t), broker(0, "a"), nil)
	wantErr(t, err, cluster.ErrDenied)
	if !strings.Contains(err.Error(), root(t)) {
		t.Errorf("%q does not name the root", err)
	}
}

// TestBothRegistriesAnswerTheSame does random operations on a local and a ZooKeeper
// registry; every answer must be equal.
func TestBothRegistriesAnswerTheSame(t *testing.T) {
	e := zooKeeper(t)
	zk := session(t, zkOpener(t, zkOptions(e)))
	local := session(t, openLocal(t, faultfs.New(0)).Open)
	registrytest.Same(t, zk, local)
}
