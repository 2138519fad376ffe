// Package journey follows messages through a running broker, from a client's socket to the
// disk and back, and compares their way with docs/journey.md.
package journey

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"metaq/protocol"
)

var update = flag.Bool("update", false, "write the ways as they are into docs/journey.md")

const page = "../../docs/journey.md"

// The acknowledgement of a message that comes alone waits for as few goroutines as it can:
// the partition's actor writes and syncs in its place.
func TestAPutThatComesAlone(t *testing.T) {
	r := start(t)
	r.begin()
	r.put("hello")
	r.compare("a put that comes alone")
}

// What comes while a sync runs is collected, and shares the next write and sync.
func TestPutsUnderLoad(t *testing.T) {
	const many = 32
	r := start(t)
	open := r.gate.shut()
	defer open()
	r.send(pub("metaq.put.t", strings.Repeat("x", 64<<10))) // large, so that its sync leaves the partition free
	first := <-r.accepted
	<-r.gate.there
	r.begin()
	r.after.Store(int64(first.Next)) // its own last hops are still to come
	r.send(strings.Repeat(pub("metaq.put.t", strings.Repeat("y", 1<<10)), many))
	for n := protocol.Offset(0); n < many; {
		e := <-r.accepted
		n += e.Next - e.First
	}
	open()
	for range 1 + many {
		r.answer(nil)
	}
	r.compare("puts under load")
}

func TestAGet(t *testing.T) {
	r := start(t)
	r.begin()
	r.ask("metaq.get.t.0-0", `{"offset":0}`, nil)
	r.compare("a get")
}

func TestAGroupsCommit(t *testing.T) {
	r := start(t)
	var view protocol.GroupView
	r.ask("metaq.group.g.join", `{"topics":["t"],"start":{"at":"earliest"}}`, &view)
	r.begin()
	r.ask("metaq.group.g.commit", fmt.Sprintf(
		`{"member":%q,"generation":%d,"offsets":[{"topic":"t","partition":"0-0","offset":1}]}`, view.Member, view.Generation), nil)
	r.compare("a group's commit")
}

// compare compares what was seen since begin with the table of that title in the journey.
func (r *traced) compare(title string) {
	r.t.Helper()
	got := table(r.end())
	text, err := os.ReadFile(page)
	if err != nil {
		r.t.Fatal(err)
	}
	mark := fmt.Appendf(nil, "<!-- the way of %s -->\n", title)
	before, rest, found := bytes.Cut(text, mark)
	if !found {
		r.t.Fatalf("docs/journey.md has no %s", mark)
	}
	want, after, _ := bytes.Cut(rest, []byte("\n\n"))
	if *update {
		page := slices.Concat(before, mark, []byte(got), []byte("\n\n"), after)
		if err := os.WriteFile("../../docs/journey.md", page, 0o600); err != nil {
			r.t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		r.t.Fatalf("%s goes another way than docs/journey.md says (-document +broker); make docs rewrites it:\n%s", title, diff)
	}
}

// table shows each hop once, in the order in which they were first made, and counts the
// hand-overs from one goroutine to the next.
func table(seen []station) string {
	var b strings.Builder
	b.WriteString("| hop | function | goroutine |\n| --- | --- | --- |\n")
	var shown []station
	for _, s := range seen {
		if slices.Contains(shown, s) {
			continue
		}
		shown = append(shown, s)
		fmt.Fprintf(&b, "| %s | `%s` | `%s` |\n", s.word, s.function, s.goroutine)
	}
	return strings.TrimSuffix(b.String(), "\n")
}
