package link

import (
	"context"
	"math/rand/v2"
	"time"
)

// Bounds of the wait before a retry.
const (
	BackoffFirst = 20 * time.Millisecond
	BackoffMost  = time.Second
)

// Backoff is the wait after the attempt-th failure, from 0: it doubles from
// BackoffFirst to BackoffMost and varies by a quarter, so that clients that
// failed together do not return together.
func Backoff(attempt int) time.Duration {
	d := BackoffMost
	if attempt < 6 {
		d = min(d, BackoffFirst<<attempt)
	}
	return d - d/4 + rand.N(d/2)
}

// Pause waits for d; it returns ctx's error when ctx ends before.
func Pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
