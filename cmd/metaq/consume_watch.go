package main

import (
	"context"
	"fmt"
	"time"

	"metaq/client"
)

// unreadWatch finds the partitions that stay unread: else a command that waits for
// messages without an end would not say that it waits in vain.
type unreadWatch struct {
	looks map[client.PartitionID]int // in a row at which a partition was not read
}

// look returns those that were not read at the look before either and have not
// been returned since they were last read.
func (w *unreadWatch) look(positions []client.Position) []client.Position {
	var unread []client.Position
	for _, p := range positions {
		if p.Err == nil {
			delete(w.looks, p.Partition) // in a nil map nothing happens
			continue
		}
		if w.looks == nil {
			w.looks = map[client.PartitionID]int{}
		}
		if w.looks[p.Partition]++; w.looks[p.Partition] == 2 {
			unread = append(unread, p)
		}
	}
	return unread
}

// sayUnread looks once a second and says what it finds. stop returns when it has
// ended.
func sayUnread(ctx context.Context, topic string, positions func() []client.Position, say func(error)) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		var w unreadWatch
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			for _, p := range w.look(positions()) {
				say(fmt.Errorf("%s %s is not read, trying again: %w", topic, p.Partition, p.Err))
			}
		}
	}()
	return func() { cancel(); <-done }
}
