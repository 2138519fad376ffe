package protocol

import "time"

// Requests and replies of metaq.admin.<noun>.<verb>. All are JSON; a refusal
// has the form of ErrorReply.

// TopicConfig are the settings of a topic that may differ from the broker's.
// Nil means: as the broker says. Units are those of server.ini.
type TopicConfig struct {
	DeletePolicy     *string `json:"delete_policy,omitempty"`     // as deletePolicy
	DeleteWhen       *string `json:"delete_when,omitempty"`       // as deleteWhen
	RetentionBytes   *int64  `json:"retention_bytes,omitempty"`   // per partition; 0 = no limit
	MaxSegmentSize   *int64  `json:"max_segment_size,omitempty"`  // bytes
	UnflushThreshold *int    `json:"unflush_threshold,omitempty"` // messages; 0 = acknowledge after fsync
	UnflushInterval  *int64  `json:"unflush_interval,omitempty"`  // milliseconds
	// Subjects are those of existing publishers that the topic listens to, with
	// wildcards; KeyToken is the token of the subject, from 1, that is the key of a
	// message that brings none; 0 = none is.
	Subjects *[]string `json:"subjects,omitempty"`
	KeyToken *int      `json:"key_token,omitempty"`

	DuplicateWindow *int64 `json:"duplicate_window,omitempty"` // milliseconds; 0 = repeated ids are not recognised
	AcceptPublish   *bool  `json:"accept_publish,omitempty"`   // false refuses puts
	AcceptSubscribe *bool  `json:"accept_subscribe,omitempty"` // false refuses gets
}

// TopicCreate asks for a topic: metaq.admin.topic.create.
type TopicCreate struct {
	Topic      string      `json:"topic"`
	Partitions int         `json:"partitions,omitempty"` // per broker; default numPartitions
	Config     TopicConfig `json:"config,omitzero"`
}

// TopicSet changes a topic: metaq.admin.topic.set. Partitions may grow only.
type TopicSet struct {
	Topic      string      `json:"topic"`
	Partitions int         `json:"partitions,omitempty"` // 0 = unchanged
	Config     TopicConfig `json:"config,omitzero"`      // nil fields = unchanged
}

// ListRequest asks for a list: metaq.admin.topic.ls, group.ls and cluster.info.
type ListRequest struct {
	After string `json:"after,omitempty"` // as Page
	Limit int    `json:"limit,omitempty"`
}

// Page is what the request asks for.
func (r ListRequest) Page() Page { return Page(r) }

// TopicName names a topic: metaq.admin.topic.info and .delete.
type TopicName struct {
	Topic string `json:"topic"`
	// Born, in delete, says which topic of the name is meant: one that was made since stays.
	Born *Epoch `json:"born,omitempty"`
	// After and Limit, in info, are for the partitions, see Page.
	After string `json:"after,omitempty"`
	Limit int    `json:"limit,omitempty"`
	// AutoCreate, in info, says that a producer waits to use the topic: a broker
	// that creates topics at first use then creates it.
	AutoCreate bool `json:"auto_create,omitempty"`
}

// TopicList is the answer of metaq.admin.topic.ls: sorted by name.
type TopicList struct {
	Topics []TopicSummary `json:"topics"`
	Next   string         `json:"next,omitempty"` // more follow, see Page
}

// TopicSummary is one topic in a list.
type TopicSummary struct {
	Topic      string `json:"topic"`
	Partitions int    `json:"partitions"` // of the whole cluster
	Messages   int64  `json:"messages"`   // end offsets minus log starts
	Bytes      int64  `json:"bytes"`      // on disk
}

// TopicInfo is the answer of create, set and info.
type TopicInfo struct {
	Topic string `json:"topic"`
	// Born tells topics apart that had the same name one after the other: each has a higher
	// one than those before. Nil: the broker does not say.
	Born       *Epoch          `json:"born,omitempty"`
	Config     TopicConfig     `json:"config"`
	Partitions []PartitionInfo `json:"partitions"`     // sorted by PartitionID.Compare: the order that PartitionOf indexes
	Next       string          `json:"next,omitempty"` // more follow, see Page
}

// PartitionInfo describes one partition. Where no leader answers, Leader is -1
// and the numbers are those last known or 0.
type PartitionInfo struct {
	Partition PartitionID `json:"partition"`
	Home      int         `json:"home"`
	Leader    int         `json:"leader"`
	Epoch     Epoch       `json:"epoch"`
	LogStart  Offset      `json:"log_start"`
	EndOffset Offset      `json:"end_offset"`
	Bytes     int64       `json:"bytes"`
	Error     string      `json:"error,omitempty"` // why the partition does not serve: file and position of damage
}

// Done is the answer of a request that has nothing to tell.
type Done struct {
	OK bool `json:"ok"`
}

// BrokerInfo is the answer of metaq.admin.broker.info (asked of any broker, it
// answers for itself) and an entry of ClusterInfo.
type BrokerInfo struct {
	BrokerID   int       `json:"broker_id"`
	Version    string    `json:"version"`
	NATS       string    `json:"nats"`     // URL for clients
	Registry   string    `json:"registry"` // "local", or the ZooKeeper server it is connected to
	Started    time.Time `json:"started"`
	Ready      bool      `json:"ready"`
	MaxPayload int64     `json:"max_payload"` // bytes of one NATS message
	MaxMessage int       `json:"max_message"` // bytes of one message's payload, key and headers
	// Trouble says what a broker that is ready cannot do, for people: its disk is full.
	Trouble string `json:"trouble,omitempty"`
}

// ClusterInfo is the answer of metaq.admin.cluster.info.
type ClusterInfo struct {
	Brokers    []BrokerInfo      `json:"brokers"`
	Failed     []FailedPartition `json:"failed"`     // partitions that have stopped, with the reason
	Leaderless []FailedPartition `json:"leaderless"` // partitions whose leader does not answer
	// Next says that more follow, see Page: brokers come first, then those that have
	// failed, then those without a leader.
	Next string `json:"next,omitempty"`
}

// NodeState is how one broker answers another that asks how it is.
type NodeState struct {
	Broker BrokerInfo        `json:"broker"`
	Failed []FailedPartition `json:"failed"` // of its own partitions
	Next   string            `json:"next,omitempty"`
}

// LeaseAsk is what a broker asks another one about the lease of a coordinator, as its record
// of a version has it: to promise that nobody takes over with its consent for PromiseMs,
// because the registry cannot be reached, or, without PromiseMs, to consent that somebody
// does.
type LeaseAsk struct {
	Broker    int    `json:"broker"` // whose lease
	Version   int32  `json:"version"`
	Run       string `json:"run"` // of the broker that is asked: a later one has forgotten what it consented to
	PromiseMs int64  `json:"promise_ms,omitempty"`
}

// LeaseAnswer answers a LeaseAsk.
type LeaseAnswer struct {
	Granted bool `json:"granted"`
	Sees    bool `json:"sees,omitempty"` // the registry answers the broker that was asked
}

// ProducerGrant is the answer of metaq.admin.producer.id: who a new native producer
// is. The id is above 0, below 2^52, and nobody else's.
type ProducerGrant struct {
	Producer int64 `json:"producer"`
	Epoch    int16 `json:"epoch"`
}

// FailedPartition names a partition that does not serve and says why.
type FailedPartition struct {
	Topic     string      `json:"topic"`
	Partition PartitionID `json:"partition"`
	Error     string      `json:"error"`
}
