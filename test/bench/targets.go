package main

import (
	"fmt"
	"math"
)

// goal is something that the project set out to reach on two cores.
type goal struct {
	what string
	want float64
	less bool   // at most, instead of at least
	unit string // "" for a ratio
	got  func(*results) float64
}

// goals are those of the report. Ratios are medians over rounds.
func goals() []goal {
	return []goal{
		{what: "single messages, 128 B: fsynced, against JetStream that is not", want: 2.5, got: times("put-128", sysJS)},
		{what: "single messages, 128 B: against JetStream with sync always", want: 50, got: times("put-128", sysJSAlways)},
		{what: "single messages, 1 KiB: fsynced, against JetStream that is not", want: 2, got: times("put-1024", sysJS)},
		{what: "single messages, 1 KiB: against JetStream with sync always", want: 40, got: times("put-1024", sysJSAlways)},
		{what: "native producer, 128 B: fsynced, against JetStream's asynchronous publisher", want: 15, got: times("native-128", sysJS)},
		{what: "native producer, 1 KiB: the same (or the next line)", want: 3, got: times("native-1024", sysJS)},
		{what: "native producer, 1 KiB: share of the write+fdatasync loop (or the line before)", want: 0.8, got: times("native-1024", sysDisk)},
		{what: "consume a backlog, 128 B: against JetStream's best consumer", want: 10, got: times("consume-128", sysJS)},
		{what: "consume a backlog, 1 KiB: the same", want: 4, got: times("consume-1024", sysJS)},
		{what: "one message in flight, p50 above that of one fdatasync", want: 0.3, less: true, unit: "ms", got: aboveSync},
		{what: "end to end at 50,000 msg/s, 128 B, p99", want: 10, less: true, unit: "ms", got: own("flow-128", func(s *sample) float64 { return s.P99 })},
		{what: "40 partitions against 1, native producer, 128 B", want: 0.7, got: func(r *results) float64 {
			rate := func(s *sample) float64 { return s.Rate }
			return own("native-128-p40", rate)(r) / own("native-128", rate)(r)
		}},
		{what: "peak memory of the broker under saturation, with a stalled consumer", want: 300, less: true, unit: "MiB", got: own("stall-1024", func(s *sample) float64 { return s.RSS })},
		{what: "allocations of the broker for a message, native producer, 128 B", want: 0.1, less: true, unit: "allocations", got: own("native-128", func(s *sample) float64 { return s.Allocs })},
		{what: "native producer, 128 B: fsynced, against Kafka that is not", want: 1.5, got: times("native-128", sysKafka)},
		{what: "native producer, 1 KiB: the same", want: 1.5, got: times("native-1024", sysKafka)},
		{what: "consume a backlog, 128 B: against Kafka", want: 1.5, got: times("consume-128", sysKafka)},
		{what: "consume a backlog, 1 KiB: the same", want: 1.5, got: times("consume-1024", sysKafka)},
	}
}

func times(row, system string) func(*results) float64 {
	return func(r *results) float64 { return r.advantage(row, system).Median }
}

// own is the median of a number of our own, NaN when it was not measured.
func own(row string, pick func(*sample) float64) func(*results) float64 {
	return func(r *results) float64 {
		_, ln := r.find(row, sysMetaq)
		if ln == nil {
			return math.NaN()
		}
		var values []float64
		for _, s := range ln.Samples {
			if v := pick(s); v >= 0 {
				values = append(values, v)
			}
		}
		return spreadOf(values).Median
	}
}

func aboveSync(r *results) float64 {
	_, ours := r.find("sync-128", sysMetaq)
	_, disk := r.find("sync-128", sysDisk)
	if ours == nil || disk == nil {
		return math.NaN()
	}
	var values []float64
	for round, s := range ours.Samples {
		if d := disk.Samples[round]; d != nil {
			values = append(values, s.P50-d.P50)
		}
	}
	return spreadOf(values).Median
}

func (g *goal) text(v float64) string {
	if math.IsNaN(v) {
		return "-"
	}
	if g.unit == "" {
		return amount(v) + " x"
	}
	return amount(v) + " " + g.unit
}

// verdict is "met", "MISSED" or "not measured".
func (g *goal) verdict(v float64) string {
	switch {
	case math.IsNaN(v):
		return "not measured"
	case g.less && v <= g.want, !g.less && v >= g.want:
		return "met"
	}
	return "MISSED"
}

func (g *goal) wanted() string {
	if g.less {
		return "at most " + g.text(g.want)
	}
	return fmt.Sprintf("at least %s", g.text(g.want))
}
