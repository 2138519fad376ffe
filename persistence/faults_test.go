package persistence

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"metaq/internal/vfs/faultfs"
)

// longScript is what the tests below disturb: it takes every path that writes.
var longScript = []func(w *world) error{
	(*world).append, (*world).sync, (*world).append, (*world).append, (*world).sync,
	(*world).setEpoch, (*world).append, (*world).append, (*world).append, (*world).sync,
	func(w *world) error { return w.log.Park() },
	(*world).append, (*world).append, (*world).append, (*world).append, (*world).sync,
	(*world).truncate,
	(*world).append, (*world).append, (*world).append, (*world).sync,
	(*world).restart,
	(*world).append, (*world).append, (*world).append, (*world).append, (*world).append, (*world).sync,
	(*world).expireHalf, (*world).disposeNow,
	(*world).append, (*world).sync,
	(*world).setEpoch, (*world).append, (*world).sync,
}

// play runs the long script with the fault that arm sets, and stops the machine
// at the end when it has not stopped before. It returns the number of operations.
func play(seed uint64, percent int, arm func(w *world)) (ops int, err error) {
	w := newWorld(seed)
	defer w.rescue(&err)
	arm(w)
	w.fs.SetHook(w.hook)
	alive := w.reopen()
	for _, step := range longScript {
		if alive = alive && !w.crashed(step(w)) && w.mend(); !alive {
			break
		}
	}
	ops = w.ops
	w.crashWith(percent)
	w.crashAt, w.failAt = 0, 0
	w.reopen()
	w.mustClose()
	return ops, nil
}

// playAll disturbs every operation of the script in turn in every way.
func playAll() (runs int, err error) {
	const seed = 8
	total, err := play(seed, 0, func(*world) {})
	if err != nil {
		return 0, err
	}
	if total < 100 {
		return 0, fmt.Errorf("the script has only %d operations", total)
	}
	for at := 1; at <= total; at++ {
		for _, percent := range []int{0, 50, 100} {
			for _, failure := range []error{syscall.EIO, syscall.ENOSPC, faultfs.ErrCrashed} {
				runs++
				_, err := play(seed, percent, func(w *world) {
					if w.failAt, w.failure = at, failure; errors.Is(failure, faultfs.ErrCrashed) {
						w.failAt, w.crashAt = 0, at
					}
				})
				if err != nil {
					return runs, fmt.Errorf("operation %d of %d fails with %q, %d%% survive: %w", at, total, failure.Error(), percent, err)
				}
			}
		}
	}
	return runs, nil
}

// TestEveryOperationFailsOnce fails each operation of one long script in turn,
// with an error of the disk, a full disk, a failed sync, or the end of the machine,
// goes on as a broker would, and stops the machine at the end.
func TestEveryOperationFailsOnce(t *testing.T) {
	runs, err := playAll()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d runs", runs)
}
