package main

import (
	"github.com/spf13/cobra"

	"metaq/client"
	"metaq/internal/cli"
	"metaq/protocol"
)

func newTopicSet() *cobra.Command {
	var (
		to         target
		partitions int
		asJSON     bool
	)
	cmd := &cobra.Command{
		Use:   "set TOPIC",
		Short: "change a topic's settings, or add partitions",
		Long: `Changes the settings that are given and leaves the others as they are.
Partitions may become more, not fewer; keys then go to other partitions than
before.`,
		Example: `  metaq topic set orders --retention-bytes 1GiB
  metaq topic set orders --partitions 8`,
		Args: args("the name of a TOPIC"),
	}
	targetFlags(cmd, &to)
	jsonFlag(cmd, &asJSON)
	cmd.Flags().IntVar(&partitions, "partitions", 0, "partitions on each broker")
	config := topicConfigFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := topicArg(args[0]); err != nil {
			return err
		}
		changes := config()
		switch {
		case cmd.Flags().Changed("partitions") && (partitions < 1 || partitions > protocol.MaxPartitions):
			return cli.Usagef("--partitions %d is out of range; use 1 to %d", partitions, protocol.MaxPartitions)
		case partitions == 0 && changes == (protocol.TopicConfig{}):
			return cli.Usagef("nothing to change; name a setting, for example --partitions 8 (see `metaq topic set --help`)")
		}
		return to.withAdmin(cmd.Context(), func(a *client.Admin) error {
			info, err := a.SetTopic(cmd.Context(), protocol.TopicSet{Topic: args[0], Partitions: partitions, Config: changes})
			if err != nil {
				return adviseTopic(err)
			}
			cmd.PrintErrf("changed topic %s\n", info.Topic)
			if asJSON {
				return cli.WriteJSON(cmd.OutOrStdout(), info)
			}
			return nil
		})
	}
	return cmd
}
