package module

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

const root = "../.."

// run runs a command in dir and returns what it prints; a failure ends the test.
func run(t *testing.T, dir string, command ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, out)
	}
	return string(out)
}

// The copy holds what a commit of the checkout would, so that nothing which a build or a
// broker leaves behind makes a difference.
func copyCheckout(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	names := run(t, root, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	for name := range strings.SplitSeq(strings.TrimSuffix(names, "\x00"), "\x00") {
		if err := copyFile(filepath.Join(root, name), filepath.Join(dir, name)); err != nil && !os.IsNotExist(err) { // deleted and not yet committed
			t.Fatal(err)
		}
	}
	return dir
}

func modulePath(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimPrefix(first, "module ")
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, info.Mode().Perm()|0o200)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Close()
}

func TestOneCommandRenamesTheModule(t *testing.T) {
	if testing.Short() {
		t.Skip("it compiles what the broker is made of once more, under another path")
	}
	if runtime.GOOS == "windows" {
		t.Skip("the script is written for bash and perl")
	}
	dir, old := copyCheckout(t), modulePath(t)
	t.Setenv("CGO_ENABLED", "0")
	t.Setenv("GOFLAGS", "-trimpath") // what the modules depend on is in the build cache, from `make build`
	const moved = "example.org/metaq"
	run(t, dir, "scripts/rename-module.sh", moved)

	if got, want := strings.Fields(run(t, dir, "go", "list", "-m")), []string{moved, moved + "/test/bench", moved + "/test/interop"}; strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("the modules are %q, want %q", got, want)
	}
	// Each import of each package and of its tests is found, and the broker, the client and its
	// tests compile.
	everything := []string{"go", "list", "-deps", "-test", "./...", "./test/bench/...", "./test/interop/..."}
	run(t, dir, everything...)
	run(t, dir, "go", "build", "-o", os.DevNull, "./cmd/metaq")
	run(t, dir, "go", "vet", "./client", "./internal/arch")
	run(t, dir, "go", "test", "-run", "TestImportsPointOneWay|TestLibrariesStayWithTheirOwners", "./internal/arch")

	// The path of a package is nowhere spelled in the old way, also where no compiler looks.
	stale := regexp.MustCompile(`(^|[^\w/.~-])` + regexp.QuoteMeta(old) + `/(actors|client|cluster|cmd|configs|internal|persistence|protocol|test|transport)\b`)
	for name := range strings.Lines(run(t, root, "git", "ls-files")) {
		name = strings.TrimSuffix(name, "\n")
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if hit := stale.Find(text); hit != nil {
			t.Errorf("%s still has %q", name, hit)
		}
	}

	// A second move starts from the first one's path.
	run(t, dir, "scripts/rename-module.sh", "example.com/queue")
	run(t, dir, everything...)
}

func TestAModulePathIsChecked(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the script is written for bash and perl")
	}
	before := modulePath(t)
	for _, path := range []string{"", "metaq", "example.org/meta q", "https://example.org/metaq", "/example.org", "example.org/metaq/v2"} {
		cmd := exec.CommandContext(t.Context(), "scripts/rename-module.sh", path)
		cmd.Dir = root
		out, err := cmd.CombinedOutput()
		if err == nil || cmd.ProcessState.ExitCode() != 2 || !strings.Contains(string(out), "usage: ") {
			t.Errorf("path %q: exit %v, %s", path, err, out)
		}
	}
	if after := modulePath(t); after != before {
		t.Errorf("a path that was refused changed the module's from %s to %s", before, after)
	}
}
