package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"metaq/internal/demo"
)

const (
	crashLines = 100_000
	crashKeys  = 17
	crashTopic = "crash"
)

// crashLine is line i of the input, from 0: the key, and the number of the line
// among those of its key.
func crashLine(i int) string { return fmt.Sprintf("k%d:%d", i%crashKeys, i/crashKeys) }

// producer is a running `metaq produce` whose lines the test types.
type producer struct {
	t       *testing.T
	process *exec.Cmd
	typed   *bufio.Writer
	stdin   io.Closer
	remarks bytes.Buffer
	acks    string // file with the numbers of acknowledged lines
}

func startProducer(t *testing.T, url string, flags ...string) *producer {
	t.Helper()
	p := &producer{t: t, acks: filepath.Join(t.TempDir(), "acks")}
	args := append([]string{"produce", crashTopic, "--server", url, "--key-sep", ":", "--acks", p.acks}, flags...)
	p.process = exec.CommandContext(t.Context(), metaqPath(t), args...)
	p.process.Stderr = &p.remarks
	stdin, err := p.process.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdin, p.typed = stdin, bufio.NewWriter(stdin)
	if err := p.process.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// types writes the lines from..to-1.
func (p *producer) types(from, to int) {
	p.t.Helper()
	for i := from; i < to; i++ {
		// A producer that has given up takes no more; its exit code tells.
		_, _ = fmt.Fprintln(p.typed, crashLine(i))
	}
	_ = p.typed.Flush()
}

// acknowledged returns the numbers, from 0, of the lines acknowledged so far.
func (p *producer) acknowledged() map[int]bool {
	p.t.Helper()
	data, err := os.ReadFile(p.acks)
	if err != nil && !os.IsNotExist(err) {
		p.t.Fatal(err)
	}
	set := map[int]bool{}
	for line := range strings.Lines(string(data)) {
		n, err := strconv.Atoi(strings.TrimSuffix(line, "\n"))
		if err != nil || set[n-1] {
			p.t.Fatalf("acknowledged line %q: %v", line, err)
		}
		set[n-1] = true
	}
	return set
}

// waitAcks waits until n lines are acknowledged.
func (p *producer) waitAcks(n int) {
	p.t.Helper()
	for begin := time.Now(); ; {
		acks, err := os.ReadFile(p.acks)
		if err != nil && !os.IsNotExist(err) {
			p.t.Fatal(err)
		}
		got := bytes.Count(acks, []byte{'\n'})
		if got >= n {
			return
		}
		if time.Since(begin) > time.Minute {
			p.t.Fatalf("%d of %d lines acknowledged within a minute\n%s", got, n, p.remarks.String())
		}
		<-time.After(5 * time.Millisecond)
	}
}

// end closes stdin and returns the exit code and the last line on stderr.
func (p *producer) end() (code int, last string) {
	p.t.Helper()
	_ = p.stdin.Close()
	_ = p.process.Wait() // the exit code tells
	lines := strings.Split(strings.TrimSpace(p.remarks.String()), "\n")
	return p.process.ProcessState.ExitCode(), lines[len(lines)-1]
}

var crashMessage = regexp.MustCompile(`"key":"(k\d+)","data":"(\d+)"\}\n$`)

// consumed returns what the topic holds, as the numbers of lines in their order
// for each key.
func consumed(t *testing.T, b *demo.Broker) map[string][]int {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), metaqPath(t), "consume", crashTopic, "--server", b.URL, "--timeout", "2s", "--json").Output()
	if err != nil {
		t.Fatal(err)
	}
	byKey := map[string][]int{}
	for line := range strings.Lines(string(out)) {
		m := crashMessage.FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("cannot read %q", line)
		}
		n, err := strconv.Atoi(m[2])
		if err != nil {
			t.Fatal(err)
		}
		byKey[m[1]] = append(byKey[m[1]], n)
	}
	return byKey
}

// The broker is killed while lines are on their way, and comes back: the
// producer waits for it, and every line is there once, in order within its key.
func TestKillInTheMiddleOfProduce(t *testing.T) {
	dir := t.TempDir()
	b := startBroker(t, dir, 0)
	p := startProducer(t, b.URL, "--timeout", "2m")
	p.types(0, crashLines/2)
	p.waitAcks(crashLines / 10)
	before := len(p.acknowledged())
	b.Kill()
	p.types(crashLines/2, crashLines)
	b = startBroker(t, dir, portOf(t, b))
	code, last := p.end()
	want := fmt.Sprintf("acknowledged %d of %d messages, ", crashLines, crashLines)
	if code != 0 || !strings.HasPrefix(last, want) {
		t.Fatalf("exit code %d, stderr\n%s", code, p.remarks.String())
	}
	t.Logf("killed with %d lines acknowledged; %s", before, last)
	byKey := consumed(t, b)
	if len(byKey) != crashKeys {
		t.Errorf("%d keys came back, want %d", len(byKey), crashKeys)
	}
	for key, got := range byKey {
		k, err := strconv.Atoi(key[1:])
		if err != nil {
			t.Fatal(err)
		}
		if want := (crashLines - k + crashKeys - 1) / crashKeys; len(got) != want {
			t.Errorf("key %s has %d messages, want %d", key, len(got), want)
		}
		for i, n := range got {
			if n != i {
				t.Fatalf("key %s has message %d at place %d: lost, repeated or out of order", key, n, i)
			}
		}
	}
}

// The broker is killed and does not come back in time: the producer says how
// much was acknowledged and fails, and all of that is there after a restart,
// once and in order.
func TestWhatWasAcknowledgedSurvivesAKill(t *testing.T) {
	dir := t.TempDir()
	b := startBroker(t, dir, 0)
	p := startProducer(t, b.URL, "--timeout", "2s")
	p.types(0, crashLines/2)
	p.waitAcks(crashLines / 10)
	b.Kill()
	p.types(crashLines/2, crashLines)
	code, last := p.end()
	acked := p.acknowledged()
	if want := fmt.Sprintf("acknowledged %d of ", len(acked)); code != 1 || !strings.HasPrefix(last, want) {
		t.Fatalf("exit code %d, want 1; want %q on stderr\n%s", code, want, p.remarks.String())
	}
	if len(acked) == crashLines {
		t.Fatal("all lines were acknowledged: the kill came too late to test anything")
	}
	b = startBroker(t, dir, 0)
	stored := map[int]bool{}
	for key, got := range consumed(t, b) {
		k, err := strconv.Atoi(key[1:])
		if err != nil {
			t.Fatal(err)
		}
		for i, n := range got {
			if i > 0 && n <= got[i-1] {
				t.Fatalf("key %s: message %d after message %d", key, n, got[i-1])
			}
			stored[n*crashKeys+k] = true
		}
	}
	for i := range acked {
		if !stored[i] {
			t.Fatalf("line %d was acknowledged and is lost", i+1)
		}
	}
	t.Logf("%d lines acknowledged, %d stored", len(acked), len(stored))
}
