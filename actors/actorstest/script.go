package actorstest

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the expected output of the scripts in testdata")

// RunScripts runs every script of a folder: blocks of commands, a line "----",
// and what they print, up to an empty line. fresh gives the interpreter for one
// script.
func RunScripts(t *testing.T, dir string, fresh func(t *testing.T) func(cmd string, args []string) string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", dir, "*.txt"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no scripts in testdata/%s (%v)", dir, err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			want := strings.ReplaceAll(string(data), "\r\n", "\n")
			got := runScript(want, fresh(t))
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", path, diff)
			}
		})
	}
}

// runScript returns the script with what its commands print now.
func runScript(script string, run func(cmd string, args []string) string) string {
	var blocks []string
	for block := range strings.SplitSeq(strings.TrimSpace(script), "\n\n") {
		input, _, _ := strings.Cut(block, "\n----")
		var out strings.Builder
		for line := range strings.SplitSeq(input, "\n") {
			if fields := strings.Fields(line); len(fields) > 0 && !strings.HasPrefix(line, "#") {
				out.WriteString(run(fields[0], fields[1:]))
			}
		}
		if strings.HasPrefix(input, "#") && out.Len() == 0 {
			blocks = append(blocks, input)
			continue
		}
		blocks = append(blocks, input+"\n----\n"+strings.TrimRight(out.String(), "\n"))
	}
	return strings.Join(blocks, "\n\n") + "\n"
}
