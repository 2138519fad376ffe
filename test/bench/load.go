package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"time"
)

// loadSpec is one measurement, as the plan's process hands it to the load's.
type loadSpec struct {
	row
	Driver   string        `json:"driver"` // one of the drivers
	URL      string        `json:"url"`
	Dir      string        `json:"dir"`     // of the disk driver
	Unflush  int           `json:"unflush"` // unflushThreshold of our topic
	Warmup   time.Duration `json:"warmup"`
	Duration time.Duration `json:"duration"`
	Profile  string        `json:"profile,omitempty"` // CPU profile of the load; "" for none
}

// loadResult is what was measured. Latencies are in milliseconds.
type loadResult struct {
	Messages int64    `json:"messages"` // of the timed part: acknowledged, or delivered
	Seconds  float64  `json:"seconds"`
	Rate     float64  `json:"rate"` // messages a second
	P50      float64  `json:"p50_ms,omitempty"`
	P99      float64  `json:"p99_ms,omitempty"`
	P999     float64  `json:"p99.9_ms,omitempty"`
	How      string   `json:"how,omitempty"` // the variant that was the fastest, where there are several
	Remarks  []string `json:"remarks,omitempty"`
}

// event is one line of the load's output.
type event struct {
	Mark   string      `json:"mark,omitempty"` // begin or end of the timed part
	Result *loadResult `json:"result,omitempty"`
	Error  string      `json:"error,omitempty"`
}

const (
	markBegin = "begin"
	markEnd   = "end"
)

// A target is a system as the load sees it.
type target interface {
	// setup creates what the row needs.
	setup(ctx context.Context) error
	// sender makes the i-th producer. acked is told, from any goroutine, how many
	// more messages are acknowledged.
	sender(ctx context.Context, i int, acked func(n int)) (sender, error)
	// sync makes a function that sends one message and waits for its
	// acknowledgement.
	sync(ctx context.Context) (func(payload []byte) error, error)
	// receivers are the ways to read all messages, each from the first one on.
	receivers() []receiver
	// stored is how many messages the system says that it holds; -1 where it
	// holds none.
	stored(ctx context.Context) (int64, error)
	// stall asks for messages and does not read them, until ctx ends. It returns
	// how often the server cut the connection for that.
	stall(ctx context.Context) (int, error)
	close()
}

// A sender produces. Its methods are called from one goroutine.
type sender interface {
	// send takes a payload, which it copies; it blocks while too much is in flight.
	send(payload []byte) error
	// close returns when all that was sent is acknowledged; it fails when
	// something was not.
	close() error
}

// A receiver gives payloads to take, one at a time and in order for each
// partition, until take returns false or ctx ends, which is no error.
type receiver struct {
	name    string
	receive func(ctx context.Context, take func(payload []byte) bool) error
}

var drivers = map[string]func(context.Context, *loadSpec) (target, error){
	sysMetaq: newMetaqTarget,
	sysJS:    newJetStreamTarget,
	sysNATS:  newCoreTarget,
}

// heapFloor is how many bytes the load program's garbage collector takes to be alive
// beside what is; nobody writes to them. It is the same for all systems.
const heapFloor = 64 << 20

// loadMain makes one measurement.
func loadMain(ctx context.Context, in io.Reader, out io.Writer) error {
	var s loadSpec
	if err := json.NewDecoder(in).Decode(&s); err != nil {
		return fmt.Errorf("read the load's specification: %w", err)
	}
	// A program of some size has some memory alive. Without it the collector would run
	// every few megabytes, and be a large part of what shares the cores.
	floor := make([]byte, heapFloor)
	defer runtime.KeepAlive(&floor)
	// However slow a system is, its round ends.
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute+10*(s.Warmup+s.Duration))
	defer cancel()
	l := &load{spec: &s, out: json.NewEncoder(out)}
	res, err := l.run(ctx)
	if err != nil {
		return errors.Join(err, l.out.Encode(event{Error: err.Error()}))
	}
	return l.out.Encode(event{Result: res})
}

// load is one measurement under way.
type load struct {
	spec *loadSpec
	out  *json.Encoder
	prof *os.File
}

func (l *load) run(ctx context.Context) (*loadResult, error) {
	if l.spec.Driver == sysDisk {
		return l.disk(ctx)
	}
	open, known := drivers[l.spec.Driver]
	if !known {
		return nil, fmt.Errorf("no driver for %q", l.spec.Driver)
	}
	t, err := open(ctx, l.spec)
	if err != nil {
		return nil, err
	}
	defer t.close()
	if err := t.setup(ctx); err != nil {
		return nil, fmt.Errorf("set up: %w", err)
	}
	switch l.spec.Kind {
	case kindProduce:
		return l.produce(ctx, t)
	case kindConsume:
		return l.consume(ctx, t)
	case kindFlow:
		return l.flow(ctx, t)
	case kindSync:
		send, err := t.sync(ctx)
		if err != nil {
			return nil, err
		}
		return l.oneByOne(ctx, send)
	case kindStall:
		return l.stall(ctx, t)
	}
	return nil, fmt.Errorf("no load of kind %q", l.spec.Kind)
}

