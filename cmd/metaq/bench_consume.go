package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"metaq/client"
	"metaq/internal/bench"
	"metaq/internal/cli"
)

// benchConsumeFlags are the values of `metaq bench consume`.
type benchConsumeFlags struct {
	to       target
	asJSON   bool
	from     string
	prefetch int64
	o        bench.ConsumeOptions
}

func newBenchConsume() *cobra.Command {
	var f benchConsumeFlags
	cmd := &cobra.Command{
		Use:   "consume [TOPIC]",
		Short: "read messages as fast as they come",
		Long: `Reads --count messages of TOPIC (default ` + benchTopic + `), or all that it holds now.
The latency is the age of a message when it is read: the delay from producer to
consumer with --from latest, and how old the backlog is otherwise.`,
		Example: `  metaq bench consume
  metaq bench consume bench --count 1000 --json`,
		Args: optionalTopic,
		RunE: func(cmd *cobra.Command, args []string) error { return benchConsume(cmd, topicOrBench(args), &f) },
	}
	targetFlags(cmd, &f.to)
	jsonFlag(cmd, &f.asJSON)
	cmd.Flags().Int64Var(&f.o.Count, "count", 0, "messages to read (default: all that the topic holds now)")
	cmd.Flags().StringVar(&f.from, "from", "earliest", "begin at `PLACE`: earliest, latest, an offset, or a time such as 2026-01-02T15:04:05Z")
	cmd.Flags().Int64Var(&f.prefetch, "window", 16<<20, "bytes that are fetched ahead")
	cmd.Flags().DurationVar(&f.o.Timeout, "timeout", 10*time.Second, "longest wait for the next message")
	return cmd
}

func (f *benchConsumeFlags) options(cmd *cobra.Command) ([]client.ReaderOption, error) {
	switch {
	case cmd.Flags().Changed("count") && f.o.Count < 1:
		return nil, fmt.Errorf("--count %d must be above 0", f.o.Count)
	case f.o.Timeout <= 0:
		return nil, fmt.Errorf("--timeout %s must be above 0", f.o.Timeout)
	case f.prefetch < 1:
		return nil, fmt.Errorf("--window %d must be above 0", f.prefetch)
	}
	start, err := client.ParseStart(f.from)
	if err != nil {
		return nil, fmt.Errorf("--from: %w", err)
	}
	return []client.ReaderOption{client.StartAt(start), client.WithPrefetch(f.prefetch)}, nil
}

func benchConsume(cmd *cobra.Command, topic string, f *benchConsumeFlags) error {
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
	if f.o.Count == 0 {
		if f.o.Count, err = stored(cmd.Context(), c, topic); err != nil {
			return adviseTopic(err)
		}
	}
	reader, err := c.NewReader(cmd.Context(), topic, options...)
	if err != nil {
		return adviseTopic(err)
	}
	defer reader.Close()
	f.o.Topic, f.o.Progress = topic, cli.NewProgress(cmd.ErrOrStderr())
	report, err := bench.Consume(cmd.Context(), reader, f.o)
	if err != nil {
		return err
	}
	if f.asJSON {
		return cli.WriteJSON(cmd.OutOrStdout(), report)
	}
	return report.Write(cmd.OutOrStdout())
}

// stored returns how many messages the topic holds now.
func stored(ctx context.Context, c *client.Client, topic string) (int64, error) {
	info, err := c.Admin().TopicInfo(ctx, topic)
	var n int64
	for _, p := range info.Partitions {
		n += int64(p.EndOffset - p.LogStart)
	}
	return n, err
}
