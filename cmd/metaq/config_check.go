package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"metaq/configs"
	"metaq/internal/cli"
)

// checked is what `config check --json` prints.
type checked struct {
	File     string           `json:"file"`
	OK       bool             `json:"ok"`
	Mistakes configs.Mistakes `json:"mistakes"`
	Notices  []string         `json:"notices"`
}

func newConfigCheck() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "say every mistake in a server.ini or metaq.ini",
		Long: `Reads FILE, and the METAQ_ variables over it, as a broker or a client does, and
says every mistake at once. A file without sections is a client's metaq.ini.`,
		Example: `  metaq config check server.ini
  metaq config check metaq.ini --json`,
		Args: args("the path of a configuration FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, notices, err := loadFile(args[0])
			if !asJSON {
				for _, n := range notices {
					cmd.PrintErrf("metaq: note: %s\n", n)
				}
				if err == nil {
					_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: ok\n", args[0])
				}
				return err
			}
			result := checked{File: args[0], OK: err == nil, Mistakes: configs.Mistakes{}, Notices: append([]string{}, notices...)}
			if errors.As(err, &result.Mistakes) || err == nil {
				if werr := cli.WriteJSON(cmd.OutOrStdout(), result); werr != nil {
					return werr
				}
			}
			return err
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}
