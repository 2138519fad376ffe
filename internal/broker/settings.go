package broker

import (
	"fmt"
	"math"
	"time"

	"metaq/actors"
	"metaq/configs"
	"metaq/protocol"
)

// Bounds of what a topic's own configuration may say; those of server.ini.
const (
	minSegment = 4 << 10
	maxSegment = 2047 << 20
	maxWindow  = 168 * time.Hour

	maxKeyToken = 64
)

// resolve gives the settings of a topic: server.ini's, and over them what the
// registry says of the topic. It implements actors.Deps.Resolve.
func resolve(cfg *configs.Server, zone *time.Location, topic string, c protocol.TopicConfig) (actors.Settings, error) {
	o := cfg.Topic(topic)
	if c.DeletePolicy != nil {
		p, err := configs.ParseDeletePolicy(*c.DeletePolicy)
		if err != nil {
			return actors.Settings{}, fmt.Errorf("delete_policy %q: %w", *c.DeletePolicy, err)
		}
		o.DeletePolicy = p
	}
	if c.DeleteWhen != nil {
		s, err := configs.ParseSchedule(*c.DeleteWhen, zone)
		if err != nil {
			return actors.Settings{}, fmt.Errorf("delete_when %q: %w", *c.DeleteWhen, err)
		}
		o.DeleteWhen = s
	}
	if c.RetentionBytes != nil {
		if o.RetentionBytes = *c.RetentionBytes; o.RetentionBytes < 0 {
			return actors.Settings{}, fmt.Errorf("retention_bytes is %d: use 0 (no limit) or more", o.RetentionBytes)
		}
	}
	if c.MaxSegmentSize != nil {
		if o.MaxSegmentSize = *c.MaxSegmentSize; o.MaxSegmentSize < minSegment || o.MaxSegmentSize > maxSegment {
			return actors.Settings{}, fmt.Errorf("max_segment_size is %d: use %d to %d", o.MaxSegmentSize, minSegment, maxSegment)
		}
	}
	if c.UnflushThreshold != nil {
		if o.UnflushThreshold = *c.UnflushThreshold; o.UnflushThreshold < math.MinInt32 || o.UnflushThreshold > math.MaxInt32 {
			return actors.Settings{}, fmt.Errorf("unflush_threshold is %d: use 0 (acknowledge after the sync) to %d messages", o.UnflushThreshold, math.MaxInt32)
		}
	}
	if c.UnflushInterval != nil {
		if ms := *c.UnflushInterval; ms < 1 || ms > int64(24*time.Hour/time.Millisecond) {
			return actors.Settings{}, fmt.Errorf("unflush_interval is %d: use 1 to 86400000 milliseconds", ms)
		}
		o.UnflushInterval = time.Duration(*c.UnflushInterval) * time.Millisecond
	}
	if c.DuplicateWindow != nil {
		if ms := *c.DuplicateWindow; ms < 0 || ms > int64(maxWindow/time.Millisecond) {
			return actors.Settings{}, fmt.Errorf("duplicate_window is %d: use 0 (off) to %d milliseconds", ms, maxWindow/time.Millisecond)
		}
		o.DuplicateWindow = time.Duration(*c.DuplicateWindow) * time.Millisecond
	}
	if c.Subjects != nil {
		o.Subjects = *c.Subjects
		for _, filter := range o.Subjects {
			if err := (protocol.Subjects{Prefix: cfg.NATS.Prefix}).CheckFilter(filter); err != nil {
				return actors.Settings{}, err
			}
		}
	}
	if c.KeyToken != nil {
		if o.KeyToken = *c.KeyToken; o.KeyToken < 0 || o.KeyToken > maxKeyToken {
			return actors.Settings{}, fmt.Errorf("key_token is %d: use 0 (none) to %d", o.KeyToken, maxKeyToken)
		}
	}
	if c.AcceptPublish != nil {
		o.AcceptPublish = *c.AcceptPublish
	}
	if c.AcceptSubscribe != nil {
		o.AcceptSubscribe = *c.AcceptSubscribe
	}
	return actors.Settings{
		UnflushThreshold: o.UnflushThreshold,
		UnflushInterval:  o.UnflushInterval,
		MaxSegmentSize:   o.MaxSegmentSize,
		MaxSegmentAge:    o.MaxSegmentAge,
		Retention:        retention(o.TopicOptions),
		RetainAt:         o.DeleteWhen,
		DuplicateWindow:  o.DuplicateWindow,
		MaxMessageIDs:    o.MaxMessageIDs,
		Subjects:         o.Subjects,
		KeyToken:         o.KeyToken,
		NoPublish:        !o.AcceptPublish,
		NoSubscribe:      !o.AcceptSubscribe,
	}, nil
}

func retention(o configs.TopicOptions) actors.Retention {
	age := o.DeletePolicy.Age
	if o.DeletePolicy.Action != "" && age == 0 {
		age = 1 // delete,0 lets every closed segment go; to the log 0 would mean: keep all
	}
	return actors.Retention{
		Age: age, Bytes: o.RetentionBytes,
		Archive:  o.DeletePolicy.Action == configs.ActionArchive,
		Compress: o.DeletePolicy.Compress,
	}
}

// configuredTopics are the topics of server.ini. What they set stays there and
// counts through resolve; the registry holds what is set at run time.
func configuredTopics(cfg *configs.Server) []actors.Topic {
	topics := make([]actors.Topic, len(cfg.Topics))
	for i, t := range cfg.Topics {
		topics[i] = actors.Topic{Name: t.Name, Partitions: t.NumPartitions}
	}
	return topics
}

// maxMessage gives the largest message of a topic, without a search.
func maxMessage(cfg *configs.Server) func(string) int {
	own := make(map[string]int, len(cfg.Topics))
	for _, t := range cfg.Topics {
		own[t.Name] = int(t.MaxMessageSize)
	}
	most := int(cfg.System.MaxMessageSize)
	return func(topic string) int {
		if n, ok := own[topic]; ok {
			return n
		}
		return most
	}
}
