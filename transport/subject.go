package transport

import (
	"fmt"
	"strings"

	"metaq/protocol"
)

// target is what a request's subject names.
type target struct {
	op        string
	topic     string
	partition protocol.PartitionID
	one       bool // the subject names a partition
	heard     bool // published to a subject that the topic listens to
	sentOn    bool // another broker sent it
}

// parseTarget reads <prefix>.<op>.<topic>[.<partition>]. prefix ends in a dot
// and the subject begins with it. The error is the refusal.
func parseTarget(prefix, subject string) (target, error) {
	var t target
	var rest, partition string
	t.op, rest, _ = strings.Cut(subject[len(prefix):], ".")
	t.topic, partition, t.one = strings.Cut(rest, ".")
	if err := protocol.CheckName("topic", t.topic); err != nil {
		return t, protocol.ErrBadName.With("%v", err)
	}
	if !t.one {
		return t, nil
	}
	var err error
	if t.partition, err = protocol.ParsePartitionID(partition); err != nil {
		return t, protocol.ErrBadName.With("%v; a topic name has no dot", err)
	}
	return t, nil
}

// needPartition refuses a request that names no partition.
func (t *target) needPartition() error {
	if t.one {
		return nil
	}
	return protocol.ErrBadName.With("%s wants a partition: send it to ...%s.%s.<partition>, for example %s.0-0",
		t.op, t.op, t.topic, t.topic)
}

// String is for logs.
func (t *target) String() string {
	if t.one {
		return fmt.Sprintf("%s %s %s", t.op, t.topic, t.partition)
	}
	return t.op + " " + t.topic
}
