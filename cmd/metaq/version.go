package main

import (
	"fmt"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"metaq/internal/cli"
)

func newVersion() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "print the version",
		Example: `  metaq version --json`,
		Args:    args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := struct {
				Version  string `json:"version"`
				Go       string `json:"go"`
				Platform string `json:"platform"`
			}{version(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
			if asJSON {
				return cli.WriteJSON(cmd.OutOrStdout(), v)
			}
			_, err := fmt.Fprint(cmd.OutOrStdout(), versionLine())
			return err
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

// versionLine is what `metaq version` and `metaq --version` print.
func versionLine() string {
	return fmt.Sprintf("metaq %s (%s, %s/%s)\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// release is the version that the source will be, or is, released as.
const release = "0.1.0-dev"

// described is what `git describe --tags --always --dirty` says of the source;
// `make build` sets it.
var described string

// version is the release, and in a build of `make` the commit that it was built
// from, unless that has a tag.
func version() string {
	if tag, ok := strings.CutPrefix(described, "v"); ok {
		return tag
	}
	if described != "" {
		return release + "+" + described
	}
	return release
}
