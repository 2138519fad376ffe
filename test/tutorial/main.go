package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"metaq/internal/cli"
)

const (
	zookeepers = "127.0.0.1:2181,127.0.0.1:2182,127.0.0.1:2183"
	patience   = 90 * time.Second
	messages   = 20 // of one publication
)

func main() {
	ctx, stop := cli.OnSignals(context.Background(), func() { os.Exit(cli.ExitProblem) })
	defer stop()
	servers := flag.String("zookeeper", "java", "run the ZooKeeper servers as processes of `java`, or in containers of docker")
	flag.Parse()
	t := &tutorial{out: os.Stdout, servers: *servers}
	err := t.run(ctx)
	t.cleanUp()
	if err != nil {
		fmt.Fprintln(os.Stderr, "tutorial:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop was called
	}
}

// tutorial is one run.
type tutorial struct {
	out     io.Writer
	dir     string
	binary  string
	configs string
	servers string // how ZooKeeper runs: "java" or "docker"
	zk      ensemble
	brokers []*process
	sent    int
	read    map[string]bool
	asked   []string // which ZooKeeper server each client found
}

func (t *tutorial) say(format string, args ...any) { _, _ = fmt.Fprintf(t.out, format+"\n", args...) }

func (t *tutorial) run(ctx context.Context) (err error) {
	if t.binary, err = filepath.Abs("bin/metaq"); err != nil {
		return err
	}
	if t.configs, err = filepath.Abs("configs"); err != nil {
		return err
	}
	if t.dir, err = os.MkdirTemp("", "metaq-tutorial-"); err != nil {
		return err
	}
	t.read = map[string]bool{}
	for _, step := range []func(context.Context) error{
		t.startZooKeeper, t.startBrokers,
		func(ctx context.Context) error { return t.publish(ctx, "meta-test", "first") },
		func(ctx context.Context) error { return t.publish(ctx, "meta-test", "second") },
		t.consume, t.killOne,
		func(ctx context.Context) error { return t.publish(ctx, "meta-test", "third") },
		func(ctx context.Context) error { return t.publish(ctx, "meta-test", "fourth") },
		t.consume, t.describe, t.summary,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// startZooKeeper starts the ensemble.
func (t *tutorial) startZooKeeper(ctx context.Context) error {
	t.say("== three ZooKeeper servers: %s", zookeepers)
	if err := portsFree("2181", "2182", "2183", "4222", "4223", "6222", "6223"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return t.startServers(ctx)
}

// portsFree says which port is taken before anything has started.
func portsFree(ports ...string) error {
	var errs []error
	for _, port := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			errs = append(errs, fmt.Errorf("port %s is in use: stop the process that uses it, the tutorial needs it", port))
			continue
		}
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// startBrokers starts broker 0 and broker 1 from their files as they stand, at the
// same time.
func (t *tutorial) startBrokers(ctx context.Context) error {
	t.say("== two brokers, from configs/broker0.ini and configs/broker1.ini")
	for i := range 2 {
		b, err := start(t.dir, fmt.Sprintf("broker%d", i), t.binary, "broker",
			"-f", filepath.Join(t.configs, fmt.Sprintf("broker%d.ini", i)))
		if err != nil {
			return err
		}
		t.brokers = append(t.brokers, b)
	}
	for i := range 2 {
		out, err := t.metaq(ctx, "", "ping", "--wait", "60s", "--server", fmt.Sprintf("nats://127.0.0.1:%d", 4222+i))
		if err != nil {
			return fmt.Errorf("broker %d: %w\n%s\n%s", i, err, out, t.brokers[i].lastWords())
		}
	}
	return t.whole(ctx)
}

// whole waits until the topics have 5 partitions on each broker.
func (t *tutorial) whole(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		out, err := t.metaq(ctx, "", "topic", "ls", "--zookeeper", zookeepers)
		n := 0
		for _, topic := range []string{"test", "meta-test", "email"} {
			for line := range strings.Lines(out) {
				if f := strings.Fields(line); len(f) > 1 && f[0] == topic && f[1] == "10" {
					n++
				}
			}
		}
		if err == nil && n == 3 {
			t.say("%s", strings.TrimSpace(out))
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the topics do not have 5 partitions on each broker: %w\n%s", errors.Join(ctx.Err(), err), out)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// publish puts messages through a producer that finds the cluster by itself.
func (t *tutorial) publish(ctx context.Context, topic, name string) error {
	var in strings.Builder
	for i := range messages {
		fmt.Fprintf(&in, "key%d:%s message %d\n", i%7, name, i)
	}
	out, err := t.metaq(ctx, in.String(), "produce", topic, "--key-sep", ":", "--zookeeper", zookeepers)
	if err != nil {
		return fmt.Errorf("publish: %w\n%s", err, out)
	}
	t.sent += messages
	t.say("== %s producer", name)
	t.remarks(out)
	return nil
}

// remarks shows what a client said, and remembers who it asked.
func (t *tutorial) remarks(out string) {
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if server, found := strings.CutPrefix(line, "ZooKeeper "); found {
			server, _, _ = strings.Cut(server, " ")
			t.asked = append(t.asked, server)
		}
		t.say("   %s", line)
	}
}

// consume reads everything there is, from both brokers.
func (t *tutorial) consume(ctx context.Context) error {
	t.say("== a consumer that reads the partitions of both brokers")
	out, err := t.metaq(ctx, "", "consume", "meta-test", "--json", "--timeout", "2s", "--zookeeper", zookeepers)
	if err != nil {
		return fmt.Errorf("consume: %w\n%s", err, out)
	}
	homes := map[string]int{}
	var said []string
	for line := range strings.Lines(out) {
		_, rest, found := strings.Cut(line, `"partition":"`)
		if !found {
			said = append(said, line)
			continue
		}
		home, _, _ := strings.Cut(rest, "-")
		homes[home]++
		_, data, _ := strings.Cut(line, `"data":"`)
		data, _, _ = strings.Cut(data, `"`)
		if data != "" {
			t.read[data] = true
		}
	}
	t.remarks(strings.Join(said, ""))
	t.say("   %d messages from broker 0, %d from broker 1", homes["0"], homes["1"])
	if homes["0"]+homes["1"] != t.sent {
		return fmt.Errorf("%d messages were acknowledged, %d were read", t.sent, homes["0"]+homes["1"])
	}
	if homes["0"] == 0 || homes["1"] == 0 {
		return errors.New("all messages came from one broker")
	}
	return nil
}

// killOne kills a ZooKeeper server.
func (t *tutorial) killOne(context.Context) error {
	t.say("== ZooKeeper server %s is killed", strings.Split(zookeepers, ",")[0])
	return t.zk.killFirst()
}

// describe shows the cluster.
func (t *tutorial) describe(ctx context.Context) error {
	out, err := t.metaq(ctx, "", "cluster", "--zookeeper", zookeepers)
	if err != nil {
		return fmt.Errorf("cluster: %w\n%s", err, out)
	}
	t.say("== metaq cluster")
	t.remarks(out)
	return nil
}

func (t *tutorial) summary(context.Context) error {
	slices.Sort(t.asked)
	t.say("== summary")
	t.say("   3 ZooKeeper servers, of which one was killed; 2 brokers; topics test, meta-test and email with 5 partitions on each")
	t.say("   clients found the brokers through %s", strings.Join(slices.Compact(t.asked), ", "))
	t.say("   %d messages acknowledged, %d read back: nothing is lost", t.sent, len(t.read))
	if len(t.read) != t.sent {
		return fmt.Errorf("%d messages were acknowledged, %d were read", t.sent, len(t.read))
	}
	return nil
}

// metaq runs the tool and returns what it said, remarks included.
func (t *tutorial) metaq(ctx context.Context, in string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, t.binary, args...)
	cmd.Stdin = strings.NewReader(in)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "METAQ_") })
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// cleanUp ends what was started, the brokers first, and removes the files.
func (t *tutorial) cleanUp() {
	for _, b := range t.brokers {
		b.stop()
	}
	if t.zk != nil {
		if err := t.zk.close(); err != nil {
			t.say("stop ZooKeeper: %v", err)
		}
	}
	if t.dir != "" {
		if err := os.RemoveAll(t.dir); err != nil {
			t.say("remove %s: %v", t.dir, err)
		}
	}
	t.say("== everything that was started has been stopped")
}

// process is one that the tutorial started.
type process struct {
	cmd  *exec.Cmd
	said words
	done chan struct{} // closed when it has ended
}

func start(dir, name, binary string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(binary, args...), done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stderr = dir, &p.said
	p.cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "METAQ_") })
	// All of it is on this machine, so nothing needs to leave the loopback.
	p.cmd.Env = append(p.cmd.Env, "METAQ_HOST_NAME=127.0.0.1")
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		_ = p.cmd.Wait() // how it ended is in what it said
		close(p.done)
	}()
	return p, nil
}

// stop asks the process to end, and kills it when it does not.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// lastWords are the last lines that the process said.
func (p *process) lastWords() string { return p.said.last(12) }

// words keeps what a process says.
type words struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

// Write implements io.Writer.
func (w *words) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(b)
}

func (w *words) last(n int) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var lines []string
	for s := bufio.NewScanner(bytes.NewReader(w.text.Bytes())); s.Scan(); {
		lines = append(lines, s.Text())
	}
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
