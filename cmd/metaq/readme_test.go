package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
)

// The commands of the first page print what it says that they print, but for
// times and rates.
func TestReadmeTellsTheTruth(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the commands are written for a POSIX shell and make")
	}
	root := filepath.Join("..", "..")
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(metaqPath(t), filepath.Join(dir, "bin", "metaq")); err != nil {
		t.Fatal(err)
	}
	b := startBroker(t, filepath.Join(dir, "metaq-data"), 0) // what `make run` does
	shell := func(line string) string {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", line)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "METAQ_SERVER="+b.URL)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v", line, err)
		}
		return string(out)
	}
	commands := 0
	for _, block := range regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		for _, part := range regexp.MustCompile(`(?m)^\$ `).Split(block[1], -1)[1:] {
			line, want, _ := strings.Cut(part, "\n")
			commands++
			var got string
			switch {
			case strings.HasPrefix(line, "make "):
				got = makes(t, root, line, shell)
			case strings.HasPrefix(line, "nats req "):
				got = requests(t, b.URL, line)
			default:
				got = shell(line)
			}
			if diff := cmp.Diff(mask(want), mask(got)); diff != "" {
				t.Errorf("%s (-README +now):\n%s", line, diff)
			}
		}
	}
	if commands < 4 {
		t.Errorf("only %d commands were found", commands)
	}
}

// makes tells what line prints: make's own words are those of a dry run, and only
// what it calls of bin/metaq is called.
func makes(t *testing.T, root, line string, shell func(string) string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "make", append([]string{"--dry-run", "--no-print-directory"}, strings.Fields(line)[1:]...)...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "MAKEFLAGS=", "MAKELEVEL=")
	steps, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, steps)
	}
	var out strings.Builder
	for step := range strings.Lines(string(steps)) {
		switch {
		case strings.HasPrefix(step, "bin/metaq "):
			out.WriteString(step + shell(step))
		case strings.HasPrefix(step, "echo "):
			out.WriteString(shell(step))
		}
	}
	return out.String()
}

// requests does what the nats command does.
func requests(t *testing.T, url, line string) string {
	t.Helper()
	subject, payload, _ := strings.Cut(strings.TrimPrefix(line, "nats req "), " ")
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	answer, err := nc.Request(subject, []byte(strings.Trim(payload, "'")), 10*time.Second)
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return string(answer.Data) + "\n"
}

// mask replaces what differs from run to run.
func mask(text string) string {
	for _, m := range []struct{ what, with string }{
		{`[0-9.]+(us|ms|s)\b`, "TIME"},
		{`TIME +[0-9,]+ +[0-9.]+\b`, "TIME RATE"},
		{`\([0-9,]+ a second\)`, "(RATE)"},
		{`TIME +MSG/S +MB/S`, "TIME RATE"},
		{` +`, " "},
	} {
		text = regexp.MustCompile(m.what).ReplaceAllString(text, m.with)
	}
	return text
}
