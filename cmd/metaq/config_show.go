package main

import (
	"github.com/spf13/cobra"

	"metaq/configs"
	"metaq/internal/cli"
)

func newConfigShow() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show FILE",
		Short: "print every effective value and where it comes from",
		Long: `Prints every value that a broker or a client with FILE would use, and where it
comes from: default, the file's line, or a METAQ_ variable.`,
		Example: `  metaq config show server.ini`,
		Args:    args("the path of a configuration FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			values, _, err := loadFile(args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return cli.WriteJSON(cmd.OutOrStdout(), values)
			}
			return configs.WriteTable(cmd.OutOrStdout(), values)
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}
