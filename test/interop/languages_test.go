package interop

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"metaq/test/process"
)

const clients = "../../.cache/interop" // where install.sh puts them

// language is one whose official client is tried.
type language struct {
	name  string
	fence string   // in docs/clients.md
	needs []string // commands
	full  string   // the program of this folder
	file  string   // what the example of docs/clients.md must be called
	// run gives the command for a program, and prepares it in dir.
	run func(t *testing.T, ctx context.Context, program, dir, libraries string) *exec.Cmd
}

var languages = []language{
	{
		name: "JavaScript", fence: "javascript", needs: []string{"node", "npm"}, full: "js/publish.mjs", file: "example.mjs",
		run: func(_ *testing.T, ctx context.Context, program, _, libraries string) *exec.Cmd {
			cmd := exec.CommandContext(ctx, "node", program)
			cmd.Env = append(os.Environ(), "METAQ_INTEROP_JS="+filepath.Join(libraries, "js"))
			return cmd
		},
	},
	{
		name: "Python", fence: "python", needs: []string{"python3"}, full: "python/publish.py", file: "example.py",
		run: func(_ *testing.T, ctx context.Context, program, _, libraries string) *exec.Cmd {
			cmd := exec.CommandContext(ctx, "python3", program)
			cmd.Env = append(os.Environ(), "PYTHONPATH="+filepath.Join(libraries, "python"), "PYTHONDONTWRITEBYTECODE=1")
			return cmd
		},
	},
	{
		name: "Java", fence: "java", needs: []string{"java", "javac", "mvn"}, full: "java/Publish.java", file: "Example.java",
		run: func(_ *testing.T, ctx context.Context, program, _, libraries string) *exec.Cmd {
			return exec.CommandContext(ctx, "java", "-cp", filepath.Join(libraries, "java", "*"), program)
		},
	},
	{
		name: "Go", fence: "go", needs: []string{"go"}, file: "main.go",
		run: func(t *testing.T, ctx context.Context, program, dir, _ string) *exec.Cmd {
			// The example is built with the versions of this module.
			root, err := filepath.Abs("../..")
			if err != nil {
				t.Fatal(err)
			}
			overlay := filepath.Join(dir, "overlay.json")
			text := `{"Replace":{"` + filepath.ToSlash(filepath.Join(root, "test", "interop", "example", "main.go")) + `":"` + filepath.ToSlash(program) + `"}}`
			if err := os.WriteFile(overlay, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(ctx, "go", "run", "-overlay", overlay, "metaq/test/interop/example")
			cmd.Dir = root
			return cmd
		},
	},
}

// ready says whether the language can be tried; where not it says so, and fails in CI.
func (l *language) ready(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skipf("%s is tried by make interop and make test: it needs its client from a registry", l.name)
	}
	for _, command := range l.needs {
		if _, err := exec.LookPath(command); err != nil {
			missing(t, "%s is NOT tested: %s is missing; install it", l.name, command)
		}
	}
	if l.full == "" {
		return
	}
	if _, err := os.Stat(filepath.Join(clients, filepath.Dir(l.full)+".stamp")); err != nil {
		missing(t, "%s is NOT tested: its client is not installed; run make interop", l.name)
	}
}

func missing(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") != "true" {
		t.Skipf(format, args...)
	}
	t.Fatalf(format, args...)
}

// start runs a program against a broker and returns what it printed.
func (l *language) start(t *testing.T, program, server string) string {
	t.Helper()
	libraries, err := filepath.Abs(clients)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := l.run(t, ctx, program, t.TempDir(), libraries)
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, "METAQ_SERVER="+server)
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatalf("%s: %v", l.name, err)
	}
	return string(out)
}

func TestOfficialClients(t *testing.T) {
	for _, l := range languages {
		if l.full == "" {
			continue // Go has tests of its own
		}
		t.Run(l.name, func(t *testing.T) {
			l.ready(t)
			b := process.Start(t, map[string]string{"auto-create-topics": "false"})
			nc := connect(t, b.URL)
			create(t, nc, "one", 1, "")
			create(t, nc, "four", 4, "")
			create(t, nc, "sales", 4, `"subjects":["sales.>"],"key_token":2`)
			if out := l.start(t, l.full, b.URL); !strings.Contains(out, "are as promised") {
				t.Error("the program did not come to its end")
			}
			soldInEurope(t, nc)
		})
	}
}

// soldInEurope checks what a program published to the topic's own subjects: all
// with the key eu, the second token, so in one partition and in order.
func soldInEurope(t *testing.T, nc *nats.Conn) {
	t.Helper()
	partitions := stored(t, nc, "sales")
	var got []string
	for _, list := range partitions {
		for _, m := range list {
			if m.Key == nil || *m.Key != "eu" {
				t.Errorf("%q has the key %v, want eu", *m.Data, m.Key)
			}
			got = append(got, fmt.Sprintf("%v %v %s", m.Headers["Metaq-Subject"], m.Headers["Trace"], *m.Data))
		}
	}
	want := []string{"[sales.eu.new] [] with a reply", "[sales.eu] [] without a reply", "[sales.eu.last] [t] again"}
	if !slices.Equal(got, want) || len(partitions) != 1 {
		t.Errorf("stored are %q in %d partitions, want %q in one", got, len(partitions), want)
	}
}

// The examples of docs/clients.md do what the page says.
func TestTheDocumentsPrograms(t *testing.T) {
	page, err := os.ReadFile("../../docs/clients.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range languages {
		t.Run(l.name, func(t *testing.T) {
			l.ready(t)
			block := regexp.MustCompile("(?ms)^```" + l.fence + "\n(.*?)^```$").FindSubmatch(page)
			if block == nil {
				t.Fatalf("docs/clients.md has no example in %s", l.name)
			}
			dir := t.TempDir()
			program := filepath.Join(dir, l.file)
			if err := os.WriteFile(program, block[1], 0o600); err != nil {
				t.Fatal(err)
			}
			if l.fence == "javascript" { // node looks for packages beside the program
				libraries, err := filepath.Abs(filepath.Join(clients, "js", "node_modules"))
				if err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink(libraries, filepath.Join(dir, "node_modules")); err != nil {
					t.Fatal(err)
				}
			}
			b := process.Start(t, nil)
			nc := connect(t, b.URL)
			create(t, nc, "orders", 1, "")
			out := l.start(t, program, b.URL)
			for _, want := range []string{"orders-0-0 1 false\n", "orders-0-0 1 true\n", `"data":"two apples"`} {
				if !strings.Contains(strings.NewReplacer("False", "false", "True", "true").Replace(out), want) {
					t.Errorf("the output does not say %q", want)
				}
			}
			if got := values(t, nc, "orders"); len(got) != 1 || got[0] != "two apples" {
				t.Errorf("stored are %v", got)
			}
		})
	}
}
