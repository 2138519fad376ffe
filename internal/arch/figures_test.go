package arch

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// columns are the systems of the first page's table. Where there are two the faster one
// is shown.
var columns = [][]string{{"metaq"}, {"jetstream", "jetstream-batch"}, {"jetstream-always"}, {"kafka"}}

var (
	figureRow  = regexp.MustCompile("(?m)^\\| .*\\(`([a-z0-9-]+)`\\) \\|(.*)\\|$")
	benchTitle = regexp.MustCompile("(?m)^`([a-z0-9-]+)`: ")
)

// The first page shows the figures that docs/performance.md has, all of the same run.
func TestTheFirstPagesFiguresAreMeasured(t *testing.T) {
	performance := read(t, "docs/performance.md")
	sections := map[string]string{}
	titles := benchTitle.FindAllStringSubmatchIndex(performance, -1)
	for i, at := range titles {
		end := len(performance)
		if i+1 < len(titles) {
			end = titles[i+1][0]
		}
		sections[performance[at[2]:at[3]]] = performance[at[0]:end]
	}
	rows := figureRow.FindAllStringSubmatch(read(t, "README.md"), -1)
	if len(rows) < 6 {
		t.Fatalf("README.md has %d rows with the name of a benchmark's row", len(rows))
	}
	for _, row := range rows {
		name, cells := row[1], strings.Split(row[2], "|")
		if len(cells) != len(columns) {
			t.Errorf("README.md: row %s has %d figures, want %d", name, len(cells), len(columns))
			continue
		}
		for i, cell := range cells {
			shown := strings.Trim(cell, " *")
			if shown == "-" {
				continue
			}
			measured := measuredBy(sections[name], columns[i])
			if !slices.Contains(measured, shown) {
				t.Errorf("README.md: row %s says %s of %v, docs/performance.md %v: copy what it says", name, shown, columns[i], measured)
			}
		}
	}
}

// measuredBy returns the main figure of each of the systems in a benchmark's table.
func measuredBy(table string, systems []string) (figures []string) {
	for line := range strings.Lines(table) {
		if cells := strings.Split(line, "|"); len(cells) > 3 && slices.Contains(systems, strings.TrimSpace(cells[1])) {
			figures = append(figures, strings.TrimSpace(cells[3]))
		}
	}
	return figures
}
