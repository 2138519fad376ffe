//go:build unix

package cluster

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/go-zookeeper/zk"
	"github.com/google/go-cmp/cmp"

	zktest "metaq/test/zk"
)

const (
	// zkCli is what an operator looks with; it comes with Debian's package.
	zkCli = "/usr/share/zookeeper/bin/zkCli.sh"

	prompt = "[zk] " // before each command on the page
	fence  = "-----" // what a node between two commands holds
)

// ask runs commands in zkCli.sh and gives each with what it printed.
func (w *world) ask(commands []string) string {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, zkCli, "-server", w.zk.Servers[0].Address)
	cmd.Stdin = strings.NewReader("get /fence\n" + strings.Join(commands, "\nget /fence\n") + "\nget /fence\nquit\n")
	out, err := cmd.Output()
	if err != nil {
		w.t.Fatalf("%s: %v\n%s", zkCli, err, out)
	}
	answers := strings.Split(string(out), fence+"\n")
	if len(answers) != len(commands)+2 {
		w.t.Fatalf("%d answers to %d commands:\n%s", len(answers)-2, len(commands), out)
	}
	var page strings.Builder
	for i, c := range commands {
		page.WriteString(prompt + c + "\n" + answers[i+1])
	}
	return page.String()
}

func (w *world) fence() {
	w.t.Helper()
	conn := w.raw("")
	defer conn.Close()
	if _, err := conn.Create("/fence", []byte(fence), 0, zk.WorldACL(zk.PermAll)); err != nil {
		w.t.Fatal(err)
	}
}

// What docs/cluster.md shows an operator is what zkCli.sh prints.
func TestZkCliShowsMetaQsPathsAndFormats(t *testing.T) {
	text, err := os.ReadFile("../../docs/cluster.md")
	if err != nil {
		t.Fatal(err)
	}
	_, page, _ := strings.Cut(string(text), "```text\n"+prompt)
	page, _, found := strings.Cut(prompt+page, "```")
	if !found {
		t.Fatal("docs/cluster.md shows nothing of zkCli.sh")
	}
	var commands []string
	for line := range strings.Lines(page) {
		if command, found := strings.CutPrefix(line, prompt); found {
			commands = append(commands, strings.TrimSpace(command))
		}
	}

	w := &world{t: t, zk: zktest.Start(t, 1), root: "/meta"}
	w.fence()
	w.add(w.start(0, map[string]string{"server-port": "8123"}))
	w.add(w.start(1, map[string]string{"server-port": "9124"}))
	w.create("meta-test", 5)
	ledger := newLedger()
	nc := w.nats(0)
	for _, payload := range []string{"one", "two", "three"} {
		if _, err := nc.Request("metaq.put.meta-test.1-4", []byte(payload), patience); err != nil {
			t.Fatal(err)
		}
		ledger.ack(payload)
	}
	w.consume("readers", "meta-test").reads(ledger, patience)
	w.eventually("the offset to be in ZooKeeper", patience, func(context.Context) error {
		const path = "/meta/consumers/readers/offsets/meta-test/1-4"
		if data := w.tree()[path]; !strings.HasSuffix(data, "-3") {
			return &differs{path, data, "...-3"}
		}
		return nil
	})
	got := w.ask(commands)
	if diff := cmp.Diff(page, got); diff != "" {
		t.Errorf("docs/cluster.md differs from what zkCli.sh prints:\n%s\n%s", diff, got)
	}
}
