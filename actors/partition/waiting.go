package partition

import (
	"sync"

	"github.com/asynkron/protoactor-go/actor"

	"metaq/actors"
	"metaq/protocol"
)

// waiting are requests that will be answered: puts whose records are stored one behind
// the other, or one batch.
type waiting struct {
	puts   []actors.Put  // none: it is a batch
	memory actors.Memory // where puts lie, or nil

	to     *actor.PID    // who sent the batch; nil: nobody wants to know
	ticket actors.Ticket // of the batch
	count  int           // records of the batch; 0 for puts

	first     protocol.Offset
	duplicate bool
}

// requests is how many they are.
func (w *waiting) requests() int { return max(1, len(w.puts)) }

// next is the offset behind what they ask for.
func (w *waiting) next() protocol.Offset {
	return w.first + protocol.Offset(max(1, w.count, len(w.puts)))
}

// asker is who sent the ith of the requests, in the order of the offsets.
func (w *waiting) asker(i int) *actor.PID {
	if len(w.puts) == 0 {
		return w.to
	}
	return w.puts[i].From
}

// release gives back where they lie, when they have been answered.
func (w *waiting) release() { actors.ReleaseMemory(w.memory, len(w.puts)) }

func requestsOf(all []waiting) (n int) {
	for i := range all {
		n += all[i].requests()
	}
	return n
}

// releaseTickets gives the tickets of all back, those of one account at once.
func releaseTickets(all []waiting) {
	var sum actors.Ticket
	requests := 0
	add := func(t actors.Ticket) {
		if t.From == sum.From {
			sum.Bytes += t.Bytes
			requests++
			return
		}
		sum.ReleaseMany(requests)
		sum, requests = t, 1
	}
	for i := range all {
		w := &all[i]
		if len(w.puts) == 0 {
			add(w.ticket)
		}
		for k := range w.puts {
			add(w.puts[k].Ticket)
		}
	}
	sum.ReleaseMany(requests)
}

var waitings = sync.Pool{New: func() any { return new([]waiting) }}

// handOut gives the waiting away.
func (c *core) handOut(from *[]waiting) []waiting {
	if len(*from) == 0 {
		return nil
	}
	all := *from
	*from = *waitings.Get().(*[]waiting) //nolint:forcetypeassert // the pool's own
	return all
}

// join gives the waiting away behind others.
func (c *core) join(others []waiting, from *[]waiting) []waiting {
	if len(others) == 0 {
		return c.handOut(from)
	}
	others = append(others, *from...)
	clear(*from)
	*from = (*from)[:0]
	return others
}

// recycle takes back what an outcome handed out, when all were answered. It may be called
// from any goroutine.
func recycle(all []waiting) {
	for i := range all {
		all[i].release()
	}
	clear(all)
	all = all[:0]
	waitings.Put(&all)
}
