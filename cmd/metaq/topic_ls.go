package main

import (
	"github.com/spf13/cobra"

	"metaq/client"
	"metaq/internal/cli"
	"metaq/protocol"
)

func newTopicLs() *cobra.Command {
	var (
		to     target
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "list the topics",
		Example: `  metaq topic ls
  metaq topic ls --json`,
		Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return to.withAdmin(cmd.Context(), func(a *client.Admin) error {
				topics, err := a.ListTopics(cmd.Context())
				if err != nil {
					return err
				}
				if asJSON {
					return cli.WriteJSON(cmd.OutOrStdout(), protocol.TopicList{Topics: append([]protocol.TopicSummary{}, topics...)})
				}
				table := cli.Table{Head: []string{"TOPIC", ">PARTITIONS", ">MESSAGES", ">BYTES"}}
				for _, t := range topics {
					table.Add(t.Topic, t.Partitions, t.Messages, t.Bytes)
				}
				return table.Write(cmd.OutOrStdout())
			})
		},
	}
	targetFlags(cmd, &to)
	jsonFlag(cmd, &asJSON)
	return cmd
}
