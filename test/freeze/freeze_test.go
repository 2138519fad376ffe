//go:build linux

package freeze

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMain is also a process with many busy threads, until its standard input ends.
func TestMain(m *testing.M) {
	if os.Getenv("FREEZE_BUSY") == "" {
		os.Exit(m.Run())
	}
	for range 50 {
		go func() {
			for {
				_, _ = os.Stat("/")
			}
		}()
	}
	_, _ = os.Stdout.WriteString("busy\n")
	_, _ = os.Stdin.Read(make([]byte, 1))
}

func TestNothingRunsInAFrozenProcess(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env, cmd.WaitDelay = append(os.Environ(), "FREEZE_BUSY=1"), time.Minute
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := stdout.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		for range 2 { // twice is as once
			if err := Freeze(cmd.Process); err != nil {
				t.Fatal(err)
			}
		}
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", cmd.Process.Pid))
		if err != nil || len(tasks) < 2 {
			t.Fatalf("%d threads: %v", len(tasks), err)
		}
		for _, task := range tasks {
			text, err := os.ReadFile(task)
			if err != nil {
				t.Fatal(err)
			}
			_, after, _ := strings.Cut(string(text), ") ")
			if !strings.HasPrefix(after, "T") {
				t.Fatalf("a thread is not stopped: %s", text)
			}
		}
		if err := Thaw(cmd.Process); err != nil {
			t.Fatal(err)
		}
	}
	_ = stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
