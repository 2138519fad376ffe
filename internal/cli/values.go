package cli

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"metaq/protocol"
)

// ParseHeader reads K=V. The name must be printable ASCII without a space or a
// colon, and the value must be one line, as in NATS. A header that a producer must
// not send is refused.
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
	if name == protocol.HeaderKey {
		return protocol.Header{}, fmt.Errorf("header %s means nothing here: give keys with --key-sep", name)
	}
	if err := protocol.RefusedInBatch(name); err != nil {
		return protocol.Header{}, errors.New(err.Description)
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
