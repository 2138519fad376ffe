package main

import (
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// Every help text ends with an example, and every example works: those of the
// broker until it is ready, the others to their end.
func TestExamplesOfHelpTextsWork(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the examples are written for a POSIX shell")
	}
	dir := t.TempDir()
	b := startBroker(t, filepath.Join(dir, "metaq-data"), 0)
	for name, text := range map[string]string{
		"server.ini": "[system]\nbrokerId=0\nnumPartitions=2\nhostName=127.0.0.1\n",
		"metaq.ini":  "server=" + b.URL + "\nmessagedir=./logs\n",
		"book.txt":   "The eye\nThe ray\nof light\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env := append(os.Environ(), "METAQ_SERVER="+b.URL)
	// What the examples read and change.
	for _, line := range []string{
		"metaq topic create orders",
		"echo x | metaq produce orders --partition 0-3",
		"metaq bench produce --count 1000",
	} {
		example(t, dir, env, line)
	}
	for _, e := range allExamples(t) {
		if strings.HasPrefix(e.line, "metaq broker") {
			brokerExample(t, e.line)
			continue
		}
		if e.line == "metaq topic create orders --partitions 4" {
			example(t, dir, env, "metaq topic delete orders")
		}
		if strings.HasPrefix(e.line, "metaq group remove") {
			example(t, dir, env, "metaq consume orders --group billing --instance till-1 --timeout 300ms")
		}
		example(t, dir, env, e.line)
	}
}

type helpExample struct{ command, line string }

// allExamples walks the tree in the order of a day's work: what creates comes
// before what reads, and what deletes comes last.
func allExamples(t *testing.T) []helpExample {
	t.Helper()
	var first, middle, last []helpExample
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		var help strings.Builder
		c.SetOut(&help)
		if err := c.Help(); err != nil {
			t.Fatal(err)
		}
		if c.Example == "" || !strings.HasSuffix(help.String(), "\nExample:\n"+c.Example+"\n") {
			t.Errorf("the help of `%s` does not end with an example:\n%s", c.CommandPath(), help.String())
		}
		for line := range strings.Lines(help.String()) {
			if n := len(strings.TrimRight(line, "\n")); n > 80 {
				t.Errorf("the help of `%s` has a line of %d characters, more than 80:\n%s", c.CommandPath(), n, line)
			}
		}
		for line := range strings.Lines(c.Example) {
			e := helpExample{c.CommandPath(), strings.TrimSpace(line)}
			switch c.Name() {
			case "log", "check", "dump", "produce", "broker":
				first = append(first, e)
			case "delete":
				last = append(last, e)
			default:
				middle = append(middle, e)
			}
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRoot())
	return append(append(first, middle...), last...)
}

func example(t *testing.T, dir string, env []string, line string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", line)
	cmd.Dir, cmd.Env = dir, env
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", line, err, out)
	}
}

// brokerExample starts the broker that line says, on free ports, and stops it
// when it is ready.
func brokerExample(t *testing.T, line string) {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "server.ini"), []byte("[system]\nbrokerId=0\nnumPartitions=2\nhostName=127.0.0.1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "exec "+line)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "METAQ_NATS_PORT="+port, "METAQ_NATS_CLUSTER_PORT=0", "METAQ_SERVER=nats://127.0.0.1:"+port)
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	example(t, dir, cmd.Env, "metaq ping --wait 20s")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%s: %v after SIGTERM\n%s", line, err, log.String())
	}
}

func get(t *testing.T, url string) (code int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}
