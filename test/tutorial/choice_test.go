//go:build !windows

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const (
	java    = "#!/bin/sh\n"
	fails   = "#!/bin/sh\necho \"$0 was asked: $*\" >&2; exit 1\n"
	works   = "#!/bin/sh\n"
	sudo    = "#!/bin/sh\nexec \"$@\"\n"
	install = "#!/bin/sh\n[ \"$1\" != install ] || cp \"$HERE/java.new\" \"$HERE/java\"\n" // as if Java came with the package
)

// The script sees only these programs, and what it needs of the system.
func TestHowTheTutorialGetsZooKeeper(t *testing.T) {
	for name, c := range map[string]struct {
		programs map[string]string
		want     string   // "" when it must fail
		says     []string // on stderr
	}{
		"all is there":                      {map[string]string{"java": java, "apt-get": fails, "docker": fails}, "java", nil},
		"it can be installed":               {map[string]string{"apt-get": install, "java.new": java, "docker": works}, "java", nil},
		"it cannot be installed":            {map[string]string{"apt-get": fails, "docker": works}, "docker", []string{"in containers"}},
		"no Debian":                         {map[string]string{"docker": works}, "docker", []string{"in containers"}},
		"no Debian and no engine":           {map[string]string{"docker": fails}, "", []string{"needs default-jre-headless", "there is no apt-get", "ZOOKEEPER_CLASSPATH", "start the Docker engine"}},
		"no Debian and no Docker":           {nil, "", []string{"needs default-jre-headless", "ZOOKEEPER_CLASSPATH", "install Docker"}},
		"it cannot be installed, no Docker": {map[string]string{"apt-get": fails}, "", []string{"apt-get was asked: update", "install Docker"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, tool := range []string{"bash", "sh", "dirname", "id", "readlink", "cp"} {
				path, err := exec.LookPath(tool)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink(path, filepath.Join(dir, tool)); err != nil {
					t.Fatal(err)
				}
			}
			program := func(name, text string) {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			program("sudo", sudo)
			for name, text := range c.programs {
				program(name, text)
			}
			cmd := exec.Command("bash", "zookeeper.sh")
			// The jars are there in every case: what is missing is Java.
			cmd.Env = []string{"PATH=" + dir, "HERE=" + dir, "ZOOKEEPER_CLASSPATH=/some/zookeeper.jar"}
			if c.want == "" {
				cmd.Env = cmd.Env[:2]
			}
			var out, said strings.Builder
			cmd.Stdout, cmd.Stderr = &out, &said
			err := cmd.Run()
			if got := strings.TrimSpace(out.String()); got != c.want || (err == nil) != (c.want != "") {
				t.Errorf("it chose %q (%v), not %q:\n%s", got, err, c.want, said.String())
			}
			for _, want := range c.says {
				if !strings.Contains(said.String(), want) {
					t.Errorf("it does not say %q:\n%s", want, said.String())
				}
			}
		})
	}
}
