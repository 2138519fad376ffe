package protocol

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestTextIsCutAtACharacter(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		limit      int
		want       string
	}{
		{"short text stays", "n\u00e9e", 4, "n\u00e9e"},
		{"before a character that would be cut", "n\u00e9e", 2, "n"},
		{"after a character that fits", "n\u00e9e", 3, "n\u00e9"},
		{"within four bytes", "a\U0001f600b", 4, "a"},
		{"after four bytes", "a\U0001f600b", 5, "a\U0001f600"},
		{"nothing fits", "\U0001f600", 2, ""},
		{"no text at all", "\u00e9", 0, ""},
		{"bytes without a beginning are cut as they are", "\x80\x80\x80\x80\x80\x80", 5, "\x80\x80\x80\x80\x80"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := CutText(tt.text, tt.limit); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
	for limit := range 40 {
		got := ValidText("a\xff\u00e9"+strings.Repeat("\u65e5\u672c", 6), limit)
		if !utf8.ValidString(got) || len(got) > limit {
			t.Errorf("cut at %d: %q", limit, got)
		}
	}
	if _, err := ParsePartitionID(strings.Repeat("\u00e9", 100)); err == nil || strings.ContainsRune(err.Error(), '\\') {
		t.Errorf("the refusal of a long name is %v", err)
	}
}
