package broker

import (
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"metaq/configs"
	"metaq/persistence"
)

// How the descriptors of the process are divided. The sockets of clients come first, and log
// files get what is left: they can be closed and opened again, a client cannot. The reserve
// is for everything else: listeners, the registry, other brokers, the metrics port, files
// that are open for a moment, and the operator who looks why it is so full.
const (
	clientShare = 70 // percent, at most
	reserved    = 32 // fewer where there are few: a sixth

	leastLogFiles   = 8      // below it appends only wait for one another
	unknownLogFiles = 10_000 // where the system does not tell how many there are
)

// shares are how many clients and how many log files there may be at a time.
type shares struct{ clients, logFiles int }

// divide divides the descriptors, 0 when their number is not known. clients and logFiles are the
// configured limits; for logFiles 0 means what is left.
func divide(descriptors, clients, logFiles int) shares {
	if descriptors == 0 {
		if logFiles == 0 {
			logFiles = unknownLogFiles
		}
		return shares{clients, max(leastLogFiles, logFiles)}
	}
	clients = max(1, min(clients, descriptors*clientShare/100))
	left := descriptors - clients - min(reserved, descriptors/6)
	if logFiles == 0 || logFiles > left {
		logFiles = left
	}
	return shares{clients, max(leastLogFiles, logFiles)}
}

// share divides the descriptors of this process, and tells when a limit that is configured
// cannot be had.
func share(cfg *configs.Server, log *slog.Logger) shares {
	n, clients, logFiles := descriptors(), cfg.NATS.MaxConnections, cfg.System.MaxOpenLogFiles
	if len(cfg.NATS.URL) > 0 {
		clients = 0 // they connect elsewhere
	}
	s := divide(n, clients, logFiles)
	if s.clients < clients {
		log.Info("fewer clients than configured are accepted: files need the other descriptors",
			"clients", s.clients, "configured", clients, "descriptors", n)
	}
	if s.logFiles < logFiles {
		log.Warn("fewer log files than configured are kept open: clients need the other descriptors",
			"log_files", s.logFiles, "configured", logFiles, "descriptors", n)
	}
	return s
}

// newLogFiles returns the budget of open files that the partitions' logs share.
func newLogFiles(limit int, metrics prometheus.Registerer) *persistence.Files {
	files := persistence.NewFiles(limit)
	gauge := func(name, help string, value func(persistence.FilesStats) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "metaq", Name: name, Help: help},
			func() float64 { return value(files.Stats()) })
	}
	if metrics == nil {
		return files
	}
	metrics.MustRegister(
		gauge("log_files_open", "Files of partitions' logs that are open. At the limit the logs that were not used for longest close theirs.",
			func(s persistence.FilesStats) float64 { return float64(s.Open) }),
		gauge("log_files_limit", "Files of partitions' logs that may be open at a time.",
			func(s persistence.FilesStats) float64 { return float64(s.Limit) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Namespace: "metaq", Name: "log_files_evictions_total",
			Help: "Logs that closed files so that others could open theirs. A fast rise means that more partitions are busy than files may be open: raise the descriptor limit.",
		}, func() float64 { return float64(files.Stats().Evicted) }),
	)
	return files
}
