package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// child is a process that was started here and ends here.
type child struct {
	name string
	cmd  *exec.Cmd
	log  string        // file with its output
	gone chan struct{} // closed when it has exited
	err  error         // to be read after gone
}

// startChild runs a program; its output goes to the file log.
func startChild(name, program string, args, env []string, log string) (*child, error) {
	out, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Close() }() // the child has its own descriptor
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = out, out
	dieWithParent(cmd)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	c := &child{name: name, cmd: cmd, log: log, gone: make(chan struct{})}
	go func() {
		c.err = cmd.Wait()
		close(c.gone)
	}()
	return c, nil
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// stop asks the process to end, kills it when it does not, and returns when it
// has gone. It may be called twice.
func (c *child) stop() {
	select {
	case <-c.gone:
		return
	default:
	}
	if runtime.GOOS == "windows" || c.cmd.Process.Signal(os.Interrupt) != nil {
		_ = c.cmd.Process.Kill() // an error means that it has gone
	}
	select {
	case <-c.gone:
	case <-time.After(10 * time.Second):
		_ = c.cmd.Process.Kill()
		<-c.gone
	}
}

// waitFor calls try until it succeeds; it gives up when ctx ends, after patience,
// or when the child has exited.
func (c *child) waitFor(ctx context.Context, patience time.Duration, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-c.gone:
			return fmt.Errorf("%s has exited: %w: %s", c.name, errors.Join(c.err, err), lastWords(c.log))
		case <-ctx.Done():
			return fmt.Errorf("%s does not serve after %v: %w: %s", c.name, patience, err, lastWords(c.log))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// lastWords is the end of a log, in one line.
func lastWords(log string) string {
	b, err := os.ReadFile(log)
	if err != nil {
		return err.Error()
	}
	return lastOf(string(b))
}

func lastOf(text string) string {
	const limit = 600
	return strings.Join(strings.Fields(text[max(0, len(text)-limit):]), " ")
}

// freePort asks the system for a port that nobody listens on at the moment.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return 0, errors.Join(fmt.Errorf("%v is no TCP address", l.Addr()), l.Close())
	}
	return addr.Port, l.Close()
}

func accepts(address string) func(context.Context) error {
	return func(ctx context.Context) error {
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return c.Close()
	}
}
