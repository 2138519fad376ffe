package main

import (
	"github.com/spf13/cobra"

	"metaq/client"
)

func newGroupDelete() *cobra.Command {
	var (
		to    target
		force bool
	)
	cmd := &cobra.Command{
		Use:   "delete GROUP",
		Short: "forget a group and its committed offsets",
		Long: `Forgets a group and its committed offsets; messages stay. A group that has
members is not touched, unless --force puts them out; they join again by
themselves, as a new group.`,
		Example: `  metaq group delete billing`,
		Args:    args("the name of a GROUP"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := groupArg(args[0]); err != nil {
				return err
			}
			return to.withAdmin(cmd.Context(), func(a *client.Admin) error {
				if err := a.GroupDelete(cmd.Context(), args[0], force); err != nil {
					return adviseForce(err)
				}
				cmd.PrintErrf("deleted group %s\n", args[0])
				return nil
			})
		},
	}
	targetFlags(cmd, &to)
	cmd.Flags().BoolVar(&force, "force", false, "evict the members first")
	return cmd
}
