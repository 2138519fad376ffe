package durability

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"metaq/test/process"
)

// openFiles returns what the broker has open, as far as its paths end with suffix.
func openFiles(t *testing.T, b *process.Broker, suffix string) int {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", b.Pid())
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range all {
		// One that was closed since has no path.
		if path, err := os.Readlink(dir + "/" + e.Name()); err == nil && strings.HasSuffix(path, suffix) {
			n++
		}
	}
	return n
}

// TestKillsWithTooFewFiles kills a broker whose busy partitions are many more than the files
// that may be open: nothing that was acknowledged is lost, twice there, or out of order.
func TestKillsWithTooFewFiles(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	const limit, partitions, kills = 8, 60, 5
	b := process.Start(t, map[string]string{"max-open-log-files": fmt.Sprint(limit), "max-segment-size": "64KiB"})
	c := connect(t, b.URL)
	create(t, c, "t", partitions)
	l, stop := newLedger(), make(chan struct{})
	var producers sync.WaitGroup
	for i := range 12 { // of seven keys each
		producers.Go(func() {
			if _, err := l.stream(ctx, c, "t", fmt.Sprintf("p%d", i), stop); err != nil {
				l.fail(err)
			}
		})
	}
	rng := rand.New(rand.NewPCG(1, 0))
	for range kills {
		l.wait(l.count() + 500 + rng.IntN(1000))
		if n := openFiles(t, b, ".log"); n > limit+partitions/4 {
			t.Errorf("%d log files are open, the limit is %d", n, limit)
		}
		b.Kill()
		b.Start()
	}
	close(stop)
	producers.Wait()
	l.judge(ctx, t, c, "t", true)
	if strings.Contains(b.Log(), `msg="log failed"`) {
		t.Error("a log failed")
	}
}

// TestDescriptorsRunOut takes the descriptors from a running broker: partitions take turns
// with those that are left, and none fails.
func TestDescriptorsRunOut(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	b := process.Start(t, nil)
	c := connect(t, b.URL)
	create(t, c, "t", 100)
	limit := uint64(openFiles(t, b, "") + 15)
	if err := unix.Prlimit(b.Pid(), unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit, Max: limit}, nil); err != nil {
		t.Fatal(err)
	}
	l, stop := newLedger(), make(chan struct{})
	var producers sync.WaitGroup
	for i := range 12 {
		producers.Go(func() {
			if _, err := l.stream(ctx, c, "t", fmt.Sprintf("p%d", i), stop); err != nil {
				l.fail(err)
			}
		})
	}
	l.wait(5000)
	close(stop)
	producers.Wait()
	l.judge(ctx, t, c, "t", true)
	if log := b.Log(); strings.Contains(log, `msg="log failed"`) {
		t.Error("a log failed")
	}
}
