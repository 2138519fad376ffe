package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"metaq/client"
	"metaq/internal/cli"
	"metaq/internal/pipe"
)

// consumeFlags are the values of `metaq consume`.
type consumeFlags struct {
	to        target
	group     string
	from      string
	partition string
	o         pipe.ConsumeOptions
}

func newConsume() *cobra.Command {
	var f consumeFlags
	cmd := &cobra.Command{
		Use:   "consume TOPIC",
		Short: "print the messages of a topic",
		Long: `Prints the payload of each message and a newline, from all partitions as they
come; those of one partition are in order. It ends after --count messages, or
when no new one came for --timeout; without either it goes on until a signal.

With --json it prints an object a line: topic, partition, offset, time, key,
headers, data, or data_base64 where the payload is not UTF-8.`,
		Example: `  metaq consume greetings --count 1
  metaq consume clicks --from latest --timeout 1s
  metaq consume clicks --from 2026-01-02T15:04:05Z --timeout 1s --json`,
		Args: args("the name of a TOPIC"),
		RunE: func(cmd *cobra.Command, args []string) error { return consume(cmd, args[0], &f) },
	}
	targetFlags(cmd, &f.to)
	jsonFlag(cmd, &f.o.JSON)
	cmd.Flags().StringVar(&f.from, "from", "earliest", "begin at `PLACE`: earliest, latest, an offset, or a time such as 2026-01-02T15:04:05Z")
	cmd.Flags().StringVar(&f.partition, "partition", "", "read this partition only, for example 0-3")
	cmd.Flags().Int64Var(&f.o.Count, "count", 0, "end after so many messages")
	cmd.Flags().DurationVar(&f.o.Timeout, "timeout", 0, "end when no new message came for so long")
	cmd.Flags().StringVar(&f.group, "group", "", "not in this release: consumer groups come later")
	return cmd
}

// options reads the flags into what the reader takes.
func (f *consumeFlags) options(cmd *cobra.Command) ([]client.ReaderOption, error) {
	switch {
	case cmd.Flags().Changed("group"):
		return nil, fmt.Errorf("--group %s: consumer groups come with a later release; leave --group out to read all partitions", f.group)
	case cmd.Flags().Changed("count") && f.o.Count < 1:
		return nil, fmt.Errorf("--count %d is not above 0; leave it out for no limit", f.o.Count)
	case cmd.Flags().Changed("timeout") && f.o.Timeout <= 0:
		return nil, fmt.Errorf("--timeout %s is not above 0; leave it out for no limit", f.o.Timeout)
	}
	start, err := client.ParseStart(f.from)
	if err != nil {
		return nil, fmt.Errorf("--from: %w", err)
	}
	options := []client.ReaderOption{client.StartAt(start)}
	partition, err := partitionFlag(f.partition)
	if err != nil {
		return nil, err
	}
	if partition != nil {
		options = append(options, client.ReadPartitions(*partition))
	}
	return options, nil
}

func consume(cmd *cobra.Command, topic string, f *consumeFlags) error {
	if err := topicArg(topic); err != nil {
		return err
	}
	options, err := f.options(cmd)
	if err != nil {
		return cli.Usage(err)
	}
	c, err := f.to.connect(cmd.Context())
	if err != nil {
		return err
	}
	defer c.Close()
	reader, err := c.NewReader(cmd.Context(), topic, options...)
	if err != nil {
		return adviseTopic(err)
	}
	defer reader.Close()
	start := time.Now()
	n, err := pipe.Consume(cmd.Context(), reader, cmd.OutOrStdout(), f.o)
	cmd.PrintErrf("printed %d messages in %s\n", n, cli.Short(time.Since(start)))
	return cli.Advise(adviseTopic(err), client.ErrOutOfRange, "`metaq topic info %s` shows what each partition holds; name one with --partition", topic)
}
