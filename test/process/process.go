package process

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"metaq/configs"
	"metaq/internal/broker"
	"metaq/test/freeze"
)

// role is the environment variable that makes the test binary a broker. It holds
// the broker's flags as JSON.
const role = "METAQ_TEST_BROKER"

// Main is the TestMain of packages that use this one. It ends the process. leaks are
// what a package's tests may leave behind.
func Main(m *testing.M, leaks ...goleak.Option) {
	flags, isBroker := os.LookupEnv(role)
	if !isBroker {
		goleak.VerifyTestMain(m, leaks...)
		return
	}
	if err := serve(flags); err != nil {
		fmt.Fprintln(os.Stderr, "broker:", err)
		os.Exit(1)
	}
}

// serve is the broker process. It says READY and its URL, and stops in order on
// SIGTERM, on an interrupt, or with its parent.
func serve(encoded string) error {
	flags := map[string]string{}
	if err := json.Unmarshal([]byte(encoded), &flags); err != nil {
		return err
	}
	path := flags["file"]
	delete(flags, "file")
	plant := flags["plant"]
	delete(flags, "plant")
	cfg, err := configs.Load(configs.LoadOptions{Path: path, Flags: flags})
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	b, err := broker.Start(ctx, cfg, broker.Options{Version: "test", Logger: log, PlantGroupBug: plant})
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(os.Stdout, "READY", b.URL()); err != nil {
		return errors.Join(err, b.Stop(ctx))
	}
	go func() { // ends with the process
		_, _ = bufio.NewReader(os.Stdin).ReadByte()
		cancel()
	}()
	<-ctx.Done()
	return b.Stop(context.WithoutCancel(ctx))
}

// Broker is a broker in a process of its own. Its methods are for one goroutine.
type Broker struct {
	URL string // for clients; the same after every start
	Dir string // its data

	t     testing.TB
	flags map[string]string
	cmd   *exec.Cmd
	in    interface{ Close() error }
	log   logBuffer
}

// logBuffer keeps what brokers log.
type logBuffer struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

// Write implements io.Writer.
func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// Log is what the broker has logged so far, at warning and above, over all its starts.
func (b *Broker) Log() string {
	b.log.mu.Lock()
	defer b.log.mu.Unlock()
	return b.log.text.String()
}

// Start starts a broker with an empty data directory on a free loopback port.
// more are flags of `metaq broker` and other keys of its configuration, without
// dashes; "file" names a server.ini, and "plant" a bug for the groups. The broker is stopped, and must stop well, when
// the test ends.
func Start(t testing.TB, more map[string]string) *Broker {
	t.Helper()
	b := &Broker{t: t, Dir: t.TempDir()}
	b.flags = map[string]string{"data": b.Dir, "nats-host": "127.0.0.1", "nats-port": freePort(t)}
	for k, v := range more {
		b.flags[k] = v
	}
	b.Dir = b.flags["data"]
	b.Start()
	t.Cleanup(b.Stop)
	return b
}

// FreeAddress is an address on the loopback that nobody listens on.
func FreeAddress(t testing.TB) string {
	t.Helper()
	return net.JoinHostPort("127.0.0.1", freePort(t))
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err = errors.Join(err, l.Close()); err != nil {
		t.Fatal(err)
	}
	return port
}

// Start starts the broker again on its data and its port, and returns when it is
// ready.
func (b *Broker) Start() {
	b.t.Helper()
	self, err := os.Executable()
	if err != nil {
		b.t.Fatal(err)
	}
	encoded, err := json.Marshal(b.flags)
	if err != nil {
		b.t.Fatal(err)
	}
	b.cmd = exec.Command(self)
	b.cmd.Env = append(os.Environ(), role+"="+string(encoded))
	b.cmd.Stderr = io.MultiWriter(b.t.Output(), &b.log)
	in, err := b.cmd.StdinPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	b.in = in
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := b.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	url, ready := strings.CutPrefix(strings.TrimSpace(line), "READY ")
	if err != nil || !ready {
		b.t.Fatalf("the broker said %q, %v", line, err)
	}
	b.URL = url
}

// Running says whether the process has not been waited for yet.
func (b *Broker) Running() bool { return b.cmd.ProcessState == nil }

// Pid is the process id.
func (b *Broker) Pid() int { return b.cmd.Process.Pid }

// Kill ends the process as kill -9 does.
func (b *Broker) Kill() {
	b.t.Helper()
	if err := b.cmd.Process.Kill(); err != nil {
		b.t.Error(err)
	}
	_ = b.cmd.Wait() // says that it was killed
}

// Pause freezes the process until Resume.
func (b *Broker) Pause() { b.t.Helper(); b.tell(freeze.Freeze) }

// Resume lets a frozen process go on.
func (b *Broker) Resume() { b.t.Helper(); b.tell(freeze.Thaw) }

func (b *Broker) tell(do func(*os.Process) error) {
	b.t.Helper()
	if err := do(b.cmd.Process); err != nil {
		b.t.Error(err)
	}
}

// Signal sends s.
func (b *Broker) Signal(s os.Signal) {
	b.t.Helper()
	b.tell(func(p *os.Process) error { return p.Signal(s) })
}

// Wait waits for the process, which must end well.
func (b *Broker) Wait() {
	b.t.Helper()
	if err := b.cmd.Wait(); err != nil {
		b.t.Errorf("the broker ended with %v", err)
	}
}

// Stop ends the process in order, if it runs.
func (b *Broker) Stop() {
	b.t.Helper()
	if !b.Running() {
		return
	}
	if err := b.in.Close(); err != nil {
		b.t.Error(err)
	}
	b.Wait()
}
