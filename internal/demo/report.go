package demo

import (
	"fmt"
	"io"
	"time"

	"metaq/internal/cli"
)

// Report is the outcome of a run. Its JSON is a contract.
type Report struct {
	Text         string  `json:"text"`
	Topic        string  `json:"topic"`
	Partitions   int     `json:"partitions"`
	Lines        int64   `json:"lines"`
	Keys         int     `json:"keys"`
	StartSeconds float64 `json:"start_seconds"` // from starting the broker until it was ready
	Published    Phase   `json:"published"`
	Killed       *Killed `json:"killed,omitempty"`
	ReadBack     Phase   `json:"read_back"`
	OK           bool    `json:"ok"`              // the proof holds
	Fault        string  `json:"fault,omitempty"` // why it does not

	verdict error
}

// Phase is one half of the job.
type Phase struct {
	Messages int64   `json:"messages"`
	Bytes    int64   `json:"bytes"` // of payloads
	Seconds  float64 `json:"seconds"`
}

// Killed tells how far the producer was when the broker was killed, and how
// soon the broker was back.
type Killed struct {
	Sent        int64   `json:"sent"`
	Acked       int64   `json:"acknowledged"`
	BackSeconds float64 `json:"back_seconds"`
}

func newPhase(messages, bytes int64, took time.Duration) Phase {
	return Phase{Messages: messages, Bytes: bytes, Seconds: took.Seconds()}
}

func (r *Report) judge(verdict error) {
	r.verdict, r.OK = verdict, verdict == nil
	if verdict != nil {
		r.Fault = verdict.Error()
	}
}

// Verdict is nil when every line came back once, unchanged, and in order within
// its key; else it says what did not.
func (r *Report) Verdict() error { return r.verdict }

// Write writes the report for people.
func (r *Report) Write(w io.Writer) error {
	seconds := func(s float64) string { return cli.Short(time.Duration(s * float64(time.Second))) }
	head := fmt.Sprintf("%s: %s lines with %s keys, topic %s with %d partitions, broker up in %s\n",
		r.Text, cli.Count(r.Lines), cli.Count(int64(r.Keys)), r.Topic, r.Partitions, seconds(r.StartSeconds))
	if r.Published.Messages != r.Lines {
		head += fmt.Sprintf("lines longer than %s bytes travelled in pieces: %s messages\n", cli.Count(maxLine), cli.Count(r.Published.Messages))
	}
	if k := r.Killed; k != nil {
		head += fmt.Sprintf("the broker was killed (kill -9) after %s messages sent, %s acknowledged, and back in %s\n",
			cli.Count(k.Sent), cli.Count(k.Acked), seconds(k.BackSeconds))
	}
	if _, err := fmt.Fprintln(w, head); err != nil {
		return err
	}
	table := cli.Table{Head: []string{"", ">MESSAGES", ">MB", ">TIME", ">MSG/S", ">MB/S"}}
	for _, p := range []struct {
		name string
		Phase
	}{{"published", r.Published}, {"read back", r.ReadBack}} {
		took := time.Duration(p.Seconds * float64(time.Second))
		rate := "-"
		if took > 0 {
			rate = fmt.Sprintf("%.2f", float64(p.Bytes)/1e6/p.Seconds)
		}
		table.Add(p.name, cli.Count(p.Messages), cli.Megabytes(p.Bytes), cli.Short(took), cli.Rate(p.Messages, took), rate)
	}
	if err := table.Write(w); err != nil {
		return err
	}
	proof := fmt.Sprintf("proof: each of %s messages came back once, unchanged, and in order within its key", cli.Count(r.Published.Messages))
	if !r.OK {
		proof = "proof: FAILED: " + r.Fault
	}
	_, err := fmt.Fprintf(w, "\n%s\n", proof)
	return err
}
