package client

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"metaq/client/internal/link"
	"metaq/protocol"
)

// redriveIdle is how long Redrive waits for the next dead letter that is known to
// be there.
const redriveIdle = 30 * time.Second

// errRedriven keeps Redrive from the dead letters that came after it began: one
// that fails again at once is not put back for ever.
var errRedriven = errors.New("all that were there are put back")

// Redrive puts the dead letters of a group in a topic back into the topic, in
// order within each partition, without the headers that tell why they had failed
// (and with the others as Passed gives them).
// It returns how many it put back, once all are stored that were there when it
// began.
//
// What was put back is remembered as the offsets of the group that has the
// dead-letter topic's name, so the next call begins after it. Like every consumer
// it works at least once: after an error, letters since the last commit may be put
// back twice. ErrConflict while another call works on the same letters, or within
// a session after one has crashed; ErrNoTopic and ErrNoGroup when there are neither dead
// letters nor the topic, or the group, that they would be from.
func (c *Client) Redrive(ctx context.Context, group, topic string) (int64, error) {
	if err := errors.Join(link.CheckGroup(group), link.CheckTopic(topic)); err != nil {
		return 0, err
	}
	r := &redrive{
		group: group, topic: topic, from: DeadLetterTopic(topic, group), end: map[PartitionID]Offset{},
		ready: make(chan struct{}), over: make(chan struct{}), news: make(chan struct{}, 1),
	}
	// The first look spares the rest where there is nothing to do; the one that counts is
	// made when nobody else can put letters back.
	if err := r.look(ctx, c.Admin(), false); err != nil || r.left == 0 {
		return 0, err
	}
	var err error
	if r.producer, err = c.NewProducer(); err != nil {
		return 0, err
	}
	consumer, err := c.NewConsumer(ctx, r.from, []string{r.from}, nil, WithBatchHandler(r.Handle, 1000), WithClientName("redrive"),
		WithRetries(math.MaxInt, time.Second, time.Second), OnFailure(StopConsumer), OnError(r.failed), alone)
	switch {
	case errors.Is(err, ErrConflict):
		err = r.busy()
	case err == nil:
		if err = r.look(ctx, c.Admin(), true); err == nil {
			close(r.ready)
			err = r.Wait(ctx, consumer)
		}
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), link.RequestTimeout)
	defer cancel()
	if consumer != nil {
		err = errors.Join(err, consumer.Close(bounded))
	}
	err = errors.Join(err, r.producer.Close(bounded))
	return r.done, err
}

type redrive struct {
	group, topic, from string

	producer *Producer
	ready    chan struct{}          // closed when the next two are known
	end      map[PartitionID]Offset // of the letters to put back
	over     chan struct{}          // closed when none is left, or none will be taken
	once     sync.Once              // for over
	news     chan struct{}          // has a token when one was put back

	mu    sync.Mutex // guards what follows
	left  int64
	done  int64
	cause error // the newest problem since one was put back
}

func (r *redrive) busy() error {
	return protocol.ErrConflict.With("the dead letters in %s are being put back; wait until that has ended, or for %v when it has crashed, and call again", r.from, protocol.DefaultSessionMs*time.Millisecond)
}

// look finds what there is to put back. joined says that this is the group's only member.
func (r *redrive) look(ctx context.Context, a *Admin, joined bool) error {
	info, err := a.TopicInfo(ctx, r.from)
	if errors.Is(err, ErrNoTopic) {
		// Nothing has failed, unless there is a slip in a name.
		if _, err := a.TopicInfo(ctx, r.topic); err != nil {
			return err
		}
		_, err := a.GroupInfo(ctx, r.group)
		return err
	}
	if err != nil {
		return err
	}
	known, err := a.GroupInfo(ctx, r.from)
	switch {
	case err == nil && !joined && len(known.Members) > 0:
		return r.busy()
	case err != nil && !errors.Is(err, ErrNoGroup):
		return err
	}
	at := map[PartitionID]Offset{}
	r.left = 0
	for i := range known.Partitions {
		if p := &known.Partitions[i]; p.Topic == r.from && p.Committed != nil {
			at[p.Partition] = *p.Committed
		}
	}
	for i := range info.Partitions {
		p := &info.Partitions[i]
		r.end[p.Partition] = p.EndOffset
		r.left += max(0, int64(p.EndOffset-max(p.LogStart, at[p.Partition])))
	}
	if r.left == 0 {
		r.once.Do(func() { close(r.over) })
	}
	return nil
}

// Handle is a BatchHandler: it puts letters back and waits until they are stored.
func (r *redrive) Handle(ctx context.Context, recs []Record) error {
	select {
	case <-r.ready:
	case <-ctx.Done():
		return ctx.Err()
	}
	take := slices.IndexFunc(recs, func(rec Record) bool { return rec.Offset >= r.end[rec.Partition] })
	if take < 0 {
		take = len(recs)
	}
	errs := make([]error, take)
	var work sync.WaitGroup
	for i := range recs[:take] {
		back := Record{Topic: r.topic, Key: recs[i].Key, Value: recs[i].Value, Headers: alive(recs[i].Headers)}
		work.Add(1)
		done := func(_ Result, err error) { errs[i] = err; work.Done() }
		if err := r.producer.SendAsync(ctx, back, done); err != nil {
			done(Result{}, err)
		}
	}
	work.Wait()
	// Those after the first failure come again, and may then be stored twice.
	stored := slices.IndexFunc(errs, func(err error) bool { return err != nil })
	if stored < 0 {
		r.count(take)
		if take == len(recs) {
			return nil
		}
		return &BatchError{Index: take, Err: errRedriven}
	}
	r.count(stored)
	r.failed(errs[stored])
	if !link.Retriable(errs[stored]) {
		r.once.Do(func() { close(r.over) })
	}
	return &BatchError{Index: stored, Err: errs[stored]}
}

func (r *redrive) count(n int) {
	if n == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done, r.left, r.cause = r.done+int64(n), r.left-int64(n), nil
	if r.left == 0 {
		r.once.Do(func() { close(r.over) })
	}
	select {
	case r.news <- struct{}{}:
	default:
	}
}

// failed remembers a problem, which may pass.
func (r *redrive) failed(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cause = err
}

// Wait returns when all is put back, or why not.
func (r *redrive) Wait(ctx context.Context, con *Consumer) error {
	idle := time.NewTimer(redriveIdle)
	defer idle.Stop()
	for {
		select {
		case <-r.over:
		case <-r.news:
			idle.Reset(redriveIdle)
			continue
		case <-con.Done():
			return con.Err()
		case <-ctx.Done():
			return ctx.Err()
		case <-idle.C:
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.left == 0 {
			return nil
		}
		if r.cause == nil {
			r.cause = fmt.Errorf("no dead letter came for %v", redriveIdle)
		}
		return fmt.Errorf("%d of %d dead letters are put back: %w", r.done, r.done+r.left, r.cause)
	}
}

// deadHeaders are those that send adds to a record.
var deadHeaders = []string{
	HeaderDeadReason, HeaderDeadAttempts, HeaderDeadGroup, HeaderDeadTopic, HeaderDeadPartition, HeaderDeadOffset, HeaderDeadTime,
}

// alive returns the headers that a record had before it became a dead letter: those that
// send added last are taken away. A letter that had been one before keeps the older ones.
func alive(all []Header) []Header {
	headers := Passed(all)
	for _, name := range deadHeaders {
		for i, h := range slices.Backward(headers) {
			if h.Name == name {
				headers = slices.Delete(headers, i, i+1)
				break
			}
		}
	}
	return headers
}
