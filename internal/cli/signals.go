package cli

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// OnSignals returns a context that ends with the first SIGINT or SIGTERM; the
// second one calls again, which is expected to end the process. stop gives the
// signals back and returns when its goroutine has gone.
func OnSignals(parent context.Context, again func()) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for count := 0; ; count++ {
			select {
			case <-signals:
				cancel()
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
		cancel()
	})
}
