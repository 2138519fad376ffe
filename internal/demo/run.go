package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"metaq/client"
	"metaq/internal/cli"
	"metaq/internal/lines"
	"metaq/protocol"
)

const (
	topic      = "demo"
	partitions = 4
	maxLine    = 256 << 10   // bytes; longer lines travel in pieces of this size
	header     = "Number"    // of every message: its number in the order of sending
	killAt     = int64(3000) // messages sent before the broker is killed
	idle       = 20 * time.Second
)

// Options is what Run needs. The caller removes Dir afterwards.
type Options struct {
	Exe      string    // the metaq binary
	Dir      string    // an empty directory for the broker's data
	Name     string    // of the text
	Text     io.Reader // each line becomes a message
	Kill     bool      // kill the broker in the middle and start it again
	Progress *cli.Progress
}

// Run does the main job. Its error is a failure to do it; that the proof failed
// is told by Report.Verdict.
func Run(ctx context.Context, o Options) (Report, error) {
	d := &demo{o: o, ledger: NewLedger(), first: make(chan struct{}), report: Report{Text: o.Name, Topic: topic}}
	defer o.Progress.Done()
	o.Progress.Show("starting a broker")
	start := time.Now()
	var err error
	if d.broker, err = StartBroker(ctx, o.Exe, o.Dir, 0); err != nil {
		return d.report, err
	}
	d.report.StartSeconds = time.Since(start).Seconds()
	if err := d.job(ctx); err != nil {
		d.broker.Kill() // the first error is the one that counts
		return d.report, err
	}
	d.report.Keys = d.ledger.Keys()
	d.report.judge(d.ledger.Verdict())
	return d.report, d.broker.Stop()
}

// demo is one run.
type demo struct {
	o      Options
	broker *Broker
	ledger *Ledger
	report Report
	acked  atomic.Int64
	first  chan struct{} // closed with the first acknowledgement
}

func (d *demo) job(ctx context.Context) error {
	c, err := client.Connect(ctx, client.WithServers(d.broker.URL))
	if err != nil {
		return err
	}
	defer c.Close()
	info, err := c.Admin().CreateTopic(ctx, protocol.TopicCreate{Topic: topic, Partitions: partitions})
	if err != nil {
		return err
	}
	d.report.Partitions = len(info.Partitions)
	if err := d.publish(ctx, c); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	if err := d.readBack(ctx, c); err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	return nil
}

// publish sends every line and waits for all acknowledgements.
func (d *demo) publish(ctx context.Context, c *client.Client) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	producer, err := c.NewProducer()
	if err != nil {
		return err
	}
	start := time.Now()
	err = d.sendLines(ctx, producer, fail)
	if err == nil {
		err = d.flush(ctx, producer)
	}
	// Whatever failed before is the cause of what Close would say.
	closing, cancel := context.WithCancel(context.WithoutCancel(ctx))
	if err != nil {
		cancel()
	}
	err = errors.Join(err, producer.Close(closing))
	cancel()
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	d.report.Published = newPhase(d.acked.Load(), d.report.Published.Bytes, time.Since(start))
	return err
}

func (d *demo) sendLines(ctx context.Context, producer *client.Producer, fail context.CancelCauseFunc) error {
	text := lines.NewReader(d.o.Text, maxLine)
	text.SplitLong = true
	for {
		line, err := text.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", d.o.Name, err)
		}
		if d.ledger.Messages() >= MaxMessages {
			return fmt.Errorf("%s has more than %d lines: take a smaller file", d.o.Name, int64(MaxMessages))
		}
		key := Key(line)
		n := d.ledger.Sent(key, line)
		err = producer.SendAsync(ctx, client.Record{
			Topic: topic, Key: key, Value: line,
			Headers: []client.Header{{Name: header, Value: strconv.FormatUint(uint64(n), 10)}},
		}, func(_ client.Result, err error) {
			if err != nil {
				fail(err)
				return
			}
			if d.acked.Add(1) == 1 {
				close(d.first)
			}
		})
		if err != nil {
			return err
		}
		d.report.Published.Bytes += int64(len(line))
		if int64(n) == killAt {
			if err := d.kill(ctx); err != nil {
				return err
			}
		}
		if d.o.Progress.Due() {
			d.o.Progress.Show("publishing: %s lines, %s acknowledged", cli.Count(int64(n)), cli.Count(d.acked.Load()))
		}
	}
	d.report.Lines = text.Number()
	return d.kill(ctx) // a short text ends before killAt
}

