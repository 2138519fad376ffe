package main

import "github.com/spf13/cobra"

func newBench() *cobra.Command {
	return noun(&cobra.Command{
		Use:     "bench",
		Short:   "put a topic under load and measure it",
		Example: `  metaq bench produce --count 1000`,
	}, newBenchProduce(), newBenchConsume())
}

// benchTopic is where `metaq bench` works when no topic is named.
const benchTopic = "bench"

// optionalTopic accepts one argument, the topic, or none.
func optionalTopic(cmd *cobra.Command, got []string) error {
	if len(got) == 0 {
		return nil
	}
	return args("the name of a TOPIC")(cmd, got)
}

func topicOrBench(args []string) string {
	if len(args) > 0 {
		return args[0]
	}
	return benchTopic
}
