package protocol

import (
	"strings"
	"unicode/utf8"
)

// CutText returns the start of s, at most limit bytes of it. It never cuts within a
// character: half of one is not UTF-8, and JSON would replace it.
func CutText(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	end := limit
	for back := range min(utf8.UTFMax, limit+1) {
		if utf8.RuneStart(s[limit-back]) {
			end = limit - back
			break
		}
	}
	return s[:end]
}

// ValidText is CutText for text of unknown origin: bytes that are not UTF-8 are replaced.
func ValidText(s string, limit int) string {
	return CutText(strings.ToValidUTF8(s, string(utf8.RuneError)), limit)
}

// clip keeps an error to one line when a hostile name is long.
func clip(s string) string {
	const limit = 40
	if len(s) <= limit {
		return s
	}
	return CutText(s, limit) + "..."
}
