//go:build unix

package cli

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"
	"time"
)

func TestTheFirstSignalEndsTheContextAndTheSecondCallsAgain(t *testing.T) {
	again := make(chan struct{}, 1)
	ctx, stop := OnSignals(t.Context(), func() { again <- struct{}{} })
	defer stop()
	send := func(s syscall.Signal) {
		if err := syscall.Kill(os.Getpid(), s); err != nil {
			t.Fatal(err)
		}
	}
	wait := func(what string, done <-chan struct{}) {
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: nothing happened", what)
		}
	}
	send(syscall.SIGTERM)
	wait("first signal", ctx.Done())
	if cause := context.Cause(ctx); cause.Error() != "SIGTERM" || !errors.Is(cause, context.Canceled) {
		t.Errorf("the cause is %v", cause)
	}
	select {
	case <-again:
		t.Fatal("one signal counted as two")
	default:
	}
	send(syscall.SIGINT)
	wait("second signal", again)
	stop()
	stop()
}