// flush waits for the acknowledgements and shows how they come.
func (d *demo) flush(ctx context.Context, producer *client.Producer) error {
	for {
		wait, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		err := producer.Flush(wait)
		late := wait.Err() != nil
		cancel()
		if err == nil || !late || ctx.Err() != nil {
			return err
		}
		if d.o.Progress.Due() {
			d.o.Progress.Show("publishing: %s of %s lines acknowledged", cli.Count(d.acked.Load()), cli.Count(d.ledger.Messages()))
		}
	}
}

// kill kills the broker and starts it again on its data and port, once and only
// if it was asked for.
func (d *demo) kill(ctx context.Context) error {
	if !d.o.Kill || d.report.Killed != nil {
		return nil
	}
	u, err := url.Parse(d.broker.URL)
	if err != nil {
		return err
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		return err
	}
	if d.ledger.Messages() > 0 {
		select {
		case <-d.first: // what was acknowledged before the kill is what it could lose
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	k := &Killed{Sent: d.ledger.Messages(), Acked: d.acked.Load()}
	d.o.Progress.Show("killing the broker (kill -9, process %d)", d.broker.process.Process.Pid)
	d.broker.Kill()
	start := time.Now()
	again, err := StartBroker(ctx, d.o.Exe, d.o.Dir, port)
	if err != nil {
		return err
	}
	d.broker = again
	k.BackSeconds = time.Since(start).Seconds()
	d.report.Killed = k
	return nil
}

// readBack reads all that the topic holds and lets the ledger judge it.
func (d *demo) readBack(ctx context.Context, c *client.Client) error {
	// After a kill the connection may still be on its way back.
	back, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if _, err := c.Admin().WaitReady(back); err != nil {
		return err
	}
	info, err := c.Admin().TopicInfo(ctx, topic)
	if err != nil {
		return err
	}
	stored := int64(0)
	for _, p := range info.Partitions {
		stored += int64(p.EndOffset - p.LogStart)
	}
	reader, err := c.NewReader(ctx, topic)
	if err != nil {
		return err
	}
	defer reader.Close()
	start, bytes, count := time.Now(), int64(0), int64(0)
	for count < stored {
		batch, err := nextWithin(ctx, reader, idle)
		if errors.Is(err, errIdle) {
			break // the verdict names what is missing
		}
		if err != nil {
			return err
		}
		for i := range batch {
			d.receive(&batch[i])
			bytes += int64(len(batch[i].Value))
			count++
		}
		if d.o.Progress.Due() {
			d.o.Progress.Show("reading back: %s of %s messages", cli.Count(count), cli.Count(stored))
		}
	}
	d.report.ReadBack = newPhase(count, bytes, time.Since(start))
	return nil
}

// receive lets the ledger judge one message.
func (d *demo) receive(r *client.Record) {
	n := uint64(0) // which was never sent
	for _, h := range r.Headers {
		if h.Name == header {
			n, _ = strconv.ParseUint(h.Value, 10, 32) // what is no number becomes 0
		}
	}
	_ = d.ledger.Received(uint32(n), r.Key, r.Value) // the verdict tells
}

var errIdle = errors.New("no message came")

func nextWithin(ctx context.Context, from *client.Reader, timeout time.Duration) ([]client.Record, error) {
	waiting, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	batch, err := from.NextBatch(waiting)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return nil, errIdle
	}
	return batch, err
}
