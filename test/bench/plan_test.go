package main

import (
	"math"
	"regexp"
	"slices"
	"testing"
	"time"
)

func TestPlanNamesEachRowOnceAndOnlyKnownSystems(t *testing.T) {
	var known []string
	for _, s := range allSystems(&options{peers: []string{"kafka", "rocketmq", "metaq"}}) {
		known = append(known, s.name())
	}
	var names []string
	for _, r := range plan() {
		if slices.Contains(names, r.Name) {
			t.Errorf("two rows are called %s", r.Name)
		}
		names = append(names, r.Name)
		if !slices.Contains(r.systems, sysMetaq) {
			t.Errorf("%s does not measure our broker", r.Name)
		}
		for _, s := range append(slices.Clone(r.more), r.systems...) {
			if !slices.Contains(known, s) {
				t.Errorf("%s wants system %q, which is none of %v", r.Name, s, known)
			}
		}
	}
}

// TestAWholeRunTakesAnHour with the systems that take part by default.
func TestAWholeRunTakesAnHour(t *testing.T) {
	o, err := parseOptions(nil)
	if err != nil {
		t.Fatal(err)
	}
	res := planned(&o, allSystems(&o))
	count, takes := res.ahead(&o)
	if count != 52*5 || takes > 65*time.Minute {
		t.Errorf("%d measurements take %v, want 5 times 52 in about an hour", count, takes)
	}
	o.systems = []string{sysMetaq, sysRelaxed}
	for _, r := range planned(&o, allSystems(&o)).Rows {
		if len(r.Lines) != 2 && r.Name != "consume-128" && r.Name != "consume-1024" {
			t.Errorf("row %s leaves out a system that is named", r.Name)
		}
	}
}

func TestQuickRunHasEveryKindOfLoad(t *testing.T) {
	quick := regexp.MustCompile(quickRows)
	kinds := map[string]bool{}
	for _, r := range plan() {
		kinds[r.Kind] = kinds[r.Kind] || quick.MatchString(r.Name)
	}
	for kind, covered := range kinds {
		if !covered {
			t.Errorf("a quick run has no load of kind %s", kind)
		}
	}
}

// A goal whose row or system was renamed would be "not measured" for ever.
func TestEveryGoalFindsItsRows(t *testing.T) {
	res := &results{Rounds: 1}
	for _, r := range plan() {
		rr := &rowResult{row: r}
		for _, s := range r.systems {
			got := &sample{loadResult: loadResult{Rate: 1, P50: 1, P99: 1}, Allocs: 1, RSS: 1}
			rr.Lines = append(rr.Lines, &line{System: s, Samples: map[int]*sample{1: got}})
		}
		res.Rows = append(res.Rows, rr)
	}
	for _, g := range goals() {
		if v := g.got(res); math.IsNaN(v) {
			t.Errorf("goal %q is not measured by a whole run", g.what)
		}
	}
}

func TestGoalVerdicts(t *testing.T) {
	most, least := goal{want: 10, less: true, unit: "ms"}, goal{want: 2}
	for _, c := range []struct {
		g    goal
		v    float64
		want string
	}{
		{most, 10, "met"}, {most, 10.1, "MISSED"}, {least, 2, "met"}, {least, 1.9, "MISSED"}, {least, math.NaN(), "not measured"},
	} {
		if got := c.g.verdict(c.v); got != c.want {
			t.Errorf("%s, measured %v: %s, want %s", c.g.wanted(), c.v, got, c.want)
		}
	}
}

func TestOptionsFollowQuick(t *testing.T) {
	full, err := parseOptions(nil)
	if err != nil {
		t.Fatal(err)
	}
	quick, err := parseOptions([]string{"-quick", "-peers", "kafka,rocketmq"})
	if err != nil {
		t.Fatal(err)
	}
	if full.rounds != 5 || full.duration.Seconds() < 10 {
		t.Errorf("a full run has %d rounds of %v, want 5 of at least 10 s", full.rounds, full.duration)
	}
	if quick.rounds != 1 || quick.duration >= full.duration || !slices.Equal(quick.peers, []string{"kafka", "rocketmq"}) {
		t.Errorf("a quick run is %+v", quick)
	}
	if _, err := parseOptions([]string{"-rounds", "-1"}); err == nil {
		t.Error("-1 rounds are accepted")
	}
}
