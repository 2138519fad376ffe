package main

import (
	"github.com/spf13/cobra"

	"metaq/client"
	"metaq/internal/cli"
	"metaq/protocol"
)

func newTopicCreate() *cobra.Command {
	var (
		to         target
		partitions int
		asJSON     bool
	)
	cmd := &cobra.Command{
		Use:   "create TOPIC",
		Short: "create a topic",
		Example: `  metaq topic create orders --partitions 4
  metaq topic create audit --retention-bytes 1GiB
  metaq topic create sales --subjects 'sales.>' --key-token 2`,
		Args: args("the name of a TOPIC"),
	}
	targetFlags(cmd, &to)
	jsonFlag(cmd, &asJSON)
	cmd.Flags().IntVar(&partitions, "partitions", 0, "partitions on each broker (default numPartitions of the broker)")
	config := topicConfigFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := topicArg(args[0]); err != nil {
			return err
		}
		if cmd.Flags().Changed("partitions") && (partitions < 1 || partitions > protocol.MaxPartitions) {
			return cli.Usagef("--partitions %d is out of range; use 1 to %d", partitions, protocol.MaxPartitions)
		}
		return to.withAdmin(cmd.Context(), func(a *client.Admin) error {
			info, err := a.CreateTopic(cmd.Context(), protocol.TopicCreate{Topic: args[0], Partitions: partitions, Config: config()})
			if err != nil {
				return cli.Advise(err, client.ErrExists, "`metaq topic set %s` changes it", args[0])
			}
			cmd.PrintErrf("created topic %s with %d partitions\n", info.Topic, len(info.Partitions))
			if asJSON {
				return cli.WriteJSON(cmd.OutOrStdout(), info)
			}
			return nil
		})
	}
	return cmd
}
