// Package clienttest runs the public client against real brokers.
package clienttest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"metaq/client"
	"metaq/configs"
	"metaq/internal/broker"
)

const (
	patience = 60 * time.Second
	roleDir  = "METAQ_CLIENTTEST_DATA" // set: this process is a broker on that directory
	rolePort = "METAQ_CLIENTTEST_PORT"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(roleDir); dir != "" {
		if err := serve(dir, os.Getenv(rolePort)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// serve is the broker process. It says READY and its URL, and ends with its stdin,
// so that none is left behind.
func serve(dir, port string) error {
	cfg, err := configs.Load(configs.LoadOptions{Flags: map[string]string{"data": dir, "nats-port": port, "nats-host": "127.0.0.1"}})
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	b, err := broker.Start(ctx, cfg, broker.Options{
		Version: "test", Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(os.Stdout, "READY", b.URL()); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return errors.Join(err, b.Stop(context.WithoutCancel(ctx)))
}

// process is a broker in a process of its own, which can be killed and started
// again on its data and its port.
type process struct {
	t    testing.TB
	dir  string
	port string
	url  string
	cmd  *exec.Cmd
	in   io.Closer
}

func startProcess(t testing.TB) *process {
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
	p := &process{t: t, dir: t.TempDir(), port: port}
	p.start()
	t.Cleanup(func() { p.stop() })
	return p
}

func (p *process) start() {
	p.t.Helper()
	self, err := os.Executable()
	if err != nil {
		p.t.Fatal(err)
	}
	p.cmd = exec.Command(self)
	p.cmd.Env = append(os.Environ(), roleDir+"="+p.dir, rolePort+"="+p.port)
	p.cmd.Stderr = p.t.Output()
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		p.t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	url, ready := strings.CutPrefix(strings.TrimSpace(line), "READY ")
	if err != nil || !ready {
		p.t.Fatalf("the broker said %q, %v", line, err)
	}
	p.url = url
}

// kill ends the broker as kill -9 does.
func (p *process) kill() {
	p.t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		p.t.Error(err)
	}
	_ = p.cmd.Wait() // says that it was killed
}

// stop ends the broker in order.
func (p *process) stop() {
	p.t.Helper()
	if p.cmd.ProcessState != nil {
		return
	}
	if err := p.in.Close(); err != nil {
		p.t.Error(err)
	}
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("the broker ended with %v", err)
	}
}

func connect(t testing.TB, url string) *client.Client {
	t.Helper()
	c, err := client.Connect(t.Context(), client.WithServers(url))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// numberOf reads back the number that a test wrote as a value.
func numberOf(t testing.TB, r *client.Record) int {
	t.Helper()
	n, err := strconv.Atoi(string(r.Value))
	if err != nil {
		t.Fatalf("record %d of %s has the value %q", r.Offset, r.Partition, r.Value)
	}
	return n
}
