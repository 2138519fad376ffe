package main

import (
	"flag"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// options are what the user chooses for a run.
type options struct {
	quick    bool
	rounds   int
	duration time.Duration // of the timed part of a measurement
	warmup   time.Duration // of load before it
	rows     *regexp.Regexp
	systems  []string // names; nil: all
	peers    []string // optional systems that are wanted
	profile  bool
	dir      string // parent of all data directories
	out      string // bench.json, bench.md and profiles go there
	doc      string // a document whose marked part is replaced by the tables; "" for none
	metaq    string // path of the broker's binary
}

func parseOptions(args []string) (options, error) {
	var o options
	var rows, systems, peers string
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.BoolVar(&o.quick, "quick", false, "one short round: shows that all works, its figures mean little")
	f.IntVar(&o.rounds, "rounds", 0, "rounds (default 5, with -quick 1)")
	f.DurationVar(&o.duration, "duration", 0, "timed load of one measurement (default 10s, with -quick 500ms)")
	f.StringVar(&rows, "rows", "", "only rows whose name matches this expression (default: all, with -quick one of each kind)")
	f.StringVar(&systems, "systems", "", "only these systems, with commas between them")
	f.StringVar(&peers, "peers", "", "optional systems to measure too: kafka, rocketmq, metaq (the original, in Java)")
	f.BoolVar(&o.profile, "profile", false, "collect CPU and allocation profiles of the server and CPU profiles of the load")
	f.StringVar(&o.dir, "dir", "", "where the systems keep their data (default: the temporary directory); must be a real disk")
	f.StringVar(&o.out, "out", "bin/bench-results", "where results and profiles go")
	f.StringVar(&o.doc, "doc", "", "a document whose part between the bench marks is replaced by the tables")
	f.StringVar(&o.metaq, "metaq", "bin/metaq", "the broker's binary")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q: name rows with -rows and systems with -systems", f.Arg(0))
	}
	setDefault(&o.rounds, o.quick, 1, 5)
	setDefault(&o.duration, o.quick, 500*time.Millisecond, 10*time.Second)
	o.warmup = min(o.duration/4, 2*time.Second)
	o.systems, o.peers = splitList(systems), splitList(peers)
	if o.quick && rows == "" {
		rows = quickRows
	}
	var err error
	if o.rows, err = regexp.Compile(rows); err != nil {
		return o, fmt.Errorf("-rows: %w", err)
	}
	if o.rounds < 1 || o.duration <= 0 {
		return o, fmt.Errorf("%d rounds of %v: both must be above 0", o.rounds, o.duration)
	}
	return o, nil
}

func setDefault[T comparable](v *T, quick bool, short, full T) {
	var zero T
	switch {
	case *v != zero:
	case quick:
		*v = short
	default:
		*v = full
	}
}

func splitList(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}
