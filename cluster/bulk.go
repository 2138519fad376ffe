package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"metaq/cluster/registry"
)

// bulkReads is how many reads are under way at once when many nodes are read.
const bulkReads = 64

// inParallel calls do for 0..n-1, at most bulkReads at a time, and returns the first
// error; after one no new calls are begun.
func inParallel(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slots := make(chan struct{}, bulkReads)
	var wg sync.WaitGroup
	var once sync.Once
	var first error // set before wg is done
	for i := range n {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := do(ctx, i); err != nil {
				once.Do(func() { first = err })
				cancel(err)
			}
		})
	}
	wg.Wait()
	switch {
	case first != nil: // it says more than the end of the caller's ctx, which may have come before
		return first
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", registry.ErrUnavailable, context.Cause(ctx))
	}
	return nil
}

// found is a node that may be missing.
type found struct {
	registry.Node
	ok bool
}

// readAll reads many nodes; a missing one is no error.
func readAll(ctx context.Context, reg registry.Registry, paths []string) ([]found, error) {
	got := make([]found, len(paths))
	err := inParallel(ctx, len(paths), func(ctx context.Context, i int) (err error) {
		got[i], err = readOne(ctx, reg, paths[i])
		return err
	})
	return got, err
}

func readOne(ctx context.Context, reg registry.Registry, path string) (found, error) {
	n, err := reg.Get(ctx, path)
	if errors.Is(err, registry.ErrNotFound) {
		return found{}, nil
	}
	return found{Node: n, ok: err == nil}, err
}

// childrenOf is Children, where a missing node has none.
func childrenOf(ctx context.Context, reg registry.Registry, path string) ([]string, error) {
	names, err := reg.Children(ctx, path)
	if errors.Is(err, registry.ErrNotFound) {
		return nil, nil
	}
	return names, err
}

// conflict says that somebody else was faster: read again and plan anew.
func conflict(err error) bool {
	return errors.Is(err, registry.ErrVersion) || errors.Is(err, registry.ErrExists) || errors.Is(err, registry.ErrNotFound) || errors.Is(err, registry.ErrNotEmpty)
}

// maxAttempts ends a loop of conflicts that is really an error in the program.
const maxAttempts = 100

// converge does what plan says, all of it, or plans again. A conflict or
// an unknown outcome is settled by planning again from what is there then, so plan
// must read everything that it relies on, and its operations must carry versions.
func converge(ctx context.Context, reg registry.Registry, guard []registry.Op, plan func(ctx context.Context) ([]registry.Op, error)) error {
	for range maxAttempts {
		ops, err := plan(ctx)
		if err != nil || len(ops) == 0 {
			return err
		}
		if err = multiInChunks(ctx, reg, guard, ops); err == nil {
			return nil
		}
		if fenced := brokenGuard(err, guard); fenced != nil {
			return fenced
		}
		if !conflict(err) && (!errors.Is(err, registry.ErrUnknownOutcome) || ctx.Err() != nil) {
			return err
		}
	}
	return fmt.Errorf("%w: others changed the same nodes %d times", registry.ErrUnavailable, maxAttempts)
}

// multiInChunks does operations in as many Multis as the limits need, each guarded.
// Operations of different chunks must not depend on being done together.
func multiInChunks(ctx context.Context, reg registry.Registry, guard, ops []registry.Op) error {
	for len(ops) > 0 {
		n := fitting(guard, ops)
		if err := reg.Multi(ctx, slices.Concat(guard, ops[:n])...); err != nil {
			return err
		}
		ops = ops[n:]
	}
	return nil
}

// fitting is how many of the operations go into one Multi with the guard; at least one.
func fitting(guard, ops []registry.Op) int {
	size := 0
	for _, op := range guard {
		size += op.Size()
	}
	for n, op := range ops {
		size += op.Size()
		if n > 0 && (size > registry.MaxMultiBytes || len(guard)+n >= registry.MaxMultiOps) {
			return n
		}
	}
	return len(ops)
}

// brokenGuard returns ErrFenced when a Multi failed at one of its guards.
func brokenGuard(err error, guard []registry.Op) error {
	var op *registry.OpError
	if errors.As(err, &op) && op.Index < len(guard) && conflict(err) {
		return fmt.Errorf("%w: %w", ErrFenced, err)
	}
	return nil
}

// ensure makes persistent nodes, with their parents, where they are missing.
func ensure(ctx context.Context, reg registry.Registry, paths []string) error {
	want := withParents(paths)
	return converge(ctx, reg, nil, func(ctx context.Context) ([]registry.Op, error) {
		got, err := readAll(ctx, reg, want)
		var ops []registry.Op
		for i, path := range want {
			if err == nil && !got[i].ok {
				ops = append(ops, registry.Create(path, nil, registry.Persistent))
			}
		}
		return ops, err
	})
}

// withParents lists the paths and all that is above them, parents first.
func withParents(paths []string) []string {
	var all []string
	seen := map[string]bool{"/": true}
	var add func(path string)
	add = func(path string) {
		if !seen[path] {
			seen[path] = true
			add(registry.ParentOf(path))
			all = append(all, path)
		}
	}
	for _, path := range paths {
		add(path)
	}
	return all
}
