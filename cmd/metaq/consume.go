package main

import (
	"context"
	"errors"
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
	instance  string
	broadcast bool
	from      string
	partition string
	o         pipe.ConsumeOptions
}

func newConsume() *cobra.Command {
	var f consumeFlags
	cmd := &cobra.Command{
		Use:   "consume TOPIC",
		Short: "print the messages of a topic",
		Long: `Prints the payload of each message and a newline, from all partitions as
messages arrive; those of one partition are in order. It ends after --count
messages, when no message arrives for --timeout, or on a signal. The exit code
is 1 when a partition could not be read.

With --group it joins that group: the members split the partitions, each
commits what it has printed, and the group resumes there the next time; --from
applies to partitions in which the group has committed nothing. With --instance
it may stop or crash and return within 10s, and no partition moves. On a signal
it commits and, without --instance, leaves.

With --broadcast it receives every message regardless of other members, and
stores its offsets locally, in the messagedir of metaq.ini or of
METAQ_MESSAGE_DIR, under the names of --group and --instance.

With --json it prints one object per line: topic, partition, offset, time, key,
headers, data; or key_base64, headers_base64 and data_base64 where those are
not UTF-8.`,
		Example: `  metaq consume greetings --count 1
  metaq consume clicks --from latest --timeout 1s
  metaq consume orders --group billing --timeout 1s
  metaq consume orders --group all --broadcast --config metaq.ini --timeout 1s
  metaq consume clicks --from 2026-01-02T15:04:05Z --timeout 1s --json`,
		Args: args("the name of a TOPIC"),
		RunE: func(cmd *cobra.Command, args []string) error { return consume(cmd, args[0], &f) },
	}
	targetFlags(cmd, &f.to)
	jsonFlag(cmd, &f.o.JSON)
	cmd.Flags().StringVar(&f.from, "from", "earliest", "begin at `PLACE`: earliest, latest, an offset, or a time such as 2026-01-02T15:04:05Z")
	cmd.Flags().StringVar(&f.partition, "partition", "", "read only `PARTITION`, for example 0-3")
	cmd.Flags().Int64Var(&f.o.Count, "count", 0, "end after `N` messages")
	cmd.Flags().DurationVar(&f.o.Timeout, "timeout", 0, "end when no message arrives for this `DURATION`")
	cmd.Flags().StringVar(&f.group, "group", "", "join `GROUP`, which is created at its first use")
	cmd.Flags().StringVar(&f.instance, "instance", "", "`NAME` of this member across its restarts; one at a time")
	cmd.Flags().BoolVar(&f.broadcast, "broadcast", false, "print every message and keep the offsets here, in messagedir; needs --group")
	return cmd
}

// check refuses flags that cannot be meant.
func (f *consumeFlags) check(cmd *cobra.Command) error {
	grouped := cmd.Flags().Changed("group")
	switch {
	case cmd.Flags().Changed("count") && f.o.Count < 1:
		return fmt.Errorf("--count %d must be above 0; leave it out for no limit", f.o.Count)
	case cmd.Flags().Changed("timeout") && f.o.Timeout <= 0:
		return fmt.Errorf("--timeout %s must be above 0; leave it out for no limit", f.o.Timeout)
	case grouped && f.partition != "":
		return fmt.Errorf("--partition %s: a group divides the partitions among its members; leave out --partition or --group", f.partition)
	case !grouped && f.instance != "":
		return fmt.Errorf("--instance %s is the name of a member of a group; add --group", f.instance)
	case !grouped && f.broadcast:
		return errors.New("--broadcast keeps offsets under the name of a group; add --group")
	case grouped:
		return groupArg(f.group)
	}
	return nil
}

func consume(cmd *cobra.Command, topic string, f *consumeFlags) error {
	if err := topicArg(topic); err != nil {
		return err
	}
	if err := f.check(cmd); err != nil {
		return cli.Usage(err)
	}
	from, err := client.ParseStart(f.from)
	if err != nil {
		return cli.Usagef("--from: %w", err)
	}
	partition, err := partitionFlag(f.partition)
	if err != nil {
		return cli.Usage(err)
	}
	c, err := f.to.connect(cmd.Context())
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, stop := cli.UntilClosed(cmd.Context(), cmd.OutOrStdout())
	defer stop()
	cmd.SetContext(ctx)
	if f.group != "" {
		err := consumeGroup(cmd, c, topic, from, f)
		if errors.Is(err, context.Canceled) && errors.Is(context.Cause(ctx), cli.ErrOutputClosed) {
			return cli.ErrOutputClosed // before the group had taken it in
		}
		return err
	}
	options := []client.ReaderOption{client.StartAt(from)}
	if partition != nil {
		options = append(options, client.ReadPartitions(*partition))
	}
	reader, err := c.NewReader(cmd.Context(), topic, options...)
	if err != nil {
		return adviseTopic(err)
	}
	defer reader.Close()
	if f.o.Timeout == 0 { // else the end tells
		defer sayUnread(cmd.Context(), topic, reader.Positions, func(err error) { cmd.PrintErrf("metaq: %v\n", err) })()
	}
	start := time.Now()
	n, err := pipe.Consume(cmd.Context(), reader, cmd.OutOrStdout(), f.o)
	printed(cmd, n, start, err)
	if err == nil && cmd.Context().Err() == nil && (f.o.Count == 0 || n < f.o.Count) {
		err = unread(topic, reader.Positions())
	}
	return cli.Advise(adviseTopic(err), client.ErrOutOfRange, "`metaq topic info %s` shows what each partition holds; name one with --partition", topic)
}

// printed says how many messages were printed, unless nobody knows how many the
// reader of a closed pipe took.
func printed(cmd *cobra.Command, n int64, start time.Time, err error) {
	if !errors.Is(err, cli.ErrOutputClosed) && !errors.Is(context.Cause(cmd.Context()), cli.ErrOutputClosed) {
		cmd.PrintErrf("printed %d messages in %s\n", n, cli.Short(time.Since(start)))
	}
}

// unread returns why partitions could not be read just now, or nil. Without it a
// partition that does not serve would look like one that has no more messages.
func unread(topic string, positions []client.Position) error {
	var errs []error
	for _, p := range positions {
		if p.Err != nil {
			errs = append(errs, fmt.Errorf("%s %s was not read to its end: %w", topic, p.Partition, p.Err))
		}
	}
	return errors.Join(errs...)
}
