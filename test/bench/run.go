package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// results is everything that a run found out; its JSON is bench.json.
type results struct {
	Machine  machine      `json:"machine"`
	Rounds   int          `json:"rounds"`
	Seconds  float64      `json:"seconds_per_measurement"`
	Quick    bool         `json:"quick"`
	Rows     []*rowResult `json:"rows"`
	Duration float64      `json:"duration_seconds"`
}

// rowResult is a row with its measurements, one line a system.
type rowResult struct {
	row
	Unit  string  `json:"unit"`
	Lines []*line `json:"systems"`
}

// line is one system's measurements of a row.
type line struct {
	System       string          `json:"system"`
	Acknowledged string          `json:"acknowledged_means"`
	Ceiling      bool            `json:"ceiling,omitempty"` // no queue, but what limits one
	Samples      map[int]*sample `json:"rounds"`            // by round, from 1
	Errors       []string        `json:"errors,omitempty"`

	// What follows from the samples; nil where nothing was measured.
	Value     *spread `json:"value"`
	Advantage *spread `json:"metaq_is_better_by"`
}

// run measures the plan and writes the report.
func run(ctx context.Context, o options, say io.Writer) error {
	began := time.Now()
	systems := allSystems(&o)
	if err := o.prepare(systems); err != nil {
		return err
	}
	base, err := os.MkdirTemp(o.dir, "bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(base) }() // what is left is in the temporary directory
	m, err := lookAtMachine(ctx, base, &o)
	if err != nil {
		return err
	}
	calm := rest{dir: base, usual: time.Duration(m.SyncP50 * float64(time.Millisecond))}
	if !o.quick {
		if calm.ballast, err = newBallast(base); err != nil {
			return err
		}
		defer func() { _ = calm.ballast.close() }()
	}
	res := planned(&o, systems)
	res.Machine = m
	if len(res.Rows) == 0 {
		return errors.New("nothing to measure: -rows and -systems leave no row")
	}
	count, left := res.ahead(&o)
	if _, err := fmt.Fprintf(say, "%d measurements, about %s\n", count, minutes(left)); err != nil {
		return err
	}
	for round := 1; round <= o.rounds; round++ {
		if err := res.round(ctx, round, &o, systems, &calm, say); err != nil {
			return err
		}
		res.Rounds, res.Duration = round, time.Since(began).Seconds()
		if round == o.rounds {
			break
		}
		// What is known is kept after each round: an hour is long.
		if err := res.save(&o); err != nil {
			return err
		}
		left = time.Since(began) / time.Duration(round) * time.Duration(o.rounds-round)
		if _, err := fmt.Fprintf(say, "round %d of %d is done, about %s left\n", round, o.rounds, minutes(left)); err != nil {
			return err
		}
	}
	return res.publish(&o, say)
}

// planned is a run with nothing measured yet.
func planned(o *options, systems []system) *results {
	res := &results{Rounds: o.rounds, Seconds: o.duration.Seconds(), Quick: o.quick}
	for _, r := range plan() {
		if !o.rows.MatchString(r.Name) {
			continue
		}
		if o.quick {
			r.Backlog /= 10
		}
		rr := &rowResult{row: r, Unit: r.metric().unit}
		for _, s := range systems {
			if takesPart(&r, s, o.systems) {
				rr.Lines = append(rr.Lines, &line{System: s.name(), Acknowledged: s.about(), Ceiling: s.ceiling(), Samples: map[int]*sample{}})
			}
		}
		if len(rr.Lines) > 0 {
			res.Rows = append(res.Rows, rr)
		}
	}
	return res
}

// ahead is the number of measurements of a run, and about how long they take.
func (res *results) ahead(o *options) (count int, takes time.Duration) {
	for _, r := range res.Rows {
		count += len(r.Lines)
		for _, ln := range r.Lines {
			takes += r.takes(o, ln.System)
		}
	}
	return count * o.rounds, takes * time.Duration(o.rounds)
}

func minutes(d time.Duration) string {
	if d < 2*time.Minute {
		return fmt.Sprintf("%.0f seconds", d.Seconds())
	}
	return fmt.Sprintf("%.0f minutes", d.Minutes())
}

// takesPart says whether a row has a line for s: those of the plan, those of its
// further ones that were named, and for every peer that cannot be driven, so that its absence is seen.
func takesPart(r *row, s system, named []string) bool {
	_, absent := s.(*absentSystem)
	return absent || slices.Contains(r.systems, s.name()) || slices.Contains(named, s.name()) && slices.Contains(r.more, s.name())
}

func (o *options) prepare(systems []system) error {
	for i, s := range systems {
		if slices.ContainsFunc(systems[:i], func(t system) bool { return t.name() == s.name() }) {
			return fmt.Errorf("two systems are called %s", s.name())
		}
	}
	var err error
	if o.metaq, err = filepath.Abs(o.metaq); err != nil {
		return err
	}
	if _, err := os.Stat(o.metaq); err != nil {
		return fmt.Errorf("no broker to measure: %w: run make build", err)
	}
	if o.out, err = filepath.Abs(o.out); err != nil {
		return err
	}
	return os.MkdirAll(o.out, 0o755)
}

// round measures every row once. The systems of a row follow each other directly,
// each round beginning with another one.
func (res *results) round(ctx context.Context, round int, o *options, systems []system, calm *rest, say io.Writer) error {
	for _, rr := range res.Rows {
		for i := range rr.Lines {
			ln := rr.Lines[(i+round-1)%len(rr.Lines)]
			quiet, err := calm.before(ctx, &rr.row)
			if err != nil {
				return err
			}
			if !quiet {
				if _, err := fmt.Fprintf(say, "the disk is not at rest after %s, going on\n", settleMost); err != nil {
					return err
				}
			}
			s := systems[slices.IndexFunc(systems, func(s system) bool { return s.name() == ln.System })]
			got, err := measure(ctx, s, &rr.row, round, o, calm.dir)
			if ctx.Err() != nil {
				return fmt.Errorf("stopped: %w", ctx.Err())
			}
			if err != nil {
				ln.Errors = append(ln.Errors, fmt.Sprintf("round %d: %v", round, err))
				if _, err := fmt.Fprintf(say, "round %d  %-16s %-17s NOT MEASURED: %v\n", round, rr.Name, ln.System, err); err != nil {
					return err
				}
				continue
			}
			ln.Samples[round] = got
			if _, err := fmt.Fprintf(say, "round %d  %-16s %-17s %12s %s\n", round, rr.Name, ln.System, amount(got.value(&rr.row)), rr.Unit); err != nil {
				return err
			}
		}
	}
	return nil
}

func measure(ctx context.Context, s system, r *row, round int, o *options, base string) (*sample, error) {
	dir, err := os.MkdirTemp(base, r.Name+"-")
	if err != nil {
		return nil, err
	}
	at := &place{o: o, dir: dir}
	if o.profile {
		at.prof = filepath.Join(o.out, fmt.Sprintf("%s-%s-round%d", r.Name, s.name(), round))
	}
	got, err := s.measure(ctx, r, at)
	return got, errors.Join(err, os.RemoveAll(dir))
}
