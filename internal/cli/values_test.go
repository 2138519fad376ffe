package cli

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"metaq/protocol"
)

func TestParseFrom(t *testing.T) {
	zone := time.FixedZone("here", 3600)
	seven := protocol.Offset(7)
	for in, want := range map[string]*From{
		"earliest":             {},
		"latest":               {Latest: true},
		"7":                    {Offset: &seven},
		"2026-01-02T15:04:05Z": {Time: time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)},
		"2026-01-02 15:04":     {Time: time.Date(2026, 1, 2, 14, 4, 0, 0, time.UTC)},
		"2026-01-02":           {Time: time.Date(2026, 1, 1, 23, 0, 0, 0, time.UTC)},
		"-1":                   nil,
		"":                     nil,
		"yesterday":            nil,
		"99999999999999999999": nil,
	} {
		got, err := ParseFrom(in, zone)
		if want == nil {
			if err == nil {
				t.Errorf("%q: got %+v, want an error", in, got)
			}
			continue
		}
		if err != nil || !got.Time.Equal(want.Time) {
			t.Errorf("%q: got %+v, %v", in, got, err)
		}
		got.Time, want.Time = time.Time{}, time.Time{}
		if diff := cmp.Diff(*want, got); diff != "" {
			t.Errorf("%q: %s", in, diff)
		}
	}
}

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
	for _, in := range []string{"", "a", "=b", "a b=c", "a:b=c", "a=b\nc", "\x7f=b", "\u00e4=b"} {
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
