package module

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"metaq/client/clienttest"
)

const tutorial = root + "/docs/getting-started.md"

func page(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// shop makes the tutorial's module in a directory outside of the checkout, by the
// tutorial's own commands.
func shop(t *testing.T) (dir string) {
	t.Helper()
	text := page(t, tutorial)
	dir = t.TempDir()
	programs := regexp.MustCompile("(?ms)^```go\n(.*?)^```$").FindAllStringSubmatch(text, -1)
	if len(programs) != 2 {
		t.Fatalf("%s has %d Go programs, want main.go and main_test.go", tutorial, len(programs))
	}
	for i, name := range []string{"main.go", "main_test.go"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(programs[i][1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// With the checksums of this module no server has to be asked for them.
	if err := copyFile(filepath.Join(root, "go.sum"), filepath.Join(dir, "go.sum")); err != nil {
		t.Fatal(err)
	}
	checkout, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("CGO_ENABLED", "0") // whatever the test was built with: the build cache has it from `make build`
	t.Setenv("GOWORK", "off")
	t.Setenv("GOFLAGS", "-mod=mod")
	commands := 0
	for _, line := range regexp.MustCompile(`(?m)^go mod .*$`).FindAllString(text, -1) {
		commands++
		run(t, dir, strings.Fields(strings.ReplaceAll(line, "=../metaq", "="+checkout))...)
	}
	if commands != 3 {
		t.Fatalf("%s has %d commands that begin with go mod, want init, edit and tidy", tutorial, commands)
	}
	return dir
}

// A program in another module imports the client, as the tutorial says, and so does its
// test with a broker of its own.
func TestAnotherModuleUsesTheClient(t *testing.T) {
	dir := shop(t)
	run(t, dir, "go", "vet", ".")
	run(t, dir, "go", "test", "-count=1", ".")
	if runtime.GOOS == "windows" {
		t.Skip("no signal ends a process in order there")
	}

	run(t, dir, "go", "build", "-o", "shop", ".")
	program := exec.CommandContext(t.Context(), filepath.Join(dir, "shop"))
	program.Env = append(os.Environ(), "METAQ_SERVER="+clienttest.Start(t))
	program.Stderr = os.Stderr
	out, err := program.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		got = append(got, lines.Text())
		if strings.HasPrefix(lines.Text(), "bill ") {
			if err := program.Process.Signal(os.Interrupt); err != nil { // Ctrl-C
				t.Fatal(err)
			}
		}
	}
	if err := program.Wait(); err != nil {
		t.Errorf("the program ended with %v", err)
	}
	if len(got) != 2 || !strings.HasPrefix(got[0], "stored at 0-") || got[1] != "bill ann for six dates" {
		t.Errorf("the program printed %q", got)
	}
}

// The front page says the same as the tutorial.
func TestTheFrontPageHasTheLineThatWorks(t *testing.T) {
	line := regexp.MustCompile(`(?m)^go mod edit .*$`).FindString(page(t, tutorial))
	if line == "" || !strings.Contains(page(t, root+"/README.md"), "\n"+line+"\n") {
		t.Errorf("README.md does not have the line %q", line)
	}
}