// begin and end mark the timed part for the plan's process, which samples the
// server at them.
func (l *load) begin() error {
	if l.spec.Profile != "" {
		f, err := os.Create(l.spec.Profile)
		if err != nil {
			return err
		}
		l.prof = f
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
	}
	return l.out.Encode(event{Mark: markBegin})
}

func (l *load) end() error {
	err := l.out.Encode(event{Mark: markEnd})
	if l.prof != nil {
		pprof.StopCPUProfile()
		err = errors.Join(err, l.prof.Close())
		l.prof = nil
	}
	return err
}

// pause waits for d, or less when ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// atLeastOne waits for d, and then for something to measure: a slow system may
// answer in bursts that are further apart than a short measurement is long.
func atLeastOne(ctx context.Context, d time.Duration, some func() bool) {
	pause(ctx, d)
	for ctx.Err() == nil && !some() {
		pause(ctx, 10*time.Millisecond)
	}
}

// crew is a set of producers at full speed.
type crew struct {
	acked  atomic.Int64
	_      [120]byte // who sends and who acknowledges do not share a line of the cache
	sent   atomic.Int64
	quit   atomic.Bool
	work   sync.WaitGroup
	failed context.CancelCauseFunc
}

// startCrew lets every connection's producer send until stop.
func (l *load) startCrew(ctx context.Context, t target) (*crew, context.Context, error) {
	ctx, failed := context.WithCancelCause(ctx)
	c := &crew{failed: failed}
	for i := range l.spec.Connections {
		s, err := t.sender(ctx, i, func(n int) { c.acked.Add(int64(n)) })
		if err != nil {
			failed(err)
			c.stop()
			return nil, nil, err
		}
		c.work.Go(func() {
			p := newPayloads(l.spec.Size)
			var err error
			for err == nil && !c.quit.Load() {
				if err = s.send(p.take(time.Time{})); err == nil {
					c.sent.Add(1)
				}
			}
			if err = errors.Join(err, s.close()); err != nil {
				failed(err)
			}
		})
	}
	return c, ctx, nil
}

// stop returns when every message that was sent is acknowledged.
func (c *crew) stop() {
	c.quit.Store(true)
	c.work.Wait()
}

// produce counts acknowledgements while producers send as fast as they can, and
// then compares what was acknowledged with what the system holds.
func (l *load) produce(ctx context.Context, t target) (*loadResult, error) {
	c, ctx, err := l.startCrew(ctx, t)
	if err != nil {
		return nil, err
	}
	defer c.failed(nil)
	res, err := l.timed(ctx, &c.acked)
	c.stop()
	if err = errors.Join(err, context.Cause(ctx)); err != nil {
		return nil, err
	}
	return res, checkStored(ctx, t, c.sent.Load())
}

// timed measures how much count grows in the timed part.
func (l *load) timed(ctx context.Context, count *atomic.Int64) (*loadResult, error) {
	pause(ctx, l.spec.Warmup)
	if err := l.begin(); err != nil {
		return nil, err
	}
	before, start := count.Load(), time.Now()
	atLeastOne(ctx, l.spec.Duration, func() bool { return count.Load() > before })
	n, took := count.Load()-before, time.Since(start).Seconds()
	if err := l.end(); err != nil {
		return nil, err
	}
	return &loadResult{Messages: n, Seconds: took, Rate: float64(n) / took}, nil
}

func checkStored(ctx context.Context, t target, acked int64) error {
	n, err := t.stored(ctx)
	if err != nil {
		return fmt.Errorf("ask for what is stored: %w", err)
	}
	if n >= 0 && n != acked {
		return fmt.Errorf("%d messages were acknowledged and %d are stored", acked, n)
	}
	return nil
}

// stall is produce with a consumer that asks and does not read.
func (l *load) stall(ctx context.Context, t target) (*loadResult, error) {
	stalling, end := context.WithCancel(ctx)
	var (
		cuts     int
		stallErr error
		work     sync.WaitGroup
	)
	work.Go(func() { cuts, stallErr = t.stall(stalling) })
	res, err := l.produce(ctx, t)
	end()
	work.Wait()
	if err = errors.Join(err, stallErr); err != nil {
		return nil, err
	}
	res.Remarks = append(res.Remarks, fmt.Sprintf("%s msg/s meanwhile; the server cut the stalled connection %d times", group(res.Rate), cuts))
	return res, nil
}
