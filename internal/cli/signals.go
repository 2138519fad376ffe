package cli

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// SignalError is the cause of a context that a signal has ended.
type SignalError struct{ Signal os.Signal }

// Error names the signal as people do.
func (e *SignalError) Error() string {
	switch e.Signal {
	case syscall.SIGTERM:
		return "SIGTERM"
	case syscall.SIGHUP:
		return "SIGHUP"
	}
	return e.Signal.String()
}

// Unwrap returns context.Canceled, since that is what it also is.
func (e *SignalError) Unwrap() error { return context.Canceled }

// oneWish is how long after the first signal others mean the same: supervisors
// send two in a row, and a terminal and its shell may both pass one on.
const oneWish = time.Second

// OnSignals returns a context that ends with the first SIGINT, SIGTERM or SIGHUP, for
// the cause of a *SignalError; one that comes a second later or more calls again, which
// is expected to end the process. A SIGHUP that the process was started to ignore, as by
// nohup, stays ignored. stop gives the signals back and returns when its goroutine has
// ended.
func OnSignals(parent context.Context, again func()) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(signals, syscall.SIGHUP)
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		followSignals(signals, quit, cancel, again)
	}()
	return ctx, sync.OnceFunc(func() {
		signal.Stop(signals)
		close(quit)
		<-done
		cancel(nil)
	})
}

// OnHangup calls hangup for each SIGHUP from now on, in place of what OnSignals does with
// one: for a process that outlives its terminal. stop leaves SIGHUP ignored and returns
// when the last call has.
func OnHangup(hangup func()) (stop func()) {
	// Ignoring first takes SIGHUP away from OnSignals; one that comes before Notify is
	// lost, and none ends the process.
	signal.Ignore(syscall.SIGHUP)
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-hangups:
				hangup()
			case <-quit:
				return
			}
		}
	}()
	return sync.OnceFunc(func() {
		signal.Ignore(syscall.SIGHUP)
		close(quit)
		<-done
	})
}

func followSignals(signals <-chan os.Signal, quit <-chan struct{}, cancel context.CancelCauseFunc, again func()) {
	var first time.Time
	for {
		select {
		case s := <-signals:
			cancel(&SignalError{Signal: s})
			if first.IsZero() {
				first = time.Now()
			} else if time.Since(first) >= oneWish {
				again()
			}
		case <-quit:
			return
		}
	}
}
