package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
)

// The commands of the first page and of the tutorial print what these say that they
// print, but for times and rates.
func TestTheFirstPagesTellTheTruth(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the commands are written for a POSIX shell and make")
	}
	for _, page := range []string{"README.md", "docs/getting-started.md"} {
		t.Run(filepath.Base(page), func(t *testing.T) { tellsTheTruth(t, page) })
	}
}

// tellsTheTruth runs the console blocks of a page, in order, with a broker of its own.
func tellsTheTruth(t *testing.T, page string) {
	root := filepath.Join("..", "..")
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(page)))
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
			want, got = mask(want), mask(got)
			if strings.Contains(line, " --group ") { // partitions come in any order
				want, got = sorted(want), sorted(got)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-%s +now):\n%s", line, page, diff)
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

func sorted(text string) string {
	return strings.Join(slices.Sorted(strings.SplitSeq(text, "\n")), "\n")
}

// requests does what the nats command does.
func requests(t *testing.T, url, line string) string {
	t.Helper()
	subject, payload, _ := strings.Cut(strings.TrimPrefix(line, "nats req "), " ")
	payload, option, _ := strings.Cut(payload, " -H ")
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	m := nats.NewMsg(subject)
	m.Data = []byte(strings.Trim(payload, "'"))
	if name, value, ok := strings.Cut(option, ":"); ok {
		m.Header.Set(name, value)
	}
	answer, err := nc.RequestMsg(m, 10*time.Second)
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
