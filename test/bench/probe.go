package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// probe looks at a Go server from outside.
type probe struct {
	pid int
	url string // of /metrics and /debug/pprof/
}

// costs are totals since the server's start, or their difference.
type costs struct {
	mallocs float64
	bytes   float64 // allocated, so garbage sooner or later
	cpu     time.Duration
	rss     int64 // the peak; not a difference
}

func (c costs) since(before costs) costs {
	return costs{c.mallocs - before.mallocs, c.bytes - before.bytes, c.cpu - before.cpu, c.rss}
}

// charge divides costs by the messages of the timed part.
func (s *sample) charge(c costs) {
	s.RSS = float64(c.rss) / (1 << 20)
	if n := float64(s.Messages); n > 0 {
		s.Allocs, s.Garbage = c.mallocs/n, c.bytes/n
		s.CPU = float64(c.cpu.Microseconds()) / n
	}
}

func (p *probe) sample(ctx context.Context) (costs, error) {
	var c costs
	var err error
	if c.rss, err = peakRSS(p.pid); err != nil {
		return c, err
	}
	if c.cpu, err = cpuTime(p.pid); err != nil {
		return c, err
	}
	body, err := p.get(ctx, "/metrics")
	if err != nil {
		return c, err
	}
	err = errors.Join(c.parse(body), body.Close())
	return c, err
}

// parse reads the two totals from Prometheus' text format.
func (c *costs) parse(text io.Reader) error {
	wanted := map[string]*float64{"go_memstats_mallocs_total": &c.mallocs, "go_memstats_alloc_bytes_total": &c.bytes}
	lines := bufio.NewScanner(text)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		into := wanted[name]
		if into == nil {
			continue
		}
		delete(wanted, name)
		var err error
		if *into, err = strconv.ParseFloat(value, 64); err != nil {
			return fmt.Errorf("metric %s: %w", name, err)
		}
	}
	if len(wanted) > 0 {
		return errors.Join(lines.Err(), errors.New("the server's metrics have no memory statistics"))
	}
	return lines.Err()
}

func (p *probe) get(ctx context.Context, path string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+path, nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("%s%s: %s", p.url, path, res.Status), res.Body.Close())
	}
	return res.Body, nil
}

// profile takes a CPU profile of the timed part; the function that it returns
// waits for that and takes the allocations and the blocked goroutines too.
func (p *probe) profile(ctx context.Context, at *place) func() error {
	seconds := max(1, int(at.o.duration.Seconds()))
	done := make(chan error, 1)
	go func() {
		done <- p.save(ctx, fmt.Sprintf("/debug/pprof/profile?seconds=%d", seconds), at.prof+".cpu.pprof")
	}()
	return func() error {
		return errors.Join(<-done,
			p.save(ctx, "/debug/pprof/allocs", at.prof+".allocs.pprof"),
			p.save(ctx, "/debug/pprof/block", at.prof+".block.pprof"),
			p.save(ctx, "/debug/pprof/mutex", at.prof+".mutex.pprof"))
	}
}

func (p *probe) save(ctx context.Context, path, name string) error {
	body, err := p.get(ctx, path)
	if err != nil {
		return err
	}
	f, err := os.Create(name)
	if err != nil {
		return errors.Join(err, body.Close())
	}
	_, err = io.Copy(f, body)
	return errors.Join(err, f.Close(), body.Close())
}
