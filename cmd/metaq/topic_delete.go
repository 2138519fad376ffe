package main

import (
	"github.com/spf13/cobra"

	"metaq/client"
)

func newTopicDelete() *cobra.Command {
	var to target
	cmd := &cobra.Command{
		Use:     "delete TOPIC",
		Short:   "delete a topic and its messages",
		Example: `  metaq topic delete orders`,
		Args:    args("the name of a TOPIC"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := topicArg(args[0]); err != nil {
				return err
			}
			return to.withAdmin(cmd.Context(), func(a *client.Admin) error {
				if err := a.DeleteTopic(cmd.Context(), args[0]); err != nil {
					return adviseTopic(err)
				}
				cmd.PrintErrf("deleted topic %s\n", args[0])
				return nil
			})
		},
	}
	targetFlags(cmd, &to)
	return cmd
}
