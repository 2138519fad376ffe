package main

import (
	"bufio"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// A broker with --metrics tells operators how it is, and SIGTERM ends it with 0.
func TestBrokerServesOperators(t *testing.T) {
	nats, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	http1, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), metaqPath(t), "broker", "--data", t.TempDir(), "--nats-port", nats, "--metrics", "127.0.0.1:"+http1, "--pprof")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	log := bufio.NewScanner(stderr)
	for log.Scan() && !strings.Contains(log.Text(), "broker ready") {
		t.Log(log.Text())
	}
	go func() { // what it says further on must not block it
		for log.Scan() {
			continue
		}
	}()
	for path, want := range map[string]string{
		"/healthz": "ok", "/readyz": "ok", "/metrics": "metaq_requests_total", "/debug/pprof/cmdline": "broker",
	} {
		if code, body := get(t, "http://127.0.0.1:"+http1+path); code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the broker ended with %v", err)
	}
}

// A consumer that nothing limits ends with 0 at a signal.
func TestConsumeEndsAtASignal(t *testing.T) {
	b := startBroker(t, t.TempDir(), 0)
	produce := exec.CommandContext(t.Context(), metaqPath(t), "produce", "t", "--server", b.URL)
	produce.Stdin = strings.NewReader("hello\n")
	if out, err := produce.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	consume := exec.CommandContext(t.Context(), metaqPath(t), "consume", "t", "--server", b.URL)
	stdout, err := consume.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := consume.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "hello\n" {
		t.Fatalf("printed %q, %v", line, err)
	}
	if err := consume.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := consume.Wait(); err != nil {
		t.Errorf("consume ended with %v", err)
	}
}
