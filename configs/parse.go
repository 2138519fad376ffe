package configs

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Lines are parsed here and not by a library because every mistake names its line.

// section is one [name] of a file with its entries in order. The entries before
// the first section of a file belong to a section without a name.
type section struct {
	name    string
	at      Origin
	entries []entry
}

type entry struct {
	key, text string // text may be blank: then the key counts as absent
	at        Origin
}

// parse reads an ini text:
//
//	; a comment, as is # at the start of a line
//	[section]
//	key=value  ; a comment after white space
//
// "=" or ":" ends the key. In a value \\ \; \# \= \: and \uXXXX stand for the
// character. What cannot be read is added to mistakes and left out.
func parse(file string, text []byte, mistakes *Mistakes) []section {
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	sections := []section{{at: Origin{Kind: FromFile, Name: file, Line: 1}}}
	for i, raw := range strings.Split(string(text), "\n") {
		at := Origin{Kind: FromFile, Name: file, Line: i + 1}
		line := strings.TrimSpace(raw)
		if line == "" || line[0] == ';' || line[0] == '#' {
			continue
		}
		if line[0] == '[' {
			name, rest, closed := strings.Cut(line[1:], "]")
			if rest = strings.TrimSpace(rest); !closed || rest != "" && rest[0] != ';' && rest[0] != '#' {
				mistakes.add(at, "%s is not a section; write [name] on a line of its own", quote(line))
				continue
			}
			sections = append(sections, section{name: sectionName(name), at: at})
			continue
		}
		end := strings.IndexAny(line, "=:")
		if end <= 0 {
			mistakes.add(at, "%s is neither key=value nor [section] nor a ; comment", quote(line))
			continue
		}
		key := strings.TrimSpace(line[:end])
		value, err := parseText(line[end+1:])
		if err != nil {
			mistakes.add(at, "%s: %s", clip(key), err)
			continue
		}
		last := &sections[len(sections)-1]
		last.entries = append(last.entries, entry{key: key, text: value, at: at})
	}
	return sections
}

// sectionName drops the white space around a name and around its "=".
func sectionName(name string) string {
	kind, topic, found := strings.Cut(strings.TrimSpace(name), "=")
	if !found {
		return kind
	}
	return strings.TrimSpace(kind) + "=" + strings.TrimSpace(topic)
}

// parseText takes escapes and the trailing comment from the text after "=".
func parseText(raw string) (string, error) {
	var out strings.Builder
	space := true // a comment may begin here
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		switch {
		case (c == ';' || c == '#') && space:
			return strings.TrimSpace(out.String()), nil
		case c == '\\':
			if i++; i < len(raw) && strings.IndexByte(`\;#=:`, raw[i]) >= 0 {
				out.WriteByte(raw[i])
				break
			}
			r, err := unicodeEscape(raw[i:])
			if err != nil {
				return "", err
			}
			out.WriteRune(r)
			i += 4
		default:
			out.WriteByte(c)
		}
		space = c == ' ' || c == '\t'
	}
	return strings.TrimSpace(out.String()), nil
}

// unicodeEscape reads the uXXXX that follows a backslash. MetaQ's parser drops
// the backslash of an unknown escape, which turns C:\meta into C:meta: refused here.
func unicodeEscape(s string) (rune, error) {
	if len(s) >= 5 && s[0] == 'u' {
		if n, err := strconv.ParseUint(s[1:5], 16, 16); err == nil {
			return rune(n), nil
		}
	}
	return 0, errors.New(`a backslash must stand before \ ; # = : or uXXXX; in a path write / or \\`)
}

// checkText refuses what no value may hold, from whatever source it comes.
func checkText(text string) error {
	switch {
	case !utf8.ValidString(text):
		return fmt.Errorf("%s is not UTF-8; save the file as UTF-8", quote(text))
	case strings.ContainsFunc(text, unicode.IsControl):
		return fmt.Errorf("%s holds a control character; remove it", quote(text))
	case text != "" && (text[0] == '"' || text[0] == '\''):
		return fmt.Errorf("%s is quoted; write the value without quotes", quote(text))
	}
	return nil
}

// quote and clip keep a message to one short line whatever the input was: quote
// for values, clip for what stands in a message as it is.
func quote(s string) string { return strconv.Quote(shorten(s)) }

func clip(s string) string {
	s = shorten(s)
	if strings.ContainsFunc(s, unicode.IsControl) || !utf8.ValidString(s) {
		return strings.Trim(strconv.Quote(s), `"`)
	}
	return s
}

func shorten(s string) string {
	const limit = 80
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "..."
	}
	return s
}
