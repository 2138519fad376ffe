package main

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"metaq/internal/demo"
)

// A demo that a signal ends leaves no data and no broker behind.
func TestDemoCleansUpAfterASignal(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte(strings.Repeat(demo.Text, 40)), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), metaqPath(t), "demo", "--file", text)
	cmd.Env = append(os.Environ(), "TMPDIR="+dir, "TMP="+dir)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	remarks := bufio.NewReader(stderr)
	if line, err := remarks.ReadString('\n'); err != nil || line != "starting a broker\n" {
		t.Fatalf("stderr begins with %q, %v", line, err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	// The broker does not have this pipe, so it ends with the demo.
	rest, err := io.ReadAll(remarks)
	if err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.HasSuffix(string(rest), "metaq: interrupted\n") {
		t.Errorf("the demo ended with %v\n%s", err, rest)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
