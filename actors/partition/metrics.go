package partition

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics are those of one broker's partitions. Nothing is counted per message that can be
// counted per flush.
type metrics struct {
	sync       prometheus.Histogram
	stage      *prometheus.HistogramVec
	messagesIn prometheus.Counter
	bytesIn    prometheus.Counter
	messages   prometheus.Counter
	bytes      prometheus.Counter
	partitions *prometheus.GaugeVec
	parked     prometheus.Gauge
	expired    prometheus.Counter
	reopened   prometheus.Counter

	stageAppend, stageSync, stageCommit, stageFetch, stageRead prometheus.Observer
}

// newMetrics registers with r, which may be nil.
func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Namespace: "metaq", Name: name, Help: help})
	}
	buckets := prometheus.ExponentialBuckets(20e-6, 2, 20) // 20 us to 10 s
	m := &metrics{
		sync: f.NewHistogram(prometheus.HistogramOpts{
			Namespace: "metaq", Name: "log_sync_seconds", Buckets: buckets,
			Help: "Time of one sync of a log. A rise means that the disk sets the publish latency.",
		}),
		stage: f.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "metaq", Name: "stage_seconds", Buckets: buckets,
			Help: "Time of one stage of a message's way, see docs/journey.md: once a flush or a get, not once a message. The stage that rises is the bottleneck.",
		}, []string{"stage"}),
		messagesIn: counter("messages_in_total", "Messages committed. A fall under steady load means that producers are refused or gone."),
		bytesIn:    counter("bytes_in_total", "Bytes of the batches committed."),
		messages:   counter("messages_out_total", "Messages handed to readers, those in a batch's unread part included."),
		bytes:      counter("bytes_out_total", "Bytes of the batches handed to readers."),
		partitions: f.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "metaq", Name: "partitions",
			Help: "Partitions of this broker by state. Any in reopening or failed need a look at the broker's log.",
		}, []string{"state"}),
		parked: f.NewGauge(prometheus.GaugeOpts{
			Namespace: "metaq", Name: "parked_fetches",
			Help: "Gets that wait for a message. They are idle consumers; a fall to zero under load means that consumers lag.",
		}),
		expired:  counter("retention_deleted_bytes_total", "Bytes that left the logs by retention."),
		reopened: counter("log_failures_total", "Logs given up after an error of a write or a sync and opened again. A rise means a failing disk."),
	}
	m.stageAppend = m.stage.WithLabelValues("append")
	m.stageSync = m.stage.WithLabelValues("sync")
	m.stageCommit = m.stage.WithLabelValues("commit")
	m.stageFetch = m.stage.WithLabelValues("fetch")
	m.stageRead = m.stage.WithLabelValues("read")
	return m
}

func (m *metrics) synced(d time.Duration) {
	m.sync.Observe(d.Seconds())
	m.stageSync.Observe(d.Seconds())
}

// moved counts a partition that goes from one state to the next.
func (m *metrics) moved(from, to State) {
	m.partitions.WithLabelValues(from.String()).Dec()
	m.partitions.WithLabelValues(to.String()).Inc()
}
