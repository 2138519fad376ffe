package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"metaq/client"
	"metaq/internal/cli"
)

// ProduceOptions is the load of Produce. Count, Size, Window and Producers are
// positive.
type ProduceOptions struct {
	Topic     string
	Count     int64 // messages of all producers together
	Size      int   // bytes of a payload
	Window    int   // messages that a producer has on their way at most
	Producers int
	// New makes a producer; Produce closes it.
	New      func() (*client.Producer, error)
	Progress *cli.Progress
}

// Produce sends messages without a key as fast as it can and waits for all
// acknowledgements. The first failure ends it.
func Produce(ctx context.Context, o ProduceOptions) (Report, error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	load := &load{o: o, payloads: payloads(o.Size), fail: fail}
	producers := make([]*client.Producer, 0, o.Producers)
	// Close waits for what is on its way, so it comes before the report.
	closeAll := sync.OnceValue(func() error {
		var errs []error
		for _, p := range producers {
			errs = append(errs, p.Close(context.WithoutCancel(ctx)))
		}
		return errors.Join(errs...)
	})
	defer func() { _ = closeAll() }() // a second time it does nothing; the first is checked
	for range o.Producers {
		p, err := o.New()
		if err != nil {
			return Report{}, err
		}
		producers = append(producers, p)
	}

	start := time.Now()
	stop := watch(o.Progress, func(p *cli.Progress) {
		acked := load.acked.Load()
		p.Show("acknowledged %s of %s messages, %s a second", cli.Count(acked), cli.Count(o.Count), cli.Rate(acked, time.Since(start)))
	})
	var work sync.WaitGroup
	for _, p := range producers {
		work.Go(func() { load.run(ctx, p) })
	}
	work.Wait()
	err := closeAll()
	took := time.Since(start)
	stop()
	if cause := context.Cause(ctx); cause != nil {
		return Report{}, fmt.Errorf("after %d acknowledged messages: %w", load.acked.Load(), cause)
	}
	if err != nil {
		return Report{}, err
	}
	acked := load.acked.Load()
	return newReport("produce", o.Topic, acked, acked*int64(o.Size), took, &load.latency), nil
}

// load is what the producers of one run share.
type load struct {
	o        ProduceOptions
	payloads [][]byte
	fail     context.CancelCauseFunc
	taken    atomic.Int64 // messages that some producer has begun
	acked    atomic.Int64

	mu      sync.Mutex
	latency Histogram // guarded by mu
}

// run sends until all messages are taken or ctx ends, and returns when those of
// this producer were reported.
func (l *load) run(ctx context.Context, p *client.Producer) {
	window := make(chan struct{}, l.o.Window)
	var pending sync.WaitGroup
	defer pending.Wait()
	for {
		n := l.taken.Add(1) - 1
		if n >= l.o.Count {
			return
		}
		select {
		case window <- struct{}{}:
		case <-ctx.Done():
			return
		}
		sent := time.Now()
		pending.Add(1)
		err := p.SendAsync(ctx, client.Record{Topic: l.o.Topic, Value: l.payloads[n%int64(len(l.payloads))]}, func(_ client.Result, err error) {
			l.report(time.Since(sent), err)
			<-window
			pending.Done()
		})
		if err != nil {
			l.fail(err)
			pending.Done()
			return
		}
	}
}

func (l *load) report(took time.Duration, err error) {
	if err != nil {
		l.fail(err)
		return
	}
	l.acked.Add(1)
	l.mu.Lock()
	l.latency.Add(took)
	l.mu.Unlock()
}

// payloads returns some payloads of the size given, which compress about as well
// as text.
func payloads(size int) [][]byte {
	random := rand.New(rand.NewPCG(1, 2)) // the same load in every run
	all := make([][]byte, 64)
	for i := range all {
		all[i] = make([]byte, size)
		for j := range all[i] {
			all[i][j] = "etaoinshrdlu    "[random.IntN(16)]
		}
	}
	return all
}

// watch shows progress on its own goroutine until stop is called, which joins it.
func watch(p *cli.Progress, show func(*cli.Progress)) (stop func()) {
	if p == nil {
		return func() {}
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				p.Done()
				return
			case <-tick.C:
				if p.Due() {
					show(p)
				}
			}
		}
	}()
	return func() {
		close(quit)
		<-done
	}
}
