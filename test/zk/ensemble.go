package zktest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TickTime is the ensemble's tick. Sessions last from 2 to 120 of them.
const TickTime = 500 * time.Millisecond

// patience is how long an ensemble may take to serve.
const patience = 60 * time.Second

const debianJar = "/usr/share/java/zookeeper.jar"

// Ensemble is a set of servers that form one ZooKeeper.
type Ensemble struct {
	Servers []*Server
	dir     string
}

// Start runs n servers, 1 or 3, and returns when they serve. They are killed, and their
// files removed, when the test ends; the logs of a failed test go to its output.
//
// Under -short the test is skipped.
func Start(t testing.TB, n int) *Ensemble {
	t.Helper()
	if testing.Short() {
		t.Skip("needs ZooKeeper, run make test")
	}
	e, err := New(t.TempDir(), n)
	if err != nil {
		t.Fatalf("start ZooKeeper: %v", err)
	}
	e.belongTo(t)
	return e
}

// StartSecure is Start with one server that also speaks TLS, at its Secure address. Both
// files are in PEM: keys holds the server's key and certificate, trust who must have
// signed a client's certificate.
func StartSecure(t testing.TB, keys, trust string) *Ensemble {
	t.Helper()
	if testing.Short() {
		t.Skip("needs ZooKeeper, run make test")
	}
	ports, err := freePorts(4)
	if err != nil {
		t.Fatal(err)
	}
	e, err := start(t.TempDir(), 1, ports[:3], fmt.Sprintf(`secureClientPort=%d
secureClientPortAddress=127.0.0.1
serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory
ssl.keyStore.location=%s
ssl.keyStore.type=PEM
ssl.trustStore.location=%s
ssl.trustStore.type=PEM
`, ports[3], filepath.ToSlash(keys), filepath.ToSlash(trust)))
	if err != nil {
		t.Fatalf("start ZooKeeper: %v", err)
	}
	e.Servers[0].Secure = fmt.Sprintf("127.0.0.1:%d", ports[3])
	e.belongTo(t)
	return e
}

