package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	startTimeout = 20 * time.Second // a broker is up in well under one
	stopTimeout  = 20 * time.Second
	keptLog      = 20 // lines of the broker's log that an error shows
)

// Broker is a broker in a process of its own.
type Broker struct {
	URL string // where clients connect

	process *exec.Cmd
	exited  chan struct{} // closed when the process has gone
	exitErr error         // set before exited is closed

	mu  sync.Mutex
	log []string // guarded by mu; the last lines of its log
}

// StartBroker starts `exe broker` with its data in dir, and returns when it is
// ready for clients. Port 0 takes a free one. The caller ends it with Stop or
// Kill.
func StartBroker(ctx context.Context, exe, dir string, port int) (*Broker, error) {
	process := exec.Command(exe, "broker", "--data", dir, "--nats-port", strconv.Itoa(port), "--log-format", "json")
	process.Env = withoutOurs(os.Environ())
	logs, err := process.StderrPipe()
	if err != nil {
		return nil, fmt.Errorf("start a broker: %w", err)
	}
	if err := process.Start(); err != nil {
		return nil, fmt.Errorf("start a broker: %w", err)
	}
	b := &Broker{process: process, exited: make(chan struct{})}
	ready := make(chan string, 1)
	go b.wait(logs, ready)

	timeout := time.NewTimer(startTimeout)
	defer timeout.Stop()
	select {
	case b.URL = <-ready:
		return b, nil
	case <-b.exited:
		return nil, fmt.Errorf("the broker ended while it started: %w%s", b.exitErr, b.lastLog())
	case <-timeout.C:
		err = fmt.Errorf("the broker was not ready within %s%s", startTimeout, b.lastLog())
	case <-ctx.Done():
		err = ctx.Err()
	}
	b.Kill()
	return nil, err
}

// withoutOurs drops the METAQ_ variables: the demo's broker is to be as it is
// out of the box.
func withoutOurs(env []string) []string {
	var rest []string
	for _, v := range env {
		if !strings.HasPrefix(v, "METAQ_") {
			rest = append(rest, v)
		}
	}
	return rest
}

// wait reads the process's log to its end, and then waits for the process.
func (b *Broker) wait(logs io.Reader, ready chan<- string) {
	defer close(b.exited)
	lines := bufio.NewScanner(logs)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		b.keep(lines.Text())
		if url := readyURL(lines.Bytes()); url != "" {
			select {
			case ready <- url:
			default: // it was told before
			}
		}
	}
	_, _ = io.Copy(io.Discard, logs) // a line beyond all measure must not block the broker
	b.exitErr = b.process.Wait()
	if b.exitErr == nil {
		b.exitErr = errors.New("exit status 0")
	}
}

// readyURL returns the address in the log line that says that the broker is
// ready, and "" for every other line.
func readyURL(line []byte) string {
	var entry struct {
		Msg  string `json:"msg"`
		NATS string `json:"nats"`
	}
	if json.Unmarshal(line, &entry) != nil || entry.Msg != "broker ready" {
		return ""
	}
	return entry.NATS
}

func (b *Broker) keep(line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.log) == keptLog {
		b.log = b.log[1:]
	}
	b.log = append(b.log, line)
}

// lastLog returns the last lines of the log, to be put behind an error.
func (b *Broker) lastLog() string {
	log := b.Log()
	if log == "" {
		return ""
	}
	return "; its log ends with\n" + log
}

// Log returns the last lines that the process has written. It may be called from
// any goroutine.
func (b *Broker) Log() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(b.log, "\n")
}

// Kill ends the process at once, as kill -9 does, and returns when it has gone.
func (b *Broker) Kill() {
	_ = b.process.Process.Kill() // an error says that it has gone
	<-b.exited
}

// Stop asks the process to end and returns when it has gone; it is killed when
// it takes too long, or where a process cannot be asked.
func (b *Broker) Stop() error {
	if b.process.Process.Signal(syscall.SIGTERM) != nil {
		b.Kill()
		return nil
	}
	timeout := time.NewTimer(stopTimeout)
	defer timeout.Stop()
	select {
	case <-b.exited:
	case <-timeout.C:
		b.Kill()
		return fmt.Errorf("the broker did not stop within %s%s", stopTimeout, b.lastLog())
	}
	if code := b.process.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("the broker stopped with %w%s", b.exitErr, b.lastLog())
	}
	return nil
}
