package main

import (
	"github.com/spf13/cobra"

	"metaq/client"
	"metaq/internal/cli"
)

func newTopicInfo() *cobra.Command {
	var (
		to     target
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "info TOPIC",
		Short: "describe a topic and its partitions",
		Long: `Lists the partitions with their home broker, the broker that leads them and its
epoch, the oldest offset that is kept, the offset that comes next, and the bytes
on disk. A leader of -1 means that no broker leads the partition now.`,
		Example: `  metaq topic info orders`,
		Args:    args("the name of a TOPIC"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := topicArg(args[0]); err != nil {
				return err
			}
			return to.withAdmin(cmd.Context(), func(a *client.Admin) error {
				info, err := a.TopicInfo(cmd.Context(), args[0])
				if err != nil {
					return adviseTopic(err)
				}
				if asJSON {
					return cli.WriteJSON(cmd.OutOrStdout(), info)
				}
				table := cli.Table{Head: []string{"PARTITION", ">HOME", ">LEADER", ">EPOCH", ">LOG START", ">END OFFSET", ">BYTES"}}
				for _, p := range info.Partitions {
					table.Add(p.Partition, p.Home, p.Leader, p.Epoch, p.LogStart, p.EndOffset, p.Bytes)
					if p.Error != "" {
						cmd.PrintErrf("metaq: partition %s does not serve: %s\n", p.Partition, p.Error)
					}
				}
				return table.Write(cmd.OutOrStdout())
			})
		},
	}
	targetFlags(cmd, &to)
	jsonFlag(cmd, &asJSON)
	return cmd
}
