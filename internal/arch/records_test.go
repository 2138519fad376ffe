package arch

import (
	"fmt"
	"path"
	"regexp"
	"strings"
	"testing"
)

var (
	adrName    = regexp.MustCompile(`^(\d{4})-[a-z0-9-]+\.md$`)
	adrTitle   = regexp.MustCompile(`^# (\d{4}): (.+)\n`)
	adrStatus  = regexp.MustCompile(`(?m)^Status: (accepted|superseded by \[\d{4}\]\(\d{4}-[a-z0-9-]+\.md\))$`)
	changeLine = regexp.MustCompile(`^- \[(CHANGE|FEATURE|ENHANCEMENT|PERF|BUGFIX|SECURITY)\] [a-z][a-z ]*: \S`)
)

// Each decision has its four parts, the numbers have no gap, and the index says
// the same as the records.
func TestDecisionsAreIndexed(t *testing.T) {
	var want strings.Builder
	next := 1
	for _, name := range files(t) { // in the order of their names
		if path.Dir(name) != "docs/adr" || path.Base(name) == "README.md" {
			continue
		}
		file, text := path.Base(name), read(t, name)
		number := adrName.FindStringSubmatch(file)
		title := adrTitle.FindStringSubmatch(text)
		status := adrStatus.FindStringSubmatch(text)
		if number == nil || title == nil || status == nil {
			t.Errorf("%s: want a name like 0001-some-title.md, a title like \"# 0001: Some title\" and a line like \"Status: accepted\"", name)
			continue
		}
		if number[1] != fmt.Sprintf("%04d", next) || title[1] != number[1] {
			t.Errorf("%s: number %s, title %s, want %04d in both", name, number[1], title[1], next)
		}
		next++
		last := -1
		for _, part := range []string{"## Context", "## Decision", "## Consequences"} {
			at := strings.Index(text, "\n"+part+"\n")
			if at <= last {
				t.Errorf("%s: %q is missing or out of order", name, part)
			}
			last = at
		}
		fmt.Fprintf(&want, "| [%s](%s) | %s | %s |\n", number[1], file, title[2], status[1])
	}
	if next == 1 {
		t.Fatal("no decision found in docs/adr")
	}
	_, got, _ := strings.Cut(read(t, "docs/adr/README.md"), "| --- | --- | --- |\n")
	if got != want.String() {
		t.Errorf("docs/adr/README.md: the table is\n%s\nand the records say\n%s", got, want.String())
	}
}

func TestChangelogLinesHaveTheirForm(t *testing.T) {
	lines := 0
	for i, line := range strings.Split(read(t, "CHANGELOG.md"), "\n") {
		if !strings.HasPrefix(line, "- ") {
			continue
		}
		lines++
		if !changeLine.MatchString(line) {
			t.Errorf("CHANGELOG.md:%d: want \"- [KIND] area: what is different for a user\", got %q", i+1, line)
		}
	}
	if lines == 0 {
		t.Error("CHANGELOG.md tells no change")
	}
}
