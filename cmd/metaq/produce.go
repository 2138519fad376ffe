package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"metaq/client"
	"metaq/internal/cli"
	"metaq/internal/lines"
	"metaq/internal/pipe"
	"metaq/protocol"
)

// produceFlags are the values of `metaq produce`.
type produceFlags struct {
	to          target
	separator   string
	partition   string
	file        string
	headers     []string
	compression string
	timeout     time.Duration
	acks        string
}

func newProduce() *cobra.Command {
	var f produceFlags
	cmd := &cobra.Command{
		Use:   "produce TOPIC",
		Short: "send each line of stdin or a file as a message",
		Long: `Sends each line of stdin, or of --file, as a message without its newline, and
waits until all were acknowledged. A broker that goes away is waited for, up to
--timeout for each message, and nothing is stored twice. The last line on stderr
says how many messages were acknowledged; the exit code is 1 if any was not, and
then no line after the first that failed was read.`,
		Example: `  echo "hello" | metaq produce greetings
  echo "user1:clicked" | metaq produce clicks --key-sep : --header source=web
  metaq produce book --file book.txt --compression zstd`,
		Args: args("the name of a TOPIC"),
		RunE: func(cmd *cobra.Command, args []string) error { return produce(cmd, args[0], &f) },
	}
	targetFlags(cmd, &f.to)
	cmd.Flags().StringVar(&f.separator, "key-sep", "", "`CHAR` between key and message; a line without it has no key")
	cmd.Flags().StringVar(&f.partition, "partition", "", "send to this partition, for example 0-3, whatever the key")
	cmd.Flags().StringVar(&f.file, "file", "", "read `FILE` in place of stdin")
	cmd.Flags().StringArrayVar(&f.headers, "header", nil, "header `NAME=VALUE` of every message; may be repeated")
	cmd.Flags().StringVar(&f.compression, "compression", "none", "none, s2 or zstd")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 30*time.Second, "how long one message may take until it is acknowledged")
	cmd.Flags().StringVar(&f.acks, "acks", "", "write the number of each acknowledged line to `FILE`, as soon as it is")
	return cmd
}

// options reads the flags into what Produce and the producer take.
func (f *produceFlags) options(topic string) (o pipe.ProduceOptions, p []client.ProducerOption, err error) {
	o.Topic = topic
	if err = protocol.CheckName("topic", topic); err != nil {
		return o, nil, err
	}
	if o.Separator, err = cli.ParseSeparator(f.separator); err != nil {
		return o, nil, err
	}
	if o.Partition, err = partitionFlag(f.partition); err != nil {
		return o, nil, err
	}
	for _, h := range f.headers {
		header, err := cli.ParseHeader(h)
		if err != nil {
			return o, nil, err
		}
		o.Headers = append(o.Headers, header)
	}
	compression, err := protocol.ParseCompression(f.compression)
	if err != nil {
		return o, nil, err
	}
	if f.timeout <= 0 {
		return o, nil, fmt.Errorf("--timeout %s must be above 0", f.timeout)
	}
	return o, []client.ProducerOption{client.WithCompression(compression), client.WithDeliveryTimeout(f.timeout)}, nil
}

func produce(cmd *cobra.Command, topic string, f *produceFlags) error {
	o, options, err := f.options(topic)
	if err != nil {
		return cli.Usage(err)
	}
	in := cmd.InOrStdin()
	if f.file != "" {
		file, err := os.Open(f.file)
		if err != nil {
			return fmt.Errorf("read messages: %w", err)
		}
		defer func() { _ = file.Close() }() // it was only read
		in = file
	}
	c, err := f.to.connect(cmd.Context())
	if err != nil {
		return err
	}
	defer c.Close()
	broker, err := c.Admin().Ping(cmd.Context())
	if err != nil {
		return err
	}
	producer, err := c.NewProducer(options...)
	if err != nil {
		return err
	}
	// Produce has flushed: what the close says is nothing new.
	defer func() { _ = producer.Close(context.WithoutCancel(cmd.Context())) }()
	if f.acks != "" {
		acks, err := os.Create(f.acks)
		if err != nil {
			return fmt.Errorf("write acknowledged lines: %w", err)
		}
		defer func() { _ = acks.Close() }() // each line was written at once
		o.Acks = acks
	}
	o.Progress = cli.NewProgress(cmd.ErrOrStderr())
	return produceLines(cmd, producer, lines.NewReader(in, broker.MaxMessage), o)
}

func produceLines(cmd *cobra.Command, to pipe.Sender, from *lines.Reader, o pipe.ProduceOptions) error {
	sum, err := pipe.Produce(cmd.Context(), to, from, o)
	if sum.CutShort {
		cmd.PrintErrf("metaq: line %d has no newline at its end; it was sent as it is\n", sum.Lines)
	}
	if sum.Keyless > 0 {
		cmd.PrintErrf("metaq: %d of %d lines have no %q and were sent without a key\n", sum.Keyless, sum.Lines, o.Separator)
	}
	// The summary is the last line, so an error is told here.
	if err != nil {
		cli.Report(cmd.ErrOrStderr(), interrupted(cmd.Context(), adviseTopic(err)))
		err = cli.ErrReported
	}
	cmd.PrintErrln(sum)
	return err
}
