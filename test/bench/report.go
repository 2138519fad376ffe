package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The marks of the part of a document that a run replaces.
const (
	docBegin = "<!-- bench: begin -->\n"
	docEnd   = "<!-- bench: end -->\n"
)

// publish saves the results and writes the tables to say, and into the document.
func (res *results) publish(o *options, say io.Writer) error {
	err := res.save(o)
	text := res.markdown()
	if err == nil && o.doc != "" {
		err = replaceIn(o.doc, text)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(say, "\n%s\nwritten to %s\n", text, o.out)
	return err
}

// save writes bench.json and bench.md.
func (res *results) save(o *options) error {
	res.summarise()
	data, err := json.MarshalIndent(res, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(o.out, "bench.json"), append(data, '\n'), 0o644),
		os.WriteFile(filepath.Join(o.out, "bench.md"), []byte(res.markdown()), 0o644))
}

// summarise fills in what follows from the samples.
func (res *results) summarise() {
	known := func(s spread) *spread {
		if !s.known() {
			return nil
		}
		return &s
	}
	for _, r := range res.Rows {
		for _, ln := range r.Lines {
			ln.Value = known(spreadOf(slices.Collect(maps.Values(ln.values(&r.row)))))
			ln.Advantage = known(res.advantage(r.Name, ln.System))
		}
	}
}

func replaceIn(name, text string) error {
	old, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	before, rest, begins := strings.Cut(string(old), docBegin)
	_, after, ends := strings.Cut(rest, docEnd)
	if !begins || !ends {
		return fmt.Errorf("%s has no part between %q and %q", name, strings.TrimSpace(docBegin), strings.TrimSpace(docEnd))
	}
	return os.WriteFile(name, []byte(before+docBegin+"\n"+text+"\n"+docEnd+after), 0o644)
}

func (res *results) find(row, system string) (*rowResult, *line) {
	for _, r := range res.Rows {
		for _, ln := range r.Lines {
			if r.Name == row && ln.System == system {
				return r, ln
			}
		}
	}
	return nil, nil
}

// values are the row's number of each round.
func (ln *line) values(r *row) map[int]float64 {
	all := map[int]float64{}
	for round, s := range ln.Samples {
		all[round] = s.value(r)
	}
	return all
}

// median is that of one number of all rounds that know it.
func (ln *line) median(pick func(*sample) float64) float64 {
	var all []float64
	for _, s := range ln.Samples {
		if v := pick(s); v >= 0 {
			all = append(all, v)
		}
	}
	return spreadOf(all).Median
}

// advantage is how many times better our default is than a system in a row.
func (res *results) advantage(row, system string) spread {
	r, ours := res.find(row, sysMetaq)
	_, theirs := res.find(row, system)
	if ours == nil || theirs == nil {
		return spreadOf(nil)
	}
	return advantage(ours.values(&r.row), theirs.values(&r.row), r.metric().less)
}

func (res *results) markdown() string {
	var b strings.Builder
	res.writeHead(&b)
	res.writeGoals(&b)
	res.writeLosses(&b)
	for _, r := range res.Rows {
		res.writeRow(&b, r)
	}
	return b.String()
}

func (res *results) writeHead(b *strings.Builder) {
	m := res.Machine
	fmt.Fprintf(b, "Measured %s on %d cores (%s), %.0f GiB, %s, data on %s. ",
		m.When.Format("2006-01-02 15:04 UTC"), m.Cores, m.CPU, m.MemoryGiB, m.OS, m.FileSystem)
	fmt.Fprintf(b, "One append of 4 KiB and fdatasync there: p50 %s ms, p99 %s ms. ", amount(m.SyncP50), amount(m.SyncP99))
	fmt.Fprintf(b, "%d round(s) of %s s for each measurement, after a warm-up; the load program shares the cores. ", res.Rounds, amount(res.Seconds))
	fmt.Fprintf(b, "zstd packs the payloads %s to 1. ", amount(m.Packs))
	var versions []string
	for _, name := range slices.Sorted(maps.Keys(m.Versions)) {
		versions = append(versions, name+" "+m.Versions[name])
	}
	fmt.Fprintf(b, "Versions: %s.\n", strings.Join(versions, ", "))
	if res.Quick {
		b.WriteString("\n**A quick run: it shows that all works. Its figures mean little.**\n")
	}
}

func (res *results) writeGoals(b *strings.Builder) {
	b.WriteString("\n### Goals\n\n| goal | wanted | measured | |\n| --- | ---: | ---: | --- |\n")
	for _, g := range goals() {
		v := g.got(res)
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", g.what, g.wanted(), g.text(v), g.verdict(v))
	}
}

