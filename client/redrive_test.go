package client

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRedriveTakesAwayOnlyWhatTheDeadLetterAdded(t *testing.T) {
	added := func(group string) []Header {
		var all []Header
		for _, name := range deadHeaders {
			all = append(all, Header{Name: name, Value: group})
		}
		return all
	}
	own := []Header{{Name: "Trace", Value: "1"}, {Name: "Metaq-Dead-Cat", Value: "the user's own"}, {Name: "Trace", Value: "2"}}
	letter := append(own, added("g")...)
	if d := cmp.Diff(own, alive(letter)); d != "" {
		t.Errorf("of a letter: %s", d)
	}
	again := append(letter, added("g_of_the_letters")...)
	if d := cmp.Diff(letter, alive(again)); d != "" {
		t.Errorf("of a letter's letter: %s", d)
	}
}
