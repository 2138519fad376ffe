package main

import (
	"strings"

	"github.com/spf13/cobra"

	"metaq/client"
	"metaq/internal/cli"
	"metaq/protocol"
)

func newGroupLs() *cobra.Command {
	var (
		to     target
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "list the groups that the broker coordinates",
		Example: `  metaq group ls
  metaq group ls --json`,
		Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return to.withAdmin(cmd.Context(), func(a *client.Admin) error {
				groups, err := a.GroupList(cmd.Context())
				if err != nil {
					return err
				}
				if asJSON {
					return cli.WriteJSON(cmd.OutOrStdout(), protocol.GroupList{Groups: append([]protocol.GroupSummary{}, groups...)})
				}
				table := cli.Table{Head: []string{"GROUP", ">MEMBERS", ">GENERATION", "TOPICS"}}
				for _, g := range groups {
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
