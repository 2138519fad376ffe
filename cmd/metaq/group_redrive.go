package main

import (
	"errors"

	"github.com/spf13/cobra"

	"metaq/client"
	"metaq/internal/cli"
)

func newGroupRedrive() *cobra.Command {
	var (
		to    target
		topic string
	)
	cmd := &cobra.Command{
		Use:   "redrive GROUP --topic TOPIC",
		Short: "put a group's dead letters back into their topic",
		Long: `Puts the messages of the topic <TOPIC>_dlq_<GROUP>, where those went that the
group could not process, back into TOPIC: all that are there now and that were
not put back before. Every group of TOPIC gets them again.

How far that came are the offsets of a group with the name of the dead-letter
topic. After an interruption some messages may be put back twice.`,
		Example: `  metaq group redrive billing --topic orders`,
		Args:    args("the name of a GROUP"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := groupArg(args[0]); err != nil {
				return err
			}
			if topic == "" {
				return cli.Usagef("--topic is missing; name the topic that they came from")
			}
			if err := topicArg(topic); err != nil {
				return err
			}
			if err := topicArg(client.DeadLetterTopic(topic, args[0])); err != nil {
				return err
			}
			c, err := to.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer c.Close()
			n, err := c.Redrive(cmd.Context(), args[0], topic)
			if !errors.Is(err, client.ErrNoTopic) && !errors.Is(err, client.ErrNoGroup) {
				cmd.PrintErrf("put %d messages back into topic %s\n", n, topic)
			}
			return adviseTopic(err)
		},
	}
	targetFlags(cmd, &to)
	cmd.Flags().StringVar(&topic, "topic", "", "the topic that they came from")
	return cmd
}
