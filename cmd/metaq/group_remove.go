package main

import (
	"github.com/spf13/cobra"

	"metaq/client"
	"metaq/internal/cli"
)

func newGroupRemove() *cobra.Command {
	var (
		to       target
		instance string
	)
	cmd := &cobra.Command{
		Use:   "remove GROUP --instance NAME",
		Short: "free the partitions of a static member that does not come back",
		Long: `Evicts a static member from a group. A member that was stopped keeps its
partitions for its session, 10s unless it asked for more, so that it can return
to them; this gives them to the others at once. A running member rejoins.`,
		Example: `  metaq group remove billing --instance till-1`,
		Args:    args("the name of a GROUP"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := groupArg(args[0]); err != nil {
				return err
			}
			if instance == "" {
				return cli.Usagef("--instance is missing; name the static member: see metaq group info %s", args[0])
			}
			return to.withAdmin(cmd.Context(), func(a *client.Admin) error {
				if err := a.GroupRemove(cmd.Context(), args[0], instance); err != nil {
					return err
				}
				cmd.PrintErrf("removed instance %s of group %s\n", instance, args[0])
				return nil
			})
		},
	}
	targetFlags(cmd, &to)
	cmd.Flags().StringVar(&instance, "instance", "", "`NAME` of the static member")
	return cmd
}