// belongTo ends the servers with the test, and waits until they serve.
func (e *Ensemble) belongTo(t testing.TB) {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() {
			for _, s := range e.Servers {
				t.Logf("last words of ZooKeeper %s:\n%s", s.Address, s.lastWords())
			}
		}
		if err := e.Close(); err != nil {
			t.Errorf("stop ZooKeeper: %v", err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := e.WaitQuorum(ctx); err != nil {
		t.Fatalf("ZooKeeper does not serve: %v", err)
	}
}

// New starts n servers with their files in dir. It does not wait until they serve.
func New(dir string, n int) (*Ensemble, error) {
	ports, err := freePorts(3 * n)
	if err != nil {
		return nil, err
	}
	return start(dir, n, ports, "")
}

// NewAt is New with servers whose clients' ports are these.
func NewAt(dir string, clients ...int) (*Ensemble, error) {
	ports, err := freePorts(3 * len(clients))
	if err != nil {
		return nil, err
	}
	for i, port := range clients {
		ports[3*i] = port
	}
	return start(dir, len(clients), ports, "")
}

// start starts n servers, each with three of the ports: for clients, for the other
// servers, and for elections. More is added to their zoo.cfg.
func start(dir string, n int, ports []int, more string) (*Ensemble, error) {
	classPath, err := findClassPath()
	if err != nil {
		return nil, err
	}
	e := &Ensemble{dir: dir}
	var members strings.Builder
	members.WriteString(more)
	for i := range n {
		if n > 1 {
			fmt.Fprintf(&members, "server.%d=127.0.0.1:%d:%d\n", i+1, ports[3*i+1], ports[3*i+2])
		}
	}
	for i := range n {
		s := &Server{
			Address:   fmt.Sprintf("127.0.0.1:%d", ports[3*i]),
			dir:       filepath.Join(dir, fmt.Sprintf("zk%d", i+1)),
			classPath: classPath,
		}
		e.Servers = append(e.Servers, s)
		if err := s.prepare(i+1, ports[3*i], members.String()); err != nil {
			return nil, err
		}
	}
	for _, s := range e.Servers {
		if err := s.Start(); err != nil {
			return nil, errors.Join(err, e.Close())
		}
	}
	return e, nil
}

// Connect is the list of servers as zk.zkConnect has it.
func (e *Ensemble) Connect() string {
	var all []string
	for _, s := range e.Servers {
		all = append(all, s.Address)
	}
	return strings.Join(all, ",")
}

// At returns the server with that address, and nil when there is none.
func (e *Ensemble) At(address string) *Server {
	for _, s := range e.Servers {
		if s.Address == address {
			return s
		}
	}
	return nil
}

// WaitQuorum returns when every server that runs serves clients.
func (e *Ensemble) WaitQuorum(ctx context.Context) error {
	for _, s := range e.Servers {
		if !s.Running() {
			continue
		}
		for {
			mode, err := s.Mode(ctx)
			if err == nil && mode != "" {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("%s: %w (%w)", s.Address, ctx.Err(), err)
			case <-s.exited():
				return fmt.Errorf("%s has exited: %s", s.Address, s.lastWords())
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	return nil
}

// Close kills all servers.
func (e *Ensemble) Close() error {
	var errs []error
	for _, s := range e.Servers {
		errs = append(errs, s.Kill())
	}
	return errors.Join(errs...)
}

// Save copies all servers' data, and Restore puts it back: both with all servers down.
func (e *Ensemble) Save() error { return e.copyData("data", "saved") }

// Restore puts back what Save copied: ZooKeeper is then in an older state.
func (e *Ensemble) Restore() error { return e.copyData("saved", "data") }

func (e *Ensemble) copyData(from, to string) error {
	for _, s := range e.Servers {
		if s.Running() {
			return fmt.Errorf("%s runs", s.Address)
		}
		target := filepath.Join(s.dir, to)
		if err := os.RemoveAll(target); err != nil {
			return err
		}
		if err := os.CopyFS(target, os.DirFS(filepath.Join(s.dir, from))); err != nil {
			return err
		}
	}
	return nil
}

// nettyCodec is what Debian's ZooKeeper needs besides to speak TLS; its own list of jars
// lacks it.
const nettyCodec = "/usr/share/java/netty-codec.jar"

func findClassPath() (string, error) {
	if _, err := exec.LookPath("java"); err != nil {
		return "", fmt.Errorf("no java: run test/zk/install.sh: %w", err)
	}
	if path := os.Getenv("ZOOKEEPER_CLASSPATH"); path != "" {
		return path, nil
	}
	if _, err := os.Stat(debianJar); err != nil {
		return "", fmt.Errorf("no ZooKeeper: run test/zk/install.sh, or set ZOOKEEPER_CLASSPATH: %w", err)
	}
	return debianJar + ":" + nettyCodec, nil
}

// freePorts asks the system for ports that nobody listens on at the moment.
func freePorts(n int) (ports []int, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }() // all stay taken until the last one is found
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// Ask sends a four-letter word, such as "srvr", and returns the answer.
func (s *Server) Ask(ctx context.Context, word string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", s.Address)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	if deadline, ok := ctx.Deadline(); ok {
		if err := c.SetDeadline(deadline); err != nil {
			return "", err
		}
	}
	if _, err := io.WriteString(c, word); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(c)
	return string(answer), err
}

// Mode is "leader", "follower" or "standalone", and "" while the server does not serve.
func (s *Server) Mode(ctx context.Context) (string, error) {
	answer, err := s.Ask(ctx, "srvr")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(answer) {
		if mode, found := strings.CutPrefix(line, "Mode: "); found {
			return strings.TrimSpace(mode), nil
		}
	}
	return "", nil
}

// lastWords is the end of the server's log.
func (s *Server) lastWords() string {
	b, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err.Error()
	}
	const limit = 3000
	if len(b) > limit {
		b = b[len(b)-limit:]
	}
	return string(b)
}
