package main

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"
)

func TestSettleLeavesNothingAndEnds(t *testing.T) {
	dir := t.TempDir()
	if _, err := settle(t.Context(), dir, time.Minute, time.Millisecond); err != nil { // any disk is faster
		t.Fatal(err)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if quiet, err := settle(stopped, dir, 0, 0); quiet || !errors.Is(err, context.Canceled) {
		t.Errorf("settle says %v, %v although it was stopped", quiet, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%d files are left, %v", len(left), err)
	}
}
