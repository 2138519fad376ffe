package cli

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
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

// OnSignals returns a context that ends with the first SIGINT or SIGTERM, for the
// cause of a *SignalError; the second one calls again, which is expected to end the process. stop gives the
// signals back and returns when its goroutine has gone.
func OnSignals(parent context.Context, again func()) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for count := 0; ; count++ {
			select {
			case s := <-signals:
				cancel(&SignalError{Signal: s})
				if count > 0 {
					again()
				}
			case <-quit:
				return
			}
		}
	}()
	return ctx, sync.OnceFunc(func() {
		signal.Stop(signals)
		close(quit)
		<-done
		cancel(nil)
	})
}
