package actors

import (
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"metaq/protocol"
)

// Routes is an immutable picture of which partitions there are and who leads
// them. The topics actor makes a new one at each change; the gateway reads the
// newest from any goroutine.
type Routes struct {
	Topics map[string]*TopicRoute
	// Deleting are the topics that are not served any more and not gone either:
	// the deletion may fail, and the name is not free yet.
	Deleting map[string]bool
}

// TopicRoute is one topic in Routes.
type TopicRoute struct {
	Name string
	Born protocol.Epoch // see Topic.Born
	// All is the topic's whole partition list, sorted by PartitionID.Compare;
	// protocol.PartitionOf indexes it.
	All []protocol.PartitionID
	// Leaders has a PID for each partition that is led here or whose leader is
	// known: Leaders[i] leads All[i], nil while nobody does.
	Leaders []*actor.PID
	// Subjects are the filters of other subjects whose messages belong to the topic;
	// KeyToken is as in Settings.
	Subjects        []string
	KeyToken        int
	AcceptPublish   bool
	AcceptSubscribe bool
}

// Leader returns the PID of the partition's leader; known is false when the
// topic has no such partition, and the PID is nil while nobody leads it.
func (t *TopicRoute) Leader(p protocol.PartitionID) (pid *actor.PID, known bool) {
	i, found := slices.BinarySearchFunc(t.All, p, protocol.PartitionID.Compare)
	if !found {
		return nil, false
	}
	return t.Leaders[i], true
}
