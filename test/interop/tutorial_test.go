package interop

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"metaq/test/process"
)

// The tutorial's service in Python processes every order once, also over a restart.
func TestTheTutorialsPythonService(t *testing.T) {
	at := slices.IndexFunc(languages, func(l language) bool { return l.fence == "python" })
	python := &languages[at]
	python.ready(t)
	page, err := os.ReadFile("../../docs/getting-started.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?ms)^```python\n(.*?)^```$").FindSubmatch(page)
	if block == nil {
		t.Fatal("docs/getting-started.md has no program in Python")
	}
	program := filepath.Join(t.TempDir(), python.file)
	if err := os.WriteFile(program, block[1], 0o600); err != nil {
		t.Fatal(err)
	}
	b := process.Start(t, nil)
	nc := connect(t, b.URL)
	create(t, nc, "orders", 2, "")
	for run, want := range []string{
		"stored in orders-0-0\nship seven nuts\n",
		"stored in orders-0-0\nship seven nuts\n", // the second one
	} {
		if got := python.start(t, program, b.URL); got != want {
			t.Errorf("run %d printed %q, want %q", run+1, got, want)
		}
	}
}
