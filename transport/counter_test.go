package transport

import (
	"testing"
	"time"

	"metaq/transport/front"
)

// Who has handed over too much waits, and goes on when half of it was looked at.
func TestWhoHandsOverTooMuchWaits(t *testing.T) {
	for name, tc := range map[string]struct {
		places, limit, each int
	}{
		"too many":        {places: 5, limit: 1000, each: 10},
		"too large":       {places: 100, limit: 50, each: 10},
		"larger than all": {places: 100, limit: 50, each: 60},
	} {
		t.Run(name, func(t *testing.T) {
			const each = 200
			c := newCounter(tc.places)
			c.waiting.limits.Bytes = int64(tc.limit)
			done := make(chan struct{})
			for range 3 {
				go func() {
					for range each {
						c.hand(&front.Requests{Bytes: tc.each})
					}
					done <- struct{}{}
				}()
			}
			eventually(t, "all wait", func() bool { return c.held.Load() == 3 })
			eventually(t, "no more wait than may", func() bool {
				_, bytes := c.waiting.inflight()
				return bytes <= int64(max(tc.limit, tc.each))
			})
			for range 3 * each {
				select {
				case r := <-c.requests:
					c.looked(r.Bytes)
				case <-time.After(patience):
					t.Fatal("they wait although there is room")
				}
			}
			for range 3 {
				select {
				case <-done:
				case <-time.After(patience):
					t.Fatal("one waits although there is room")
				}
			}
			if requests, bytes := c.waiting.inflight(); requests != 0 || bytes != 0 || c.held.Load() != 0 {
				t.Errorf("at the end %d requests with %d bytes and %d clients wait", requests, bytes, c.held.Load())
			}
		})
	}
}
