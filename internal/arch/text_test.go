package arch

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// forbidden are words that must not stand in anything that is committed. They are
// written here in two pieces, so that this file may be searched like any other.
var forbidden = []struct {
	words *regexp.Regexp
	why   string
}{
	{regexp.MustCompile(`\b(` + strings.Join([]string{"TO" + "DO", "FIX" + "ME", "HA" + "CK", "W" + "IP"}, "|") + `)\b`), "finish it, or file an issue"},
	{regexp.MustCompile(`(?i)lorem` + ` ipsum`), "write the text"},
	{regexp.MustCompile(`(^|[\s"'=(` + "`" + `])/(ho` + `me|ro` + `ot|Us` + `ers|wo` + `rk)/`), "a path of one machine says nothing to others"},
}

// isText says whether people write and read the file.
func isText(name string) bool {
	known := []string{".go", ".md", ".sh", ".yml", ".yaml", ".ini", ".mod", ".txtar"}
	return slices.Contains(known, path.Ext(name)) || name == "Makefile" || strings.HasPrefix(name, ".ci/")
}

func TestNoForbiddenWords(t *testing.T) {
	for _, name := range files(t) {
		if !isText(name) {
			continue
		}
		for i, line := range strings.Split(read(t, name), "\n") {
			for _, f := range forbidden {
				if hit := f.words.FindString(line); hit != "" {
					t.Errorf("%s:%d: %q: %s", name, i+1, strings.TrimSpace(hit), f.why)
				}
			}
		}
	}
}

func TestCodeIsASCII(t *testing.T) {
	for _, name := range files(t) {
		if !isGo(name) {
			continue
		}
		for i, line := range strings.Split(read(t, name), "\n") {
			if at := strings.IndexFunc(line, func(r rune) bool { return r > 126 || r < 32 && r != '\t' }); at >= 0 {
				t.Errorf("%s:%d:%d: not ASCII: write an escape or another word", name, i+1, at+1)
			}
		}
	}
}

func TestLinesEndWithLF(t *testing.T) {
	for _, name := range files(t) {
		if isText(name) && strings.Contains(read(t, name), "\r") {
			t.Errorf("%s has a carriage return: save it with LF line ends", name)
		}
	}
}
