package cli

import (
	"testing"

	"metaq/protocol"
)

func TestParseHeader(t *testing.T) {
	for in, want := range map[string]protocol.Header{
		"a=b":   {Name: "a", Value: "b"},
		"a=":    {Name: "a"},
		"a=b=c": {Name: "a", Value: "b=c"},
	} {
		if got, err := ParseHeader(in); err != nil || got != want {
			t.Errorf("%q: got %+v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "a", "=b", "a b=c", "a:b=c", "a=b\nc", "\x7f=b", "\u00e4=b", "Nats-TTL=1", "Nats-Msg-Id=a", "Metaq-Key=k"} {
		if got, err := ParseHeader(in); err == nil {
			t.Errorf("%q: got %+v, want an error", in, got)
		}
	}
}

func TestParseSeparator(t *testing.T) {
	for in, want := range map[string]string{"": "", ":": ":", `\t`: "\t", "\u00e4": "\u00e4"} {
		if got, err := ParseSeparator(in); err != nil || got != want {
			t.Errorf("%q: got %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"::", "\n", "ab"} {
		if got, err := ParseSeparator(in); err == nil {
			t.Errorf("%q: got %q, want an error", in, got)
		}
	}
}
