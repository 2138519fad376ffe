package client

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	backoffFirst = 20 * time.Millisecond
	backoffMost  = time.Second
)

// backoff is the wait after the attempt-th failure, from 0: it doubles from
// backoffFirst to backoffMost and varies by a quarter, so that clients that
// failed together do not return together.
func backoff(attempt int) time.Duration {
	d := backoffMost
	if attempt < 6 {
		d = min(d, backoffFirst<<attempt)
	}
	return d - d/4 + rand.N(d/2)
}

// pause waits for d; it returns ctx's error when ctx ends before.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
