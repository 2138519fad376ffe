package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"metaq/protocol"
)

func newTopic() *cobra.Command {
	return noun(&cobra.Command{
		Use:     "topic",
		Short:   "create, list, describe, change and delete topics",
		Example: `  metaq topic ls`,
	}, newTopicCreate(), newTopicLs(), newTopicInfo(), newTopicSet(), newTopicDelete())
}

// topicConfigFlags adds the settings that a topic may have for itself, and
// returns a function that gives those which the user set.
func topicConfigFlags(flags *pflag.FlagSet) func() protocol.TopicConfig {
	deletePolicy := flags.String("delete-policy", "", "what happens to old segments: `delete,AGE` or archive,AGE")
	deleteWhen := flags.String("delete-when", "", "when old segments are looked for: a Quartz `CRON`, seconds first")
	retention := sizeFlag(flags, "retention-bytes", "most bytes that a partition keeps, such as 10GiB; 0 = no limit")
	segment := sizeFlag(flags, "max-segment-size", "bytes at which a new segment begins, such as 64MiB")
	threshold := flags.Int("unflush-threshold", 0, "messages acknowledged before a sync; 0 = acknowledge after the sync")
	interval := millisFlag(flags, "unflush-interval", "time until a sync when unflush-threshold is above 0, such as 10s")
	publish := flags.Bool("accept-publish", true, "accept messages")
	subscribe := flags.Bool("accept-subscribe", true, "serve readers")
	window := millisFlag(flags, "duplicate-window", "how long a repeated Nats-Msg-Id is recognised, such as 2m; 0 = not at all")
	subjects := flags.StringSlice("subjects", nil, "`SUBJECTS` of existing publishers to listen to, such as orders.>,billing.*")
	token := flags.Int("key-token", 0, "token of such a subject, from 1, that is the message's key; 0 = none")
	return func() protocol.TopicConfig {
		return protocol.TopicConfig{
			DeletePolicy:     given(flags, "delete-policy", deletePolicy),
			DeleteWhen:       given(flags, "delete-when", deleteWhen),
			RetentionBytes:   given(flags, "retention-bytes", retention),
			MaxSegmentSize:   given(flags, "max-segment-size", segment),
			UnflushThreshold: given(flags, "unflush-threshold", threshold),
			UnflushInterval:  given(flags, "unflush-interval", interval),
			DuplicateWindow:  given(flags, "duplicate-window", window),
			Subjects:         given(flags, "subjects", subjects),
			KeyToken:         given(flags, "key-token", token),
			AcceptPublish:    given(flags, "accept-publish", publish),
			AcceptSubscribe:  given(flags, "accept-subscribe", subscribe),
		}
	}
}

// given returns value if the flag was set, else nil.
func given[T any](flags *pflag.FlagSet, name string, value *T) *T {
	if !flags.Changed(name) {
		return nil
	}
	return value
}
