package produce

import (
	"context"
	"sync"
	"sync/atomic"

	"metaq/client/internal/link"
)

// budget bounds bytes and records. Its methods may be called from any goroutine.
// Taking is lock-free while there is room.
type budget struct {
	maxBytes, maxRecords int64
	bytes, records       atomic.Int64 // taken
	waiting              atomic.Int64 // goroutines in acquire

	mu    sync.Mutex
	freed chan struct{} // guarded by mu; closed and replaced when something was released
}

func newBudget(maxBytes, maxRecords int64) *budget {
	return &budget{maxBytes: maxBytes, maxRecords: maxRecords, freed: make(chan struct{})}
}

// tryAcquire takes one record of n bytes if there is room. n is at most maxBytes.
func (b *budget) tryAcquire(n int64) bool {
	if !takeUpTo(&b.records, 1, b.maxRecords) {
		return false
	}
	if !takeUpTo(&b.bytes, n, b.maxBytes) {
		b.records.Add(-1)
		return false
	}
	return true
}

func takeUpTo(v *atomic.Int64, n, most int64) bool {
	for {
		old := v.Load()
		if old+n > most {
			return false
		}
		if v.CompareAndSwap(old, old+n) {
			return true
		}
	}
}

// acquire takes one record of n bytes and waits for room until ctx ends, or until
// closed is closed, which gives ErrClosed.
func (b *budget) acquire(ctx context.Context, closed <-chan struct{}, n int64) error {
	b.waiting.Add(1)
	defer b.waiting.Add(-1)
	for {
		// Take the channel before trying. The other way round a release in between
		// would close the old channel, and nothing would wake this wait.
		b.mu.Lock()
		freed := b.freed
		b.mu.Unlock()
		if b.tryAcquire(n) {
			return nil
		}
		select {
		case <-freed:
		case <-closed:
			return link.ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// release gives back bytes and records.
func (b *budget) release(bytes, records int64) {
	b.bytes.Add(-bytes)
	b.records.Add(-records)
	if b.waiting.Load() == 0 {
		return
	}
	b.mu.Lock()
	close(b.freed)
	b.freed = make(chan struct{})
	b.mu.Unlock()
}
