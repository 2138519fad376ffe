package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// consume stores a backlog, tries every way to read it once, and then reads it by
// the fastest one, from its first message to its last and again, until the time
// is over. The pass that was tried also warms the caches.
func (l *load) consume(ctx context.Context, t target) (*loadResult, error) {
	if err := l.fill(ctx, t); err != nil {
		return nil, err
	}
	best, fastest := receiver{}, time.Duration(0)
	for _, way := range t.receivers() {
		took, err := l.pass(ctx, way)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", way.name, err)
		}
		if best.receive == nil || took < fastest {
			best, fastest = way, took
		}
	}
	if err := l.begin(); err != nil {
		return nil, err
	}
	var n int64
	start := time.Now()
	for n == 0 || time.Since(start) < l.spec.Duration {
		if _, err := l.pass(ctx, best); err != nil {
			return nil, fmt.Errorf("%s: %w", best.name, err)
		}
		n += int64(l.spec.Backlog)
	}
	took := time.Since(start).Seconds()
	return &loadResult{Messages: n, Seconds: took, Rate: float64(n) / took, How: best.name}, l.end()
}

// fill stores the backlog from one producer, whose sequence the reader checks.
func (l *load) fill(ctx context.Context, t target) error {
	s, err := t.sender(ctx, 0, func(int) {})
	if err != nil {
		return err
	}
	p := newPayloads(l.spec.Size)
	for range l.spec.Backlog {
		if err := s.send(p.take(time.Time{})); err != nil {
			return fmt.Errorf("store the backlog: %w", err)
		}
	}
	if err := s.close(); err != nil {
		return fmt.Errorf("store the backlog: %w", err)
	}
	return checkStored(ctx, t, int64(l.spec.Backlog))
}

// pass reads the whole backlog once and checks that it is complete and in order.
func (l *load) pass(ctx context.Context, way receiver) (time.Duration, error) {
	var next uint64
	var problem error
	start := time.Now()
	err := way.receive(ctx, func(payload []byte) bool {
		switch {
		case len(payload) != l.spec.Size:
			problem = fmt.Errorf("message %d has %d bytes, want %d", next, len(payload), l.spec.Size)
		case sequenceOf(payload) != next:
			problem = fmt.Errorf("message %d came where %d was due", sequenceOf(payload), next)
		}
		next++
		return problem == nil && next < uint64(l.spec.Backlog)
	})
	took := time.Since(start)
	if err = errors.Join(err, problem, ctx.Err()); err == nil && next != uint64(l.spec.Backlog) {
		err = fmt.Errorf("read %d of %d messages", next, l.spec.Backlog)
	}
	return took, err
}
