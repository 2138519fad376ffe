package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"metaq/client"
	"metaq/internal/cli"
)

// resetFlags are the values of `metaq group reset`.
type resetFlags struct {
	to        target
	topic     string
	place     string
	partition string
	force     bool
	asJSON    bool
}

func newGroupReset() *cobra.Command {
	var f resetFlags
	cmd := &cobra.Command{
		Use:   "reset GROUP --topic TOPIC --to PLACE",
		Short: "move a group's committed offsets in a topic",
		Long: `Moves the committed offsets of a group in a topic and prints the new ones. An
offset below the log start becomes that; one above the end is refused. A group
that does not exist is created, so that its first consumer begins there.

A group with members is not touched: stop them first, or use --force, which
evicts them; they rejoin automatically and continue at the new place.`,
		Example: `  metaq group reset billing --topic orders --to earliest
  metaq group reset billing --topic orders --partition 0-3 --to 1
  metaq group reset billing --topic orders --to 2026-01-02T15:04:05Z --force`,
		Args: args("the name of a GROUP"),
		RunE: func(cmd *cobra.Command, args []string) error { return resetGroup(cmd, args[0], &f) },
	}
	targetFlags(cmd, &f.to)
	jsonFlag(cmd, &f.asJSON)
	cmd.Flags().StringVar(&f.topic, "topic", "", "the topic")
	cmd.Flags().StringVar(&f.place, "to", "", "go to `PLACE`: earliest, latest, an offset, or a time such as 2026-01-02T15:04:05Z")
	cmd.Flags().StringVar(&f.partition, "partition", "", "move this partition only, for example 0-3")
	cmd.Flags().BoolVar(&f.force, "force", false, "evict the members first")
	return cmd
}

func resetGroup(cmd *cobra.Command, group string, f *resetFlags) error {
	if err := groupArg(group); err != nil {
		return err
	}
	if f.topic == "" {
		return cli.Usagef("--topic is missing; name the topic whose offsets move")
	}
	if err := topicArg(f.topic); err != nil {
		return err
	}
	if f.place == "" {
		return cli.Usagef("--to is missing; use earliest, latest, an offset or a time")
	}
	place, err := client.ParseStart(f.place)
	if err != nil {
		return cli.Usage(fmt.Errorf("--to: %w", err))
	}
	partition, err := partitionFlag(f.partition)
	if err != nil {
		return cli.Usage(err)
	}
	var only []client.PartitionID
	if partition != nil {
		only = append(only, *partition)
	}
	return f.to.withAdmin(cmd.Context(), func(a *client.Admin) error {
		moved, err := a.GroupReset(cmd.Context(), group, f.topic, place, f.force, only...)
		if err != nil {
			return adviseTopic(adviseForce(err))
		}
		cmd.PrintErrf("moved group %s in %d partitions of topic %s\n", group, len(moved), f.topic)
		if f.asJSON {
			return cli.WriteJSON(cmd.OutOrStdout(), struct {
				Group   string `json:"group"`
				Offsets any    `json:"offsets"`
			}{group, moved})
		}
		table := cli.Table{Head: []string{"TOPIC", "PARTITION", ">OFFSET"}}
		for i := range moved {
			table.Add(moved[i].Topic, moved[i].Partition, moved[i].Offset)
		}
		return table.Write(cmd.OutOrStdout())
	})
}