// writeLosses lists where another queue is better than our default.
func (res *results) writeLosses(b *strings.Builder) {
	b.WriteString("\n### Where a peer is ahead of `metaq` with fsync\n\n")
	none := true
	for _, r := range res.Rows {
		for _, ln := range r.Lines {
			a := res.advantage(r.Name, ln.System)
			if ln.Ceiling || ln.System == sysMetaq || ln.System == sysRelaxed || !a.known() || a.Median >= 1 {
				continue
			}
			none = false
			fmt.Fprintf(b, "- %s: %s is %s times better (%s to %s).\n", r.Title, ln.System, amount(1/a.Median), amount(1/a.Max), amount(1/a.Min))
		}
	}
	if none {
		b.WriteString("In no row that was measured.\n")
	}
}

func (res *results) writeRow(b *strings.Builder, r *rowResult) {
	m := r.metric()
	better := "more is better"
	if m.less {
		better = "less is better"
	}
	fmt.Fprintf(b, "\n### %s\n\n`%s`: %s, %s.", r.Title, r.Name, m.name, better)
	if r.Backlog > 0 {
		fmt.Fprintf(b, " %s messages are stored before.", group(float64(r.Backlog)))
	}
	b.WriteString("\n\n")
	columns := extraColumns(r)
	fmt.Fprintf(b, "| system | an acknowledgement means | %s, %s | least to most | metaq is better by |", m.name, m.unit)
	for _, c := range columns {
		fmt.Fprintf(b, " %s |", c.title)
	}
	b.WriteString("\n| --- | --- | ---: | ---: | ---: |" + strings.Repeat(" ---: |", len(columns)) + "\n")
	for _, ln := range r.Lines {
		res.writeLine(b, r, ln, columns)
	}
	for _, ln := range r.Lines {
		for _, note := range ln.notes() {
			fmt.Fprintf(b, "\n%s: %s.\n", ln.System, note)
		}
	}
}

func (res *results) writeLine(b *strings.Builder, r *rowResult, ln *line, columns []column) {
	name := ln.System
	if ln.Ceiling {
		name += " (ceiling)"
	}
	if len(ln.Samples) == 0 {
		fmt.Fprintf(b, "| %s | %s | **NOT MEASURED** | | |%s\n", name, ln.Acknowledged, strings.Repeat(" |", len(columns)))
		return
	}
	v := spreadOf(slices.Collect(maps.Values(ln.values(&r.row))))
	fmt.Fprintf(b, "| %s | %s | %s | %s to %s |", name, ln.Acknowledged, amount(v.Median), amount(v.Min), amount(v.Max))
	a := res.advantage(r.Name, ln.System)
	switch {
	case ln.System == sysMetaq || !a.known():
		b.WriteString(" |")
	default:
		fmt.Fprintf(b, " %s (%s to %s) |", amount(a.Median), amount(a.Min), amount(a.Max))
	}
	for _, c := range columns {
		fmt.Fprintf(b, " %s |", amount(ln.median(c.pick)))
	}
	b.WriteString("\n")
}

// column is one more number of a row's table.
type column struct {
	title string
	pick  func(*sample) float64
}

func extraColumns(r *rowResult) []column {
	size := float64(r.Size)
	rate := func(s *sample) float64 { return s.Rate }
	cpu := column{"server CPU, us/msg", func(s *sample) float64 { return s.CPU }}
	rss := column{"server peak RSS, MiB", func(s *sample) float64 { return s.RSS }}
	switch r.Kind {
	case kindFlow:
		return []column{
			{"p50, ms", func(s *sample) float64 { return s.P50 }},
			{"p99.9, ms", func(s *sample) float64 { return s.P999 }},
			{"msg/s", rate},
			cpu,
		}
	case kindSync:
		return []column{{"p99, ms", func(s *sample) float64 { return s.P99 }}, {"msg/s", rate}, cpu}
	case kindStall:
		return []column{{"msg/s", rate}}
	}
	return []column{
		{"MB/s", func(s *sample) float64 { return s.Rate * size / 1e6 }},
		{"server allocations/msg", func(s *sample) float64 { return s.Allocs }},
		{"server garbage, B/msg", func(s *sample) float64 { return s.Garbage }},
		cpu, rss,
	}
}

// notes are the variants, remarks and errors of a line, each once.
func (ln *line) notes() []string {
	var all []string
	add := func(s string) {
		s = strings.TrimRight(s, ".")
		if s != "" && !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	for _, round := range slices.Sorted(maps.Keys(ln.Samples)) {
		add(ln.Samples[round].How)
	}
	for _, round := range slices.Sorted(maps.Keys(ln.Samples)) {
		for _, remark := range ln.Samples[round].Remarks {
			add(fmt.Sprintf("round %d: %s", round, remark))
		}
	}
	for _, e := range ln.Errors {
		add("NOT MEASURED, " + e)
	}
	return all
}
