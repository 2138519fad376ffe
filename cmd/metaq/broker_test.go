package main

import (
	"bufio"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// A broker with --metrics tells operators how it is, SIGHUP does not stop it, and an
// interrupt ends it with 0.
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
	rest := make(chan string, 1)
	go func() { // what it says further on must not block it
		var all strings.Builder
		for log.Scan() {
			all.WriteString(log.Text() + "\n")
		}
		rest <- all.String()
	}()
	for path, want := range map[string]string{
		"/healthz": "ok", "/readyz": "ok", "/metrics": "metaq_requests_total", "/debug/pprof/cmdline": "broker",
	} {
		if code, body := get(t, "http://127.0.0.1:"+http1+path); code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if text := <-rest; !strings.Contains(text, `msg="broker stopping" broker=0 reason=interrupt`) || strings.Contains(text, "ready") {
		t.Errorf("after it was ready it said\n%s", text)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the broker ended with %v", err)
	}
}

// Whoever reads the output may stop reading: a consumer ends in order, without a
// word and with 0, and has left its group.
func TestConsumeEndsWithTheReaderOfItsOutput(t *testing.T) {
	b := startBroker(t, t.TempDir(), 0)
	produce := func() {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), metaqPath(t), "produce", "t", "--server", b.URL)
		cmd.Stdin = strings.NewReader("hello\nworld\n")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	for _, flags := range [][]string{nil, {"--group", "g"}, {"--json"}} {
		produce()
		consume := exec.CommandContext(t.Context(), metaqPath(t), append([]string{"consume", "t", "--server", b.URL}, flags...)...)
		var remarks strings.Builder
		consume.Stderr = &remarks
		stdout, err := consume.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := consume.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := bufio.NewReaderSize(stdout, 16).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		if err := stdout.Close(); err != nil {
			t.Fatal(err)
		}
		if err := consume.Wait(); err != nil || remarks.String() != "" {
			t.Errorf("%v: consume ended with %v\n%s", flags, err, remarks.String())
		}
	}
	info, err := exec.CommandContext(t.Context(), metaqPath(t), "group", "info", "g", "--server", b.URL).Output()
	if err != nil || !strings.HasPrefix(string(info), "group g: empty,") {
		t.Errorf("the group is left behind: %v\n%s", err, info)
	}
}

// A broker's log may lose its reader.
func TestBrokerSurvivesTheReaderOfItsLog(t *testing.T) {
	nats, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), metaqPath(t), "broker", "--data", t.TempDir(), "--nats-port", nats)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := stderr.Close(); err != nil {
		t.Fatal(err)
	}
	url := "nats://127.0.0.1:" + nats
	for _, args := range [][]string{{"ping", "--wait", "20s"}, {"topic", "create", "t"}, {"topic", "delete", "t"}, {"ping"}} {
		if out, err := exec.CommandContext(t.Context(), metaqPath(t), append(args, "--server", url)...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the broker ended with %v", err)
	}
}

// A consumer that nothing limits ends with 0 at a signal, and leaves its group.
func TestConsumeEndsAtASignal(t *testing.T) {
	b := startBroker(t, t.TempDir(), 0)
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		consumeUntil(t, b.URL, s)
		info, err := exec.CommandContext(t.Context(), metaqPath(t), "group", "info", "g", "--server", b.URL).Output()
		if err != nil || !strings.HasPrefix(string(info), "group g: empty,") {
			t.Errorf("%v: the group is left behind: %v\n%s", s, err, info)
		}
	}
}

func consumeUntil(t *testing.T, url string, s syscall.Signal) {
	t.Helper()
	produce := exec.CommandContext(t.Context(), metaqPath(t), "produce", "t", "--server", url)
	produce.Stdin = strings.NewReader("hello\n")
	if out, err := produce.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	consume := exec.CommandContext(t.Context(), metaqPath(t), "consume", "t", "--group", "g", "--server", url)
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
	if err := consume.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
	if err := consume.Wait(); err != nil {
		t.Errorf("%v: consume ended with %v", s, err)
	}
}
