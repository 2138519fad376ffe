package configs

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Mistake is one fault in a configuration.
type Mistake struct {
	Where string `json:"where"`          // the file's path, METAQ_NAME, --flag, or "" for a value that nobody set
	Line  int    `json:"line,omitempty"` // from 1; 0 when Where is not a file
	Text  string `json:"text"`           // names the value and what to do, one line
}

// String gives "file:line: text", or "METAQ_NAME: text".
func (m Mistake) String() string {
	switch {
	case m.Where == "":
		return m.Text
	case m.Line == 0:
		return m.Where + ": " + m.Text
	}
	return fmt.Sprintf("%s:%d: %s", m.Where, m.Line, m.Text)
}

// Mistakes is every fault of one configuration: those of the file first, by
// line, then those of the environment and of flags. Load, LoadClient and
// Validate return it; reach it with errors.As.
type Mistakes []Mistake

// Error gives one line for each mistake.
func (m Mistakes) Error() string { return strings.Join(m.lines(), "\n") }

func (m Mistakes) lines() []string {
	lines := make([]string, len(m))
	for i, one := range m {
		lines[i] = one.String()
	}
	return lines
}

// OnCommandLine says that none of the mistakes is in a file: they are all in flags
// and variables.
func (m Mistakes) OnCommandLine() bool {
	return !slices.ContainsFunc(m, func(one Mistake) bool { return one.Line > 0 || one.Where == "" })
}

func (m *Mistakes) add(at Origin, format string, args ...any) {
	*m = append(*m, Mistake{Where: at.Name, Line: at.Line, Text: fmt.Sprintf(format, args...)})
}

// err sorts the mistakes and gives nil when there is none.
func (m Mistakes) err() error {
	if len(m) == 0 {
		return nil
	}
	m.sort()
	return m
}

func (m Mistakes) sort() {
	slices.SortStableFunc(m, func(a, b Mistake) int {
		if (a.Line == 0) != (b.Line == 0) {
			return cmp.Compare(b.Line, a.Line) // the file's lines come first
		}
		return cmp.Compare(a.Line, b.Line)
	})
}

// nearest gives the known word with the least edit distance to word, or "" when
// nothing is known. Case does not count: a wrong case is the commonest slip.
func nearest(word string, known []string) string {
	best, least := "", -1
	for _, k := range known {
		if d := distance(strings.ToLower(word), strings.ToLower(k)); least < 0 || d < least {
			best, least = k, d
		}
	}
	return best
}

// distance is Levenshtein's: insertions, deletions and replacements from a to b.
func distance(a, b string) int {
	row := make([]int, len(b)+1) // distances from a[:i] to every b[:j]
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
