package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

const reference = "../../docs/command-line.md"

const referenceHead = "# Command line\n\n" +
	"Every command of `metaq`, as its `--help` describes it. A test writes this page from the program (`make golden`). Data\n" +
	"goes to stdout, notices to stderr. Exit code 0 means done, 1 a problem, 2 wrong usage.\n"

// The page about the command line is what the commands say of themselves.
func TestTheCommandLineReference(t *testing.T) {
	var want strings.Builder
	want.WriteString(referenceHead)
	var add func(cmd *cobra.Command)
	add = func(cmd *cobra.Command) {
		if cmd.Name() == "help" {
			return
		}
		var help bytes.Buffer
		cmd.InitDefaultHelpFlag()
		cmd.SetOut(&help)
		if err := cmd.Help(); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&want, "\n## %s\n\n```text\n%s\n```\n", cmd.CommandPath(), strings.TrimRight(help.String(), "\n"))
		for _, c := range cmd.Commands() {
			add(c)
		}
	}
	add(newRoot())
	if *update {
		if err := os.WriteFile(reference, []byte(want.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	is, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.String(), string(is)); diff != "" {
		t.Errorf("docs/command-line.md is not what the commands say; `make golden` writes it (-commands +page):\n%s", diff)
	}
}
