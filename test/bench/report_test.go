package main

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// aRun is a made-up run of two rounds: one row where we win, one that a peer wins,
// a peer that failed in one round, and one that could not be had at all.
func aRun() *results {
	res := &results{
		Machine: machine{
			When: time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC), OS: "Linux 6.1 x86_64", CPU: "Some CPU", Cores: 2, MemoryGiB: 23.6,
			FileSystem: "ext4", SyncP50: 0.21, SyncP99: 1.4, Packs: 2.5, Versions: map[string]string{"nats-server": "2.15.2", "go": "go1.26"},
		},
		Rounds: 2, Seconds: 10,
	}
	row := func(name string, lines ...*line) {
		for _, r := range plan() {
			if r.Name == name {
				res.Rows = append(res.Rows, &rowResult{row: r, Unit: r.metric().unit, Lines: lines})
			}
		}
	}
	rates := func(system, about string, rates ...float64) *line {
		ln := &line{System: system, Acknowledged: about, Samples: map[int]*sample{}}
		for i, v := range rates {
			ln.Samples[i+1] = &sample{loadResult: loadResult{Rate: v, Messages: 1}, Allocs: 0.05, Garbage: 12, CPU: 1.5, RSS: 80}
		}
		return ln
	}
	latency := func(system, about string, p50 ...float64) *line {
		ln := rates(system, about, p50...)
		for _, s := range ln.Samples {
			s.P50, s.P99, s.Rate, s.Allocs = s.Rate, 3*s.Rate, 1000/s.Rate, -1
		}
		return ln
	}
	best := rates(sysJS, "written", 60_000)
	best.Samples[1].How = "ordered consumer"
	best.Errors = []string{"round 2: connection refused"}
	ceiling := rates(sysDisk, "write + fdatasync", 1_500_000, 1_250_000)
	ceiling.Ceiling = true
	row("native-128", rates(sysMetaq, "fdatasync done", 1_000_000, 1_200_000), best, ceiling,
		&line{System: "rocketmq", Acknowledged: "unknown", Samples: map[int]*sample{}, Errors: []string{"round 1: no driver."}})
	behind := latency(sysJS, "written", 0.1, 0.12)
	behind.Samples[2].Remarks = []string{"falls behind: 40,000 msg/s"}
	loop := latency(sysDisk, "write + fdatasync", 0.2, 0.25)
	loop.Ceiling = true
	row("sync-128", latency(sysMetaq, "fdatasync done", 0.4, 0.6), behind, loop)
	return res
}

func TestReport(t *testing.T) {
	golden := filepath.Join("testdata", "report.golden.md")
	got := aRun().markdown()
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("the report changed (run with -update when that is meant): -want +got\n%s", diff)
	}
}

func TestPublishWritesBothFormsAndTheDocument(t *testing.T) {
	dir := t.TempDir()
	doc := filepath.Join(dir, "doc.md")
	if err := os.WriteFile(doc, []byte("# Title\n\n"+docBegin+"old table\n"+docEnd+"\nthe end\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	if err := aRun().publish(&options{out: dir, doc: doc}, &said); err != nil {
		t.Fatal(err)
	}
	text := aRun().markdown()
	if !strings.Contains(said.String(), text) {
		t.Error("the tables were not printed")
	}
	after, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	if want := "# Title\n\n" + docBegin + "\n" + text + "\n" + docEnd + "\nthe end\n"; string(after) != want {
		t.Errorf("the document: %s", cmp.Diff(want, string(after)))
	}
	data, err := os.ReadFile(filepath.Join(dir, "bench.json"))
	if err != nil {
		t.Fatal(err)
	}
	var back results
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	ln := back.Rows[0].Lines[1]
	if ln.Advantage == nil || ln.Advantage.Median != 1_000_000.0/60_000 {
		t.Errorf("bench.json has the advantage %v over JetStream", ln.Advantage)
	}
	if absent := back.Rows[0].Lines[3]; absent.Value != nil || absent.Advantage != nil {
		t.Errorf("bench.json has figures of a peer that was not measured: %v", absent)
	}
}

func TestADocumentWithoutMarksIsLeftAlone(t *testing.T) {
	doc := filepath.Join(t.TempDir(), "doc.md")
	if err := os.WriteFile(doc, []byte("no marks"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := replaceIn(doc, "table"); err == nil {
		t.Error("no error")
	}
	if after, err := os.ReadFile(doc); err != nil || string(after) != "no marks" {
		t.Errorf("the document is now %q, %v", after, err)
	}
}

func TestAmount(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0.00", 0.0523: "0.0523", 0.5: "0.50", 12.345: "12.3", 99.94: "99.9", 1234567.4: "1,234,567", 100: "100", -1234: "-1,234",
	} {
		if got := amount(v); got != want {
			t.Errorf("amount(%v) is %s, want %s", v, got, want)
		}
	}
}
