package arch

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// pending are the hops whose code is not there yet; the journey names no file
// for them.
var pending = []string{"append", "sync", "replicate", "commit", "read", "settle"}

var (
	hopHeading = regexp.MustCompile(`(?m)^## (\d+)\. (\w+)$`)
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
