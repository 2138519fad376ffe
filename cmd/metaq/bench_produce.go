package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"metaq/client"
	"metaq/internal/bench"
	"metaq/internal/cli"
	"metaq/protocol"
)

// benchProduceFlags are the values of `metaq bench produce`.
type benchProduceFlags struct {
	to          target
	asJSON      bool
	o           bench.ProduceOptions
	batch       int
	compression string
	timeout     time.Duration
}

func newBenchProduce() *cobra.Command {
	var f benchProduceFlags
	cmd := &cobra.Command{
		Use:   "produce [TOPIC]",
		Short: "send messages as fast as they are acknowledged",
		Long: `Sends messages to TOPIC (default ` + benchTopic + `) and waits for all acknowledgements.
The latency is the time from sending a message to its acknowledgement; a smaller
--window gives shorter ones and fewer messages a second.`,
		Example: `  metaq bench produce --count 10000 --size 100
  metaq bench produce bench --count 1000 --producers 2 --window 10 --json`,
		Args: optionalTopic,
		RunE: func(cmd *cobra.Command, args []string) error { return benchProduce(cmd, topicOrBench(args), &f) },
	}
	targetFlags(cmd, &f.to)
	jsonFlag(cmd, &f.asJSON)
	cmd.Flags().Int64Var(&f.o.Count, "count", 1_000_000, "messages to send")
	cmd.Flags().IntVar(&f.o.Size, "size", 128, "bytes of a message")
	cmd.Flags().IntVar(&f.o.Window, "window", 10_000, "messages on their way at once, for each producer")
	cmd.Flags().IntVar(&f.o.Producers, "producers", 1, "producers, each with a connection of its own")
	cmd.Flags().IntVar(&f.batch, "batch", 256<<10, "bytes at which a batch is full")
	cmd.Flags().StringVar(&f.compression, "compression", "none", "none, s2 or zstd")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 30*time.Second, "how long one message may take until it is acknowledged")
	return cmd
}

func (f *benchProduceFlags) options() ([]client.ProducerOption, error) {
	for _, n := range []struct {
		flag  string
		value int64
	}{
		{"count", f.o.Count},
		{"size", int64(f.o.Size)},
		{"window", int64(f.o.Window)},
		{"producers", int64(f.o.Producers)},
		{"batch", int64(f.batch)},
		{"timeout", int64(f.timeout)},
	} {
		if n.value < 1 {
			return nil, fmt.Errorf("--%s %d must be above 0", n.flag, n.value)
		}
	}
	compression, err := protocol.ParseCompression(f.compression)
	if err != nil {
		return nil, err
	}
	return []client.ProducerOption{
		client.WithCompression(compression), client.WithBatchBytes(f.batch), client.WithDeliveryTimeout(f.timeout),
	}, nil
}

func benchProduce(cmd *cobra.Command, topic string, f *benchProduceFlags) error {
	if err := topicArg(topic); err != nil {
		return err
	}
	options, err := f.options()
	if err != nil {
		return cli.Usage(err)
	}
	var clients []*client.Client
	defer func() {
		for _, c := range slices.Backward(clients) {
			c.Close()
		}
	}()
	f.o.Topic, f.o.Progress = topic, cli.NewProgress(cmd.ErrOrStderr())
	f.o.New = func() (*client.Producer, error) {
		c, err := f.to.connect(cmd.Context())
		if err != nil {
			return nil, err
		}
		clients = append(clients, c)
		return c.NewProducer(options...)
	}
	report, err := bench.Produce(cmd.Context(), f.o)
	if err != nil {
		return adviseTopic(err)
	}
	if f.asJSON {
		return cli.WriteJSON(cmd.OutOrStdout(), report)
	}
	return report.Write(cmd.OutOrStdout())
}
