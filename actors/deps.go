package actors

import (
	"context"
	"iter"
	"log/slog"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/prometheus/client_golang/prometheus"

	"metaq/protocol"
)

// Names of the actors that the gateway addresses, for ActorSystem.NewLocalPID.
const (
	BrokerActor  = "broker"         // DescribeBroker, DescribeCluster
	TopicsActor  = "broker/topics"  // CreateTopic, SetTopic, DeleteTopic, ListTopics, DescribeTopic, AutoCreate
	ClusterActor = "broker/cluster" // GrantProducer
)

// Deps is what Start needs from the assembly (internal/broker). Fields without
// the word "optional" must be set.
type Deps struct {
	// System is the process's actor system, see NewActorSystem. Its address and
	// its address resolvers are set before Start.
	System *actor.ActorSystem
	// BrokerID is the home of the partitions.
	BrokerID int
	// Describe returns what there is to say about this broker: id, version, NATS
	// URL, limits. Started, Registry and Ready are filled in here. It is called
	// from any goroutine, also before the gateway has started.
	Describe func() protocol.BrokerInfo

	Registry Registry
	// CloseRegistry (optional) ends the registry's connection or file at Stop,
	// after Registry.Leave and the last commit.
	CloseRegistry func() error

	// Cluster (optional) is there when other brokers are, or may come.
	Cluster Cluster

	Logs    LogStore
	Gateway Gateway

	// Topics are the configured topics; Source names where they are configured,
	// for error messages: "server.ini".
	Topics []Topic
	Source string
	// Resolve returns the settings of a topic: its own configuration where it
	// has one, else the broker's. An error names the value and the remedy; it is
	// answered as 400.
	Resolve func(topic string, c protocol.TopicConfig) (Settings, error)
	// Publish hands the gateway a new picture of the routes, at each change, from
	// one goroutine at a time.
	Publish func(*Routes)

	Logger  *slog.Logger
	Metrics prometheus.Registerer // optional
	Events  Events                // optional, see Events
	Now     func() time.Time      // optional, default time.Now
	// Elapsed (optional, default Now) is the clock by which the logs tell ages, in
	// milliseconds: it counts on from run to run, and no correction of Now moves it.
	Elapsed func() int64
	Options Options
}

// LogStore opens and removes the logs of partitions. Its calls may block, so
// actors make them on workers; they come from several goroutines, but for one
// partition from one at a time.
type LogStore interface {
	// Open recovers the partition's log, or creates it. All that the log holds is
	// durable when it returns. An error for which Damaged reports true is final,
	// and its text names file and position; after any other it is tried again.
	Open(topic string, id protocol.PartitionID, s Settings) (Log, error)
	// SetAside takes the partition's closed log out of the way, so that a topic
	// of the same name starts empty. It returns nil when there is no log.
	SetAside(topic string, id protocol.PartitionID) error
}

// Gateway is the edge to the network. Start, Drain and Close are called once, in
// this order, from workers. A gateway that cannot go on says so through
// System.Fail.
type Gateway interface {
	// Acknowledge sends acknowledgements, in their order. A nil PID means that nobody
	// waits for that one; the acknowledgement changes when the next is asked for. It is
	// called from any goroutine.
	Acknowledge(all iter.Seq2[*actor.PID, *protocol.PubAck])
	// Start begins to take requests. The routes are published by then.
	Start(ctx context.Context) error
	// Drain stops taking requests and returns when all that were taken have been
	// sent on to their actors; their answers may still be on the way.
	Drain(ctx context.Context) error
	// Close sends the answers that are left and ends the connection.
	Close() error
}

// Schedule says when something is to be done.
type Schedule interface {
	// Next returns the first time after t; false when there is none.
	Next(t time.Time) (time.Time, bool)
}

// Settings are the effective settings of one topic on this broker.
type Settings struct {
	// UnflushThreshold: 0 or less acknowledges after the sync. N > 0 acknowledges
	// after the write and syncs every N records or after UnflushInterval.
	UnflushThreshold int
	// UnflushInterval is the longest time between a write and its sync when
	// UnflushThreshold is above 0; 0 means one second.
	UnflushInterval time.Duration
	// MaxSegmentSize and MaxSegmentAge are for the LogStore; a change counts from
	// the next time the log is opened.
	MaxSegmentSize int64
	MaxSegmentAge  time.Duration

	// DuplicateWindow is how long the id of a message is remembered; 0: not at all.
	// MaxMessageIDs bounds how many a partition remembers; 0 means 1,000,000.
	DuplicateWindow time.Duration
	MaxMessageIDs   int

	// Subjects are those that the topic listens to; KeyToken is the token of the
	// subject, from 1, that is the key of a message that brings none; 0: none is.
	Subjects []string
	KeyToken int

	Retention   Retention
	RetainAt    Schedule // when Retention is applied; nil means never
	NoPublish   bool     // refuse puts
	NoSubscribe bool     // refuse gets
}
