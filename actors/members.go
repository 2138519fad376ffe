package actors

import (
	"context"

	"github.com/asynkron/protoactor-go/actor"

	"metaq/protocol"
)

// Members is the cluster as the registry shows it at one moment. It does not change.
type Members struct {
	// Brokers are registered now, sorted by id, this one too. What only they can know
	// (Ready, Registry, limits) is not filled in.
	Brokers []protocol.BrokerInfo
	// Topics of the registry, sorted by name.
	Topics []MemberTopic
}

// MemberTopic is a topic with its partitions on all homes, also those that are away.
type MemberTopic struct {
	Topic
	// Claimed are the partitions that ever had a leader, sorted by PartitionID.Compare.
	Claimed []protocol.PartitionID
	// Behind says that the registry puts partitions of this broker below what was seen
	// of them: it was set back to an older state, and they are to be claimed again.
	Behind bool
}

// Others are the ids of the registered brokers besides home; none when m is nil.
func (m *Members) Others(home int) []int {
	if m == nil {
		return nil
	}
	var ids []int
	for i := range m.Brokers {
		if id := m.Brokers[i].BrokerID; id != home {
			ids = append(ids, id)
		}
	}
	return ids
}

// Broker returns a registered broker.
func (m *Members) Broker(id int) (protocol.BrokerInfo, bool) {
	if m != nil {
		for _, b := range m.Brokers {
			if b.BrokerID == id {
				return b, true
			}
		}
	}
	return protocol.BrokerInfo{}, false
}

// Topic returns a topic, or nil.
func (m *Members) Topic(name string) *MemberTopic {
	if m != nil {
		for i := range m.Topics {
			if m.Topics[i].Name == name {
				return &m.Topics[i]
			}
		}
	}
	return nil
}

// ClaimedBy says whether a broker has claimed partitions of the topic.
func (t *MemberTopic) ClaimedBy(home int) bool {
	for _, id := range t.Claimed {
		if id.Home == home {
			return true
		}
	}
	return false
}

// Fate is what became of a topic that a reading of the registry did not show.
type Fate uint8

// The fates.
const (
	FateThere     Fate = iota // it is there: the reading was older
	FateDeleted               // somebody has deleted it
	FateForgotten             // the registry was set back to a time before the topic
	FateUnclaimed             // it is there, but no claim of this broker's partitions
	FateReplaced              // it was deleted, and another one of its name was made
)

// Cluster is what the actors need of the other brokers. Its calls may be made from
// any goroutine; those with a ctx may block until it ends, so actors make them on a
// worker.
type Cluster interface {
	// Follow has deliver called with the members of the moment, before it returns, and
	// then after each change, from one goroutine at a time, until the broker ends.
	Follow(deliver func(*Members))
	// Leader returns the PID of a partition that another broker leads; it answers
	// *Offsets.
	Leader(topic string, id protocol.PartitionID) *actor.PID
	// PeerTopic, PeerTopics and PeerState ask another broker about itself.
	PeerTopic(ctx context.Context, broker int, topic string) (protocol.TopicInfo, error)
	PeerTopics(ctx context.Context, broker int) (protocol.TopicList, error)
	PeerState(ctx context.Context, broker int) (protocol.NodeState, error)
	// Fate asks the registry what became of a topic.
	Fate(ctx context.Context, topic string) (Fate, error)
}
