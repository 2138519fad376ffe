package topic

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"metaq/actors"
	"metaq/actors/partition"
	"metaq/protocol"
)

// Deps is what the topics of a broker need from the assembly. What each field is for
// stands at the fields of that name in the system's Deps.
type Deps struct {
	Cluster actors.Cluster // nil: the broker runs alone
	Logs    actors.LogStore
	Topics  []actors.Topic
	Source  string
	Resolve func(topic string, c protocol.TopicConfig) (actors.Settings, error)
	Publish func(*actors.Routes)
	Metrics prometheus.Registerer // optional
}

// Env is what the topics of one broker share. It does not change after the start.
type Env struct {
	*actors.Env
	deps       Deps
	partitions *partition.Env
	unserved   prometheus.Gauge
}

// NewEnv returns what topics share.
func NewEnv(e *actors.Env, partitions *partition.Env, deps Deps) *Env {
	return &Env{
		Env: e, deps: deps, partitions: partitions,
		unserved: promauto.With(deps.Metrics).NewGauge(prometheus.GaugeOpts{
			Namespace: "metaq", Name: "topics_unserved",
			Help: "Topics of the registry that this broker does not serve, since what is set for them cannot be used. Above 0: the log names them.",
		}),
	}
}
