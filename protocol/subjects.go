package protocol

import "strings"

// DefaultPrefix is the first token of every subject of the system.
const DefaultPrefix = "metaq"

// Headers of a message that the broker understands.
const (
	HeaderKey       = "Metaq-Key"       // the record's key; chooses the partition
	HeaderAttribute = "Metaq-Attribute" // MetaQ's message attribute; counts in MetaQ positions
	HeaderSubject   = "Metaq-Subject"   // of a topic that listens: the subject that the message was published to
)

// JetStream's publish headers that the broker carries out. It keeps them with the
// message.
const (
	HeaderMsgID        = "Nats-Msg-Id"
	HeaderExpectStream = "Nats-Expected-Stream"
	HeaderExpectSeq    = "Nats-Expected-Last-Sequence"
	HeaderExpectMsgID  = "Nats-Expected-Last-Msg-Id"
)

// Operations on topics and partitions: the second token of a subject.
const (
	OpPut     = "put"
	OpBatch   = "batch"
	OpGet     = "get"
	OpOffsets = "offsets"
)

// Subjects builds the subject names under one prefix. The zero value uses
// DefaultPrefix.
type Subjects struct {
	Prefix string // one or more tokens, without the final dot
}

func (s Subjects) prefix() string {
	if s.Prefix == "" {
		return DefaultPrefix
	}
	return s.Prefix
}

// Put is where one message is put when the broker picks the partition.
func (s Subjects) Put(topic string) string { return s.prefix() + ".put." + topic }

// Partition is the subject of an operation on one partition: OpPut, OpBatch,
// OpGet or OpOffsets. Only the partition's leader subscribes to it.
func (s Subjects) Partition(op, topic string, p PartitionID) string {
	return s.prefix() + "." + op + "." + topic + "." + p.String()
}

// Group is the subject of a request to a group's coordinator.
func (s Subjects) Group(group, verb string) string {
	return s.prefix() + ".group." + group + "." + verb
}

// Admin is the subject of an administration request, such as ("topic", "create").
func (s Subjects) Admin(noun, verb string) string {
	return s.prefix() + ".admin." + noun + "." + verb
}

// Node is the subject on which one broker reaches an actor of another. It is
// closed to clients.
func (s Subjects) Node(broker, actor string) string {
	return s.prefix() + ".node." + broker + "." + actor
}

// Inside says whether subject belongs to the system's own name space. A reply
// subject in there is refused: an answer must never become a request.
func (s Subjects) Inside(subject string) bool {
	p := s.prefix()
	return subject == p || strings.HasPrefix(subject, p) && len(subject) > len(p) && subject[len(p)] == '.'
}
