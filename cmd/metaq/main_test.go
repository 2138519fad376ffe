package main

import (
	"net"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"metaq/internal/demo"
)

// TestMain puts this test binary into PATH as `metaq`, so that the tests run the
// real program in processes of its own.
func TestMain(m *testing.M) {
	if err := os.Setenv("GORACE", gorace); err != nil {
		panic(err)
	}
	testscript.Main(m, map[string]func(){"metaq": main})
}

// gorace keeps each process from sleeping for a second at its end, as it does
// when the race detector is built in.
const gorace = "atexit_sleep_ms=0"

// metaqPath is the path of the program under test.
func metaqPath(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("metaq")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// startBroker starts a broker with its data in dir, and kills it at the end of
// the test if it still runs. Port 0 takes a free one.
func startBroker(t testing.TB, dir string, port int) *demo.Broker {
	t.Helper()
	b, err := demo.StartBroker(t.Context(), metaqPath(t), dir, port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.Kill()
		if t.Failed() {
			t.Logf("the log of the broker at %s ends with\n%s", b.URL, b.Log())
		}
	})
	return b
}

// freePort returns a port of 127.0.0.1 that nobody listens on.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = l.Close() }() // it was only asked for its port
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

func portOf(t testing.TB, b *demo.Broker) int {
	t.Helper()
	_, text, err := net.SplitHostPort(b.URL[len("nats://"):])
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return port
}
