package durability

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"metaq/protocol"
	"metaq/test/process"
)

// usage is what a broker process takes, as its own metrics and profile say.
type usage struct{ heap, resident, goroutines, files, timers float64 }

// everyAllocation makes a broker's heap profile exact, so that its timers can be
// counted. That costs it memory, some 2 KB a partition.
const everyAllocation = "memprofilerate=1"

// measure asks a broker for its usage, once it has collected its garbage.
func measure(b *testing.B, address string) usage {
	b.Helper()
	fetch := func(path string, line func(string)) {
		r, err := http.Get("http://" + address + path)
		if err != nil {
			b.Fatal(err)
		}
		defer r.Body.Close()
		for lines := bufio.NewScanner(r.Body); lines.Scan(); {
			line(lines.Text())
		}
	}
	fetch("/debug/pprof/heap?gc=1", func(string) {}) // what has a finalizer goes in the second round
	var u usage
	u.timers = timers(func(line func(string)) { fetch("/debug/pprof/heap?gc=1&debug=1", line) })
	fetch("/metrics", func(line string) {
		name, value, _ := strings.Cut(line, " ")
		field := map[string]*float64{
			"go_memstats_heap_alloc_bytes": &u.heap, "process_resident_memory_bytes": &u.resident,
			"go_goroutines": &u.goroutines, "process_open_fds": &u.files,
		}[name]
		if field != nil {
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				b.Fatal(err)
			}
			*field = v
		}
	})
	if u.heap == 0 || u.goroutines == 0 {
		b.Fatalf("no metrics at %s: %+v", address, u)
	}
	return u
}

// inUse begins what a heap profile says about one place that allocates.
var inUse = regexp.MustCompile(`^(\d+): \d+ \[\d+: \d+\] @`)

// timers counts the live timers and tickers in a heap profile, running or not. The
// runtime has no count of them, but package time makes each of them.
func timers(profile func(line func(string))) float64 {
	n, objects, counted := 0.0, 0.0, false
	profile(func(line string) {
		if m := inUse.FindStringSubmatch(line); m != nil {
			objects, _ = strconv.ParseFloat(m[1], 64) // the expression holds that it is a number
			counted = false
			return
		}
		if !counted && (strings.Contains(line, "\ttime.newTimer+") || strings.Contains(line, "\ttime.NewTimer+") ||
			strings.Contains(line, "\ttime.NewTicker+") || strings.Contains(line, "\ttime.AfterFunc+")) {
			n, counted = n+objects, true
		}
	})
	return n
}

// putEach puts one message into each partition.
func putEach(ctx context.Context, b *testing.B, url string) {
	b.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	inbox := nc.NewInbox()
	answers := make(chan *nats.Msg, scaleTopics*scalePartitions)
	if _, err := nc.ChanSubscribe(inbox, answers); err != nil {
		b.Fatal(err)
	}
	payload := []byte(strings.Repeat("x", 1000))
	for t := range scaleTopics {
		for n := range scalePartitions {
			if err := nc.PublishRequest(fmt.Sprintf("metaq.put.scale%d.0-%d", t, n), inbox, payload); err != nil {
				b.Fatal(err)
			}
		}
	}
	for range scaleTopics * scalePartitions {
		select {
		case m := <-answers:
			if err := protocol.DecodeError(m.Data); err != nil {
				b.Fatal(err)
			}
		case <-ctx.Done():
			b.Fatal("not every put was answered")
		}
	}
}

const (
	scaleTopics     = 10
	scalePartitions = 1000 // of each
)

// scaled is a broker with 10,000 partitions that have a message each, and what it
// took without them.
func scaled(ctx context.Context, b *testing.B) (p *process.Broker, address string, empty usage) {
	b.Helper()
	address = process.FreeAddress(b)
	p = process.Start(b, map[string]string{"metrics": address, "metrics-pprof": "true"})
	empty = measure(b, address)
	c := connect(b, p.URL)
	for t := range scaleTopics {
		create(b, c, fmt.Sprintf("scale%d", t), scalePartitions)
	}
	putEach(ctx, b, p.URL)
	return p, address, empty
}

// report prints what one partition takes.
func (u usage) report(b *testing.B, empty usage) {
	const n = scaleTopics * scalePartitions
	b.ReportMetric((u.heap-empty.heap)/n, "heap-B/partition")
	b.ReportMetric((u.resident-empty.resident)/n, "rss-B/partition")
	b.ReportMetric((u.goroutines-empty.goroutines)/n, "goroutines/partition")
	b.ReportMetric((u.files-empty.files)/n, "files/partition")
}

// BenchmarkScaleStart kills a broker with 10,000 partitions and reports how long
// its next start takes, until it is ready, and what a partition costs then.
func BenchmarkScaleStart(b *testing.B) {
	ctx, cancel := context.WithTimeout(b.Context(), 15*time.Minute)
	defer cancel()
	p, address, empty := scaled(ctx, b)
	var took time.Duration
	starts := 0
	for b.Loop() {
		p.Kill()
		began := time.Now()
		p.Start()
		took += time.Since(began)
		starts++
		b.StopTimer()
		putEach(ctx, b, p.URL) // the next start has something to recover, too
		b.StartTimer()
	}
	b.ReportMetric(took.Seconds()/float64(starts), "s/start")
	p.Kill()
	p.Start()
	measure(b, address).report(b, empty)
	b.Setenv("GODEBUG", everyAllocation)
	p.Kill()
	p.Start()
	b.ReportMetric(measure(b, address).timers, "timers/10000")
}

// BenchmarkScaleIdle lets a broker's 10,000 partitions be used and then be quiet,
// and reports what one costs, its timers apart. Each takes two to three minutes: so
// long a partition must be quiet before it gives up its files.
func BenchmarkScaleIdle(b *testing.B) {
	b.Run("memory", func(b *testing.B) {
		for b.Loop() {
			u, empty := idle(b)
			u.report(b, empty)
		}
	})
	b.Run("timers", func(b *testing.B) {
		b.Setenv("GODEBUG", everyAllocation)
		for b.Loop() {
			u, empty := idle(b)
			b.ReportMetric(u.timers, "timers/10000")
			b.ReportMetric(empty.timers, "timers/0")
		}
	})
}

// idle is what a broker takes whose partitions were used and are quiet.
func idle(b *testing.B) (u, empty usage) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 15*time.Minute)
	defer cancel()
	p, address, empty := scaled(ctx, b)
	until(ctx, b, "used partitions give up their files", func() bool {
		u = measure(b, address)
		return u.files-empty.files < 10
	})
	p.Stop()
	return u, empty
}
