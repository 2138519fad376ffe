package system

import (
	"log/slog"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/prometheus/client_golang/prometheus"

	"metaq/actors"
	"metaq/protocol"
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

	Registry actors.Registry
	// CloseRegistry (optional) ends the registry's connection or file at Stop,
	// after Registry.Leave and the last commit.
	CloseRegistry func() error

	// Cluster (optional) is there when other brokers are, or may come.
	Cluster actors.Cluster

	Logs    actors.LogStore
	Gateway actors.Gateway

	// Topics are the configured topics; Source names where they are configured,
	// for error messages: "server.ini".
	Topics []actors.Topic
	Source string
	// Resolve returns the settings of a topic: its own configuration where it
	// has one, else the broker's. An error names the value and the remedy; it is
	// answered as 400.
	Resolve func(topic string, c protocol.TopicConfig) (actors.Settings, error)
	// Publish hands the gateway a new picture of the routes, at each change, from
	// one goroutine at a time.
	Publish func(*actors.Routes)

	Logger  *slog.Logger
	Metrics prometheus.Registerer // optional
	Events  actors.Events         // optional, see Events
	Now     func() time.Time      // optional, default time.Now
	// Elapsed (optional, default Now) is the clock by which the logs tell ages, in
	// milliseconds: it counts on from run to run, and no correction of Now moves it.
	Elapsed func() int64
	Options actors.Options
}
