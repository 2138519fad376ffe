package arch

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// pending are the hops whose code is not there yet; the journey names no file
// for them.
var pending = []string{"replicate"}

var (
	hopHeading = regexp.MustCompile(`(?m)^## (\d+)\. (\w+)$`)
	hopPlace   = regexp.MustCompile("`([a-z/_]+\\.go)` \\(([^)]*)\\)")
	hopRow     = regexp.MustCompile(`(?m)^\| (\d+) \| \*\*(\w+)\*\* \|`)
)

// The journey has the hops of the glossary, in their order, and each says where
// it is built. That the files exist is TestDocumentsNameRealFiles' business.
func TestJourneyMapsEveryHop(t *testing.T) {
	text := read(t, "docs/journey.md")
	var hops, words []string
	for _, m := range hopHeading.FindAllStringSubmatch(text, -1) {
		hops = append(hops, m[1]+" "+m[2])
	}
	for _, m := range hopRow.FindAllStringSubmatch(read(t, "docs/glossary.md"), -1) {
		words = append(words, m[1]+" "+m[2])
	}
	if !slices.Equal(hops, words) || len(hops) != 12 {
		t.Fatalf("the journey's hops are\n%q\nand the glossary's\n%q", hops, words)
	}
	picture := read(t, "docs/images/journey.svg")
	for _, hop := range hops {
		number, word, _ := strings.Cut(hop, " ")
		if !strings.Contains(picture, ">"+number+". "+word+"<") {
			t.Errorf("docs/images/journey.svg does not show hop %s", hop)
		}
	}
	for i, section := range hopHeading.Split(text, -1)[1:] {
		_, word, _ := strings.Cut(hops[i], " ")
		section, _, _ = strings.Cut(section, "\n## ")
		named := slices.ContainsFunc(spans(section), isGo)
		switch waits := slices.Contains(pending, word); {
		case !named && !waits:
			t.Errorf("docs/journey.md: hop %s names no Go file", word)
		case named && waits:
			t.Errorf("docs/journey.md: hop %s names a Go file: take it out of pending", word)
		}
	}
}

// What the journey names behind a file is declared in that file.
func TestJourneyNamesWhatIsThere(t *testing.T) {
	places := hopPlace.FindAllStringSubmatch(read(t, "docs/journey.md"), -1)
	if len(places) < 30 {
		t.Fatalf("the journey names only %d places", len(places))
	}
	for _, place := range places {
		source := read(t, place[1])
		for _, name := range spans(place[2]) {
			declared := regexp.MustCompile(`(?m)^(func (\([^)]*\) )?|type )` + regexp.QuoteMeta(name) + `\b`)
			if !declared.MatchString(source) {
				t.Errorf("docs/journey.md: %s does not declare %s", place[1], name)
			}
		}
	}
}
