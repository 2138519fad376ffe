package actors

import (
	"time"

	"metaq/protocol"
)

// Names of the actors that the gateway addresses, for ActorSystem.NewLocalPID.
const (
	BrokerActor  = "broker"         // DescribeBroker, DescribeCluster
	TopicsActor  = "broker/topics"  // CreateTopic, SetTopic, DeleteTopic, ListTopics, DescribeTopic, AutoCreate
	ClusterActor = "broker/cluster" // GrantProducer
	GroupsActor  = "groups"         // GroupRequest, ListGroups, ListOwnGroups
)

// Requests to the topics actor. Each is answered like those above.

// CreateTopic asks for a topic. Answer: protocol.TopicInfo.
type CreateTopic struct{ Request protocol.TopicCreate }

// SetTopic changes a topic. Answer: protocol.TopicInfo.
type SetTopic struct{ Request protocol.TopicSet }

// DeleteTopic deletes a topic; its data directories are set aside and removed
// when nobody reads them. Answer: protocol.Done.
type DeleteTopic struct {
	Topic string
	Born  *protocol.Epoch // of the one that is meant; nil: whichever is there
}

// Dated is one of the three requests above with an end: what is looked at later is refused,
// and not carried out.
type Dated struct {
	Request any
	Until   time.Time
	Heard   Heard
}

// Overdue refuses what was to begin by a time; the zero time is never over.
func Overdue(until, now time.Time) error {
	if until.IsZero() || !now.After(until) {
		return nil
	}
	return protocol.ErrUnavailable.With("the request has waited %s longer than clients do: nothing was changed, and this request will not be carried out: try again",
		now.Sub(until).Round(time.Millisecond))
}

// ListTopics asks for all topics. Answer: protocol.TopicList.
type ListTopics struct{}

// DescribeTopic asks for one topic. Answer: protocol.TopicInfo.
type DescribeTopic struct{ Topic string }

// AutoCreate is sent by the gateway when a put names a topic that is not there.
// The topics actor creates it if the broker may, and then answers with
// protocol.TopicInfo, or with protocol.ErrNoTopic.
type AutoCreate struct {
	Topic string
	From  string // the address of the client, where it is known
}

// GrantProducer asks the cluster actor for the id of a new native producer. Answer:
// protocol.ProducerGrant.
type GrantProducer struct{}

// DescribeBroker asks the broker actor for itself. Answer: protocol.BrokerInfo.
type DescribeBroker struct{}

// DescribeCluster asks the broker actor for the cluster. Answer:
// protocol.ClusterInfo.
type DescribeCluster struct{}

// Requests of other brokers.

// DescribeOwn asks the topics actor for this broker's partitions of a topic.
// Answer: protocol.TopicInfo.
type DescribeOwn struct{ Topic string }

// ListOwn asks the topics actor for a summary of this broker's partitions. Answer:
// protocol.TopicList.
type ListOwn struct{}

// DescribeNode asks the broker actor how this broker is. Answer: protocol.NodeState.
type DescribeNode struct{}
