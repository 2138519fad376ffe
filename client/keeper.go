package client

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"metaq/protocol"
)

// keeper keeps the records that a Consumer could not process, and gives them to its
// handler again. It has one goroutine. A nil keeper is that of a consumer which
// keeps nothing.
type keeper struct {
	con   *Consumer
	start chan struct{} // closed by begin
	quit  chan struct{} // closed by stop
	done  chan struct{} // closed when the goroutine has gone
	once  sync.Once
}

// openFiles opens what a consumer keeps.
func (c *Client) openFiles(group, instance string) (ConsumerStore, error) {
	if c.messages == nil {
		return nil, fmt.Errorf("%w: OnFailure(Keep) and Broadcast(nil) need one, connect with WithMessageDir", ErrNoMessageDir)
	}
	return c.messages.OpenConsumer(group, instance)
}

func newKeeper(con *Consumer) *keeper {
	k := &keeper{con: con, start: make(chan struct{}), quit: make(chan struct{}), done: make(chan struct{})}
	go k.run()
	return k
}

// begin starts the first round. It is called at most once.
func (k *keeper) begin() {
	if k != nil {
		close(k.start)
	}
}

// Stop ends the rounds after the record in hand. It may be called again.
func (k *keeper) Stop() {
	if k != nil {
		k.once.Do(func() { close(k.quit) })
	}
}

// Wait returns when a stopped keeper has ended.
func (k *keeper) Wait() {
	if k != nil {
		<-k.done
	}
}

func (k *keeper) stopped() bool {
	select {
	case <-k.quit:
		return true
	default:
		return false
	}
}

// keep returns when r is on disk.
func (k *keeper) keep(r Record, reason error) error {
	if err := k.con.files.Keep(r); err != nil {
		return fmt.Errorf("%s %s waits at offset %d, which cannot be kept: %w", r.Topic, r.Partition, r.Offset, err)
	}
	k.con.log.Debug("record kept", "topic", r.Topic, "partition", r.Partition.String(), "offset", int64(r.Offset), "err", reason)
	return nil
}

func (k *keeper) run() {
	defer close(k.done)
	select {
	case <-k.start:
	case <-k.quit:
		return
	}
	t := time.NewTimer(k.con.o.keptEvery)
	defer t.Stop()
	for !k.stopped() {
		k.round()
		t.Reset(k.con.o.keptEvery)
		select {
		case <-t.C:
		case <-k.quit:
		}
	}
}

// round gives the handler every kept record once. The problems of a round are told
// together, since there may be as many as there are records.
func (k *keeper) round() {
	numbers, err := k.con.files.Kept()
	if err != nil {
		k.con.o.onError(fmt.Errorf("kept records cannot be read: %w", err))
		return
	}
	var processed, failed int
	var first error
	for _, n := range numbers {
		if k.stopped() {
			break
		}
		switch gone, err := k.again(n); {
		case gone:
			processed++
		case err != nil:
			failed++
			if first == nil {
				first = err
			}
		}
	}
	if processed > 0 {
		k.con.log.Info("kept records processed", "records", processed)
	}
	if failed > 0 && k.con.ctx.Err() == nil {
		k.con.o.onError(fmt.Errorf("%d of %d kept records stay kept; the first one: %w", failed, len(numbers), first))
	}
}

// again gives the handler one kept record, and lets go of it when it is processed.
// A topic that the consumer does not take any more stays for one that does.
func (k *keeper) again(number int64) (gone bool, err error) {
	con := k.con
	r, err := con.files.Record(number)
	if err != nil || !slices.Contains(con.o.join.Topics, r.Topic) {
		return false, err
	}
	err = con.guarded(protocol.TopicPartition{Topic: r.Topic, Partition: r.Partition}, func() error {
		if con.o.batch != nil {
			return con.o.batch(con.ctx, []Record{r})
		}
		return con.o.handle(con.ctx, r)
	})
	if err != nil {
		return false, fmt.Errorf("offset %d of %s %s: %w", r.Offset, r.Topic, r.Partition, err)
	}
	if err := con.files.Drop(number); err != nil {
		return false, fmt.Errorf("offset %d of %s %s is processed and comes again: %w", r.Offset, r.Topic, r.Partition, err)
	}
	return true, nil
}
