package bench

import (
	"fmt"
	"io"
	"time"

	"metaq/internal/cli"
)

// Report is what a run measured. Its JSON is a contract; times are in
// milliseconds but for Seconds, a megabyte is 1,000,000 bytes.
type Report struct {
	Op        string  `json:"op"` // produce or consume
	Topic     string  `json:"topic"`
	Messages  int64   `json:"messages"`
	Bytes     int64   `json:"bytes"` // of payloads
	Seconds   float64 `json:"seconds"`
	PerSecond float64 `json:"messages_per_second"`
	MBPerSec  float64 `json:"mb_per_second"`
	Latency   Latency `json:"latency_ms"`
}

// Latency is the time from sending a message to its acknowledgement; of a
// consumer the age of a message when it is read.
type Latency struct {
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99.9"`
	Max  float64 `json:"max"`
}

func newReport(op, topic string, messages, bytes int64, took time.Duration, h *Histogram) Report {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	r := Report{
		Op: op, Topic: topic, Messages: messages, Bytes: bytes, Seconds: took.Seconds(),
		Latency: Latency{P50: ms(h.Percentile(50)), P99: ms(h.Percentile(99)), P999: ms(h.Percentile(99.9)), Max: ms(h.max)},
	}
	if took > 0 {
		r.PerSecond = float64(messages) / took.Seconds()
		r.MBPerSec = float64(bytes) / 1e6 / took.Seconds()
	}
	return r
}

// Write writes the report for people.
func (r Report) Write(w io.Writer) error {
	what := "send to acknowledgement"
	if r.Op == "consume" {
		what = "age of a message when read"
	}
	ms := func(v float64) string { return cli.Short(time.Duration(v * float64(time.Millisecond))) }
	_, err := fmt.Fprintf(w, "%s %s: %s messages, %s MB in %s\n%s msg/s, %.2f MB/s\n%s: p50 %s, p99 %s, p99.9 %s, max %s\n",
		r.Op, r.Topic, cli.Count(r.Messages), cli.Megabytes(r.Bytes), cli.Short(time.Duration(r.Seconds*float64(time.Second))),
		cli.Count(int64(r.PerSecond)), r.MBPerSec,
		what, ms(r.Latency.P50), ms(r.Latency.P99), ms(r.Latency.P999), ms(r.Latency.Max))
	return err
}
