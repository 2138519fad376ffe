package persistence

import (
	"flag"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"metaq/internal/vfs/faultfs"
)

var (
	seeds = flag.Int("seeds", 300, "number of worlds that TestCrash simulates")
	seed  = flag.Uint64("seed", 0, "simulate this world alone and print what happens in it")
)

// errStopped is what a step returns whose world has stopped.
var errStopped = fmt.Errorf("stopped: %w", faultfs.ErrCrashed)

// TestCrash runs random scripts on machines that stop at any operation, lose any
// part of what was not synced, run out of disk and fail operations. The oracle
// is in world.judge.
func TestCrash(t *testing.T) {
	if *seed != 0 {
		if _, err := simulate(*seed); err != nil {
			t.Fatal(err)
		}
		return
	}
	began := time.Now()
	st, err := simulateAll(1, uint64(*seeds))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d seeds in %v: %+v", *seeds, time.Since(began).Round(time.Millisecond), st)
	if n := *seeds; n >= 300 && (st.crashes < 2*n || st.torn < n/4 || st.rolls < n || st.faults < n/4 || st.full < n/4 || st.truncations < n/4 || st.expired < n || st.evicted < n || st.starved < n/4) {
		t.Fatalf("the scripts do not do what they are for: %+v", st)
	}
}

// simulateAll runs the worlds first..last on all processors and returns the
// first fault.
func simulateAll(first, last uint64) (stats, error) {
	var (
		next  atomic.Uint64
		mu    sync.Mutex // guards the two below
		total stats
		fault error
		wg    sync.WaitGroup
	)
	next.Store(first)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				n := next.Add(1) - 1
				mu.Lock()
				stop := fault != nil || n > last
				mu.Unlock()
				if stop {
					return
				}
				st, err := simulate(n)
				mu.Lock()
				total.add(st)
				if err != nil && fault == nil {
					fault = fmt.Errorf("%w\nrepeat it with: go test ./persistence -run TestCrash -seed=%d", err, n)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return total, fault
}
