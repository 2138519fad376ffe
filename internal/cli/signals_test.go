//go:build unix

package cli

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestTheFirstSignalEndsTheContext(t *testing.T) {
	ctx, stop := OnSignals(t.Context(), func() { t.Error("one signal counted as two") })
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ctx.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("nothing happened")
	}
	if cause := context.Cause(ctx); cause.Error() != "SIGTERM" || !errors.Is(cause, context.Canceled) {
		t.Errorf("the cause is %v", cause)
	}
	stop()
	stop()
}

func TestAHangupEndsTheContextUnlessItIsIgnored(t *testing.T) {
	ctx, stop := OnSignals(t.Context(), func() { t.Error("one signal counted as two") })
	hangUp(t)
	select {
	case <-ctx.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("nothing happened")
	}
	if cause := context.Cause(ctx); cause.Error() != "SIGHUP" {
		t.Errorf("the cause is %v", cause)
	}
	stop()

	signal.Ignore(syscall.SIGHUP) // as nohup does
	defer signal.Reset(syscall.SIGHUP)
	ctx, stop = OnSignals(t.Context(), func() {})
	defer stop()
	hangUp(t)
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-ctx.Done()
	if cause := context.Cause(ctx); cause.Error() != "SIGTERM" {
		t.Errorf("a SIGHUP that is ignored ended it: %v", cause)
	}
}

func TestOnHangupTakesTheSignalAway(t *testing.T) {
	defer signal.Reset(syscall.SIGHUP)
	ctx, stop := OnSignals(t.Context(), func() { t.Error("a SIGHUP counted") })
	defer stop()
	heard := make(chan struct{})
	give := OnHangup(func() { heard <- struct{}{} })
	for range 2 {
		hangUp(t)
		select {
		case <-heard:
		case <-time.After(10 * time.Second):
			t.Fatal("nothing happened")
		}
	}
	give()
	give()
	hangUp(t)
	if ctx.Err() != nil {
		t.Errorf("it ended the context: %v", context.Cause(ctx))
	}
}

func hangUp(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

func TestAnotherSignalCountsAfterASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signals, quit, again := make(chan os.Signal), make(chan struct{}), 0
		ctx, cancel := context.WithCancelCause(t.Context())
		go followSignals(signals, quit, cancel, func() { again++ })
		defer close(quit)
		at := func(pause time.Duration, s os.Signal, want int) {
			t.Helper()
			<-time.After(pause)
			signals <- s
			synctest.Wait()
			if again != want || ctx.Err() == nil {
				t.Errorf("%v after %v: called %d times, want %d; %v", s, pause, again, want, ctx.Err())
			}
		}
		at(time.Minute, syscall.SIGTERM, 0)
		at(200*time.Millisecond, syscall.SIGTERM, 0) // a supervisor's second one
		at(700*time.Millisecond, syscall.SIGINT, 0)
		at(100*time.Millisecond, syscall.SIGTERM, 1) // somebody's own decision
	})
}
