package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"metaq/internal/bench"
)

func (r *loadResult) setLatency(h *bench.Histogram) {
	ms := func(p float64) float64 { return float64(h.Percentile(p).Microseconds()) / 1000 }
	r.P50, r.P99, r.P999 = ms(50), ms(99), ms(99.9)
}

// oneByOne sends the next message when the one before is acknowledged.
func (l *load) oneByOne(ctx context.Context, send func([]byte) error) (*loadResult, error) {
	p := newPayloads(l.spec.Size)
	until := func(d time.Duration, h *bench.Histogram) (n int64, err error) {
		for start := time.Now(); time.Since(start) < d && ctx.Err() == nil; n++ {
			sent := time.Now()
			if err := send(p.take(sent)); err != nil {
				return n, err
			}
			h.Add(time.Since(sent))
		}
		return n, ctx.Err()
	}
	if _, err := until(l.spec.Warmup, new(bench.Histogram)); err != nil {
		return nil, err
	}
	if err := l.begin(); err != nil {
		return nil, err
	}
	var h bench.Histogram
	start := time.Now()
	n, err := until(l.spec.Duration, &h)
	took := time.Since(start).Seconds()
	if err = errors.Join(err, l.end()); err != nil {
		return nil, err
	}
	res := &loadResult{Messages: n, Seconds: took, Rate: float64(n) / took}
	res.setLatency(&h)
	return res, nil
}

// flowTick is how often flow sends what is due. A shorter one costs processor
// time that the server needs.
const flowTick = time.Millisecond

// flow sends at a fixed rate and consumes at once. A message's latency begins when
// it is due, not when it could be sent: a system that falls behind shows it.
func (l *load) flow(ctx context.Context, t target) (*loadResult, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	reading, endReading := context.WithCancel(ctx)
	defer endReading()
	var (
		h         bench.Histogram // of the reader until it ends
		timing    atomic.Bool
		delivered atomic.Int64
		timed     atomic.Int64
		reader    sync.WaitGroup
	)
	ways := t.receivers()
	way := ways[0]
	reader.Go(func() {
		err := way.receive(reading, func(payload []byte) bool {
			if timing.Load() {
				timed.Add(1)
				h.Add(time.Since(stampOf(payload)))
			}
			delivered.Add(1)
			return true
		})
		if err != nil {
			cancel(fmt.Errorf("receive: %w", err))
		}
	})
	s, err := t.sender(ctx, 0, func(int) {})
	if err != nil {
		return nil, err
	}
	var (
		quit   atomic.Bool
		sent   int64
		writer sync.WaitGroup
	)
	writer.Go(func() {
		p := newPayloads(l.spec.Size)
		each := int64(l.spec.Rate) * int64(flowTick) / int64(time.Second)
		tick := time.NewTicker(flowTick)
		defer tick.Stop()
		var err error
		for due := time.Now(); err == nil && !quit.Load(); due = due.Add(flowTick) {
			for time.Until(due) > 0 {
				<-tick.C
			}
			for range each {
				if err = s.send(p.take(due)); err != nil {
					break
				}
				sent++
			}
		}
		if err = errors.Join(err, s.close()); err != nil {
			cancel(fmt.Errorf("send: %w", err))
		}
	})
	pause(ctx, l.spec.Warmup)
	err = l.begin()
	timing.Store(true)
	start := time.Now()
	atLeastOne(ctx, l.spec.Duration, func() bool { return timed.Load() > 0 })
	timing.Store(false)
	took := time.Since(start).Seconds()
	err = errors.Join(err, l.end())
	quit.Store(true)
	writer.Wait()
	// All that was acknowledged has to arrive.
	for wait := time.Now(); ctx.Err() == nil && delivered.Load() < sent && time.Since(wait) < 20*time.Second; {
		pause(ctx, 5*time.Millisecond)
	}
	endReading()
	reader.Wait()
	if err = errors.Join(err, context.Cause(ctx)); err != nil {
		return nil, err
	}
	if got := delivered.Load(); got != sent {
		return nil, fmt.Errorf("%d messages were sent and %d delivered", sent, got)
	}
	n := timed.Load()
	res := &loadResult{Messages: n, Seconds: took, Rate: float64(n) / took, How: way.name}
	res.setLatency(&h)
	if res.Rate < 0.98*float64(l.spec.Rate) {
		res.Remarks = append(res.Remarks, fmt.Sprintf("falls behind: %s msg/s", group(res.Rate)))
	}
	return res, nil
}
