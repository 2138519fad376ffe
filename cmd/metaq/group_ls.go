package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"metaq/client"
	"metaq/internal/cli"
)

func newGroupLs() *cobra.Command {
	var (
		to     target
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "list the consumer groups",
		Example: `  metaq group ls
  metaq group ls --json`,
		Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return to.withAdmin(cmd.Context(), func(a *client.Admin) error {
				list, err := a.GroupList(cmd.Context())
				if err != nil {
					return err
				}
				for _, id := range list.Silent {
					if _, err := fmt.Fprintf(cmd.ErrOrStderr(), "broker %d did not answer: groups may be missing\n", id); err != nil {
						return err
					}
				}
				if asJSON {
					return cli.WriteJSON(cmd.OutOrStdout(), list)
				}
				table := cli.Table{Head: []string{"GROUP", ">MEMBERS", ">GENERATION", "TOPICS"}}
				for _, g := range list.Groups {
					table.Add(g.Group, g.Members, g.Generation, strings.Join(g.Topics, ","))
				}
				return table.Write(cmd.OutOrStdout())
			})
		},
	}
	targetFlags(cmd, &to)
	jsonFlag(cmd, &asJSON)
	return cmd
}
