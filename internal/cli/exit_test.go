package cli

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		code int
		text string
	}{
		{"no error is done", nil, ExitOK, ""},
		{"an error is a problem", errors.New("no such topic"), ExitProblem, "metaq: no such topic\n"},
		{"wrapped wrong usage", fmt.Errorf("produce: %w", Usagef("bad key")), ExitUsage, "metaq: produce: bad key\n"},
		{"a reader that has enough is no problem", fmt.Errorf("write: %w", ErrOutputClosed), ExitOK, ""},
		{"every mistake on its line", errors.New("a.ini:1: x\na.ini:2: y"), ExitProblem, "metaq: a.ini:1: x\nmetaq: a.ini:2: y\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var w strings.Builder
			if code := Report(&w, c.err); code != c.code || w.String() != c.text {
				t.Errorf("code %d, text %q", code, w.String())
			}
		})
	}
	if Usage(nil) != nil {
		t.Error("Usage(nil) is an error")
	}
}
