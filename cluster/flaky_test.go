package cluster_test

import (
	"context"
	"fmt"
	"sync"

	"metaq/cluster/registry"
)

// fault is what happens to one write.
type fault int

const (
	passes    fault = iota
	lostReply       // done, and the answer is lost
	lostWrite       // never done, and that is not known
	lateWrite       // done by the time of the next write, before it
	refused         // not done, and that is known
)

// flaky is a session whose connection breaks at the writes that the test names.
type flaky struct {
	registry.Registry

	mu     sync.Mutex // guards what follows
	faults []fault    // of the coming writes, in order
	writes int
	late   []registry.Op
}

// plan sets what happens to the next writes.
func (f *flaky) plan(faults ...fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults, f.writes = faults, 0
}

func (f *flaky) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.writes
}

func (f *flaky) Multi(ctx context.Context, ops ...registry.Op) error {
	f.mu.Lock()
	what := passes
	if len(f.faults) > 0 {
		what, f.faults = f.faults[0], f.faults[1:]
	}
	f.writes++
	late := f.late
	f.late = nil
	if what == lateWrite {
		f.late = ops
	}
	f.mu.Unlock()
	if late != nil {
		_ = f.Registry.Multi(ctx, late...) // whether it still fits is the point of the test
	}
	unknown := fmt.Errorf("connection lost: %w", registry.ErrUnknownOutcome)
	switch what {
	case lostReply:
		if err := f.Registry.Multi(ctx, ops...); err != nil {
			return err
		}
		return unknown
	case lostWrite, lateWrite:
		return unknown
	case refused:
		return registry.ErrUnavailable
	default:
		return f.Registry.Multi(ctx, ops...)
	}
}
