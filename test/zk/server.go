package zktest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"metaq/test/freeze"
)

// Server is one ZooKeeper process, or the place of one.
type Server struct {
	Address string // 127.0.0.1:port, for clients
	Secure  string // the same for clients with TLS; "" where it does not speak that

	dir       string
	classPath string

	mu      sync.Mutex // guards what follows
	process *os.Process
	gone    chan struct{} // closed when the process has exited
}

func (s *Server) prepare(id, port int, more string) error {
	data := filepath.Join(s.dir, "data")
	if err := os.MkdirAll(data, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(data, "myid"), []byte(strconv.Itoa(id)), 0o644); err != nil {
		return err
	}
	config := fmt.Sprintf(`tickTime=%d
initLimit=20
syncLimit=4
minSessionTimeout=%d
maxSessionTimeout=%d
dataDir=%s
clientPort=%d
clientPortAddress=127.0.0.1
maxClientCnxns=0
admin.enableServer=false
4lw.commands.whitelist=*
%s`, TickTime.Milliseconds(), 2*TickTime.Milliseconds(), 120*TickTime.Milliseconds(), filepath.ToSlash(data), port, more)
	return os.WriteFile(filepath.Join(s.dir, "zoo.cfg"), []byte(config), 0o644)
}

// Start runs the server again after Kill or Stop; it does not wait until it serves.
func (s *Server) Start() error {
	if s.Running() {
		return nil
	}
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	// Little memory and a quick start; what is on disk is only as safe as a test needs.
	// A server that looks for a leader alone asks the others after pauses that double, by
	// default up to a minute: one that starts again may not be noticed for that long.
	cmd := exec.Command("java", "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dzookeeper.fastleader.maxNotificationInterval=1000",
		"-Dzookeeper.forceSync=no", "-Djava.net.preferIPv4Stack=true", "-cp", s.classPath,
		"org.apache.zookeeper.server.quorum.QuorumPeerMain", filepath.Join(s.dir, "zoo.cfg"))
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, log, log
	dieWithParent(cmd)
	started := make(chan error, 1)
	gone := make(chan struct{})
	go func() {
		// The kernel kills the child when the thread that made it ends, so keep this one.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in its log
		}
		close(gone)
	}()
	if err := <-started; err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.process, s.gone = cmd.Process, gone
	return nil
}

// Running says whether there is a process, be it frozen.
func (s *Server) Running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return false
	}
	select {
	case <-s.gone:
		return false
	default:
		return true
	}
}

func (s *Server) exited() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gone
}

// Kill ends the process at once, also a frozen one, and waits for its end.
func (s *Server) Kill() error { return s.end(os.Kill) }

// Stop asks the process to end, and waits for that.
func (s *Server) Stop() error { return s.end(syscall.SIGTERM) }

func (s *Server) end(signal os.Signal) error {
	s.mu.Lock()
	process, gone := s.process, s.gone
	s.mu.Unlock()
	if process == nil {
		return nil
	}
	if err := process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-gone
	return nil
}

// Writes is how many writes the server has taken part in since the last election: each
// transaction, a Multi of any size too, counts one. It asks with the command srvr.
func (s *Server) Writes(ctx context.Context) (int64, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", s.Address)
	if err != nil {
		return 0, fmt.Errorf("ask ZooKeeper for its writes: %w", err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "srvr"); err != nil {
		return 0, fmt.Errorf("ask ZooKeeper for its writes: %w", err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		return 0, fmt.Errorf("ask ZooKeeper for its writes: %w", err)
	}
	_, rest, _ := strings.Cut(string(answer), "Zxid: 0x")
	hex, _, _ := strings.Cut(rest, "\n")
	zxid, err := strconv.ParseInt(strings.TrimSpace(hex), 16, 64)
	if err != nil {
		return 0, fmt.Errorf("ZooKeeper says %q, which has no zxid: %w", answer, err)
	}
	return zxid & 0xffffffff, nil // above are elections
}

// Pause freezes the process: its connections stay open and nothing answers.
func (s *Server) Pause() error { return s.tell(freeze.Freeze) }

// Resume lets a frozen process go on.
func (s *Server) Resume() error { return s.tell(freeze.Thaw) }

func (s *Server) tell(do func(*os.Process) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return errors.New("not started")
	}
	return do(s.process)
}
