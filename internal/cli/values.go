package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"metaq/protocol"
)

// From is where a consumer begins. Exactly one of the four is meant: Latest, an
// Offset that is not nil, a Time that is not zero, or else the log start.
type From struct {
	Latest bool
	Offset *protocol.Offset
	Time   time.Time
}

// ParseFrom reads earliest, latest, an offset, or a time: RFC 3339, or a date
// with or without a time of day in zone.
func ParseFrom(s string, zone *time.Location) (From, error) {
	switch s {
	case "earliest":
		return From{}, nil
	case "latest":
		return From{Latest: true}, nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n >= 0 {
		o := protocol.Offset(n)
		return From{Offset: &o}, nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, zone); err == nil {
			return From{Time: t}, nil
		}
	}
	return From{}, fmt.Errorf("%q is not a place in a topic; use earliest, latest, an offset such as 42, or a time such as 2026-01-02T15:04:05Z", s)
}

// ParseHeader reads K=V. The name must be printable ASCII without a space or a
// colon, and the value must be one line, as in NATS.
func ParseHeader(s string) (protocol.Header, error) {
	name, value, found := strings.Cut(s, "=")
	if !found || name == "" {
		return protocol.Header{}, fmt.Errorf("header %q is not NAME=VALUE; write for example --header source=web", s)
	}
	for _, c := range []byte(name) {
		if c <= ' ' || c >= 0x7f || c == ':' {
			return protocol.Header{}, fmt.Errorf("header name %q is not allowed; use printable ASCII without a space or a colon", name)
		}
	}
	if strings.ContainsAny(value, "\r\n") {
		return protocol.Header{}, fmt.Errorf("value of header %q has a line break; a header is one line", name)
	}
	return protocol.Header{Name: name, Value: value}, nil
}

// ParseSeparator reads the character between key and message: one character,
// or \t for a tab. An empty text is no separator.
func ParseSeparator(s string) (string, error) {
	if s == `\t` {
		return "\t", nil
	}
	if utf8.RuneCountInString(s) > 1 || s == "\n" {
		return "", fmt.Errorf(`key separator %q is not one character; write for example --key-sep : or --key-sep '\t'`, s)
	}
	return s, nil
}
