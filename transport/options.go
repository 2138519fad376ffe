package transport

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"metaq/actors"
	"metaq/protocol"
	"metaq/transport/front"
)

// Options are what a Gateway is made of. Fields without the word "optional"
// must be set.
type Options struct {
	// Connect opens the gateway's NATS connection with the options given:
	// Server.Connect for the embedded server, ConnectURL for another one.
	Connect Dial
	// Front (optional) hands over the requests of clients whose sockets end there:
	// Server.Front for the embedded server.
	Front *front.Front
	// Listens (optional) reports whether anybody listens on a subject of the clients' account:
	// Server.Listens for the embedded server. Without it every client counts as there.
	Listens func(subject string) bool
	// Name is the connection's name in the NATS server's lists.
	Name string
	// Subjects (optional) builds the subjects.
	Subjects protocol.Subjects

	// Total and Partition bound puts in flight, in all and for one partition. Low
	// limits refuse bursts with 429; high ones lengthen the queue and cost memory.
	Total, Partition Limits
	// Reads and PartitionReads bound gets and offset requests in flight, those
	// that wait included. They have bounds of their own, so that readers that wait
	// do not keep producers out.
	Reads, PartitionReads Limits
	// Backlog is the most messages that NATS has delivered and the dispatcher has
	// not looked at. Beyond it the oldest are refused. Default 65,536, at least
	// 8,192.
	Backlog int
	// Admin is the number of administration requests in flight. Default 256.
	Admin int
	// Waiting is the number of topics that may be in creation by a first put.
	// Default 256. Each holds at most the puts that Partition allows.
	Waiting int

	// Cluster (optional) is there when other brokers are, or may come.
	Cluster *ClusterEdge

	// AutoCreate lets a put create its topic.
	AutoCreate bool
	// BrokerID and Partitions say which partitions such a topic has here. Default
	// broker 0 with 4.
	BrokerID, Partitions int
	// MaxMessage returns the largest message of a topic in bytes: payload, key and
	// headers. It is called for each put, or for some that came together, and must be fast.
	MaxMessage func(topic string) int
	// Version (optional) is the release, shown by `nats micro ls`.
	Version string
	// Metadata (optional) is shown by `nats micro info`.
	Metadata map[string]string

	// Fail is called when the connection is lost for good.
	Fail func(error)

	// Events (optional) report each request's hops here, Receive and Route.
	Events actors.Events

	Logger  *slog.Logger
	Metrics prometheus.Registerer // optional
}

func (o *Options) complete() error {
	var errs []error
	need := func(is bool, name string) {
		if !is {
			errs = append(errs, fmt.Errorf("transport: Options.%s is not set", name))
		}
	}
	need(o.Connect != nil, "Connect")
	need(o.Name != "", "Name")
	need(o.MaxMessage != nil, "MaxMessage")
	need(o.Fail != nil, "Fail")
	need(o.Logger != nil, "Logger")
	for name, l := range map[string]Limits{
		"Total": o.Total, "Partition": o.Partition, "Reads": o.Reads, "PartitionReads": o.PartitionReads,
	} {
		need(l.Requests > 0 && l.Bytes > 0, name)
	}
	for _, d := range []struct {
		field *int
		value int
	}{{&o.Backlog, 65_536}, {&o.Admin, 256}, {&o.Waiting, 256}, {&o.Partitions, 4}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	o.Backlog = max(o.Backlog, 2*inOneRead)
	return errors.Join(errs...)
}
