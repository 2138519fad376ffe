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
	if e.Signal == syscall.SIGTERM {
		return "SIGTERM"
	}
	return e.Signal.String()
}

// Unwrap returns context.Canceled, since that is what it also is.
func (e *SignalError) Unwrap() error { return context.Canceled }

// oneWish is how long after the first signal others mean the same: supervisors
// send two in a row, and a terminal and its shell may both pass one on.
const oneWish = time.Second

// OnSignals returns a context that ends with the first SIGINT or SIGTERM, for the
// cause of a *SignalError; one that comes a second later or more calls again, which
// is expected to end the process. stop gives the signals back and returns when its
// goroutine has gone.
func OnSignals(parent context.Context, again func()) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
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
