package partition

import (
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"metaq/actors"
	"metaq/protocol"
)

// readerCore decides what becomes of a get: refused, read now, or parked until
// there is something to read or its time is over. It is pure: time and the ends
// of the log are told to it.
type readerCore struct {
	opts   actors.Options // with defaults
	parked []fetch        // in order of arrival
	going  []fetch        // that had an answer and get another one, in turn
}

// fetch is one get with its bounds applied.
type fetch struct {
	to          *actor.PID
	ticket      actors.Ticket
	since       time.Time
	deadline    time.Time
	from        protocol.Offset // -1: the log start
	epoch       protocol.Epoch  // that the record before from must have; 0: any
	maxBytes    int
	maxMessages int
	answers     int // that may come, at least 1
	format      string
	filter      *protocol.Filter
}

// decision is what to do with a fetch.
type decision uint8

const (
	refuseFetch decision = iota // answer with the error
	readFetch                   // read from from
	emptyFetch                  // answer with nothing
	parkFetch                   // keep it
)

// newFetch applies the broker's bounds to a request.
func (c *readerCore) newFetch(r *protocol.GetRequest, t actors.Ticket, to *actor.PID, now time.Time) fetch {
	f := fetch{
		to: to, ticket: t, since: now, from: -1,
		deadline:    now.Add(min(time.Duration(r.WaitMs)*time.Millisecond, c.opts.MaxWait)),
		maxBytes:    r.MaxBytes,
		maxMessages: r.MaxMessages, format: r.Format, filter: r.Filter,
	}
	if r.Offset != nil {
		f.from, f.epoch = *r.Offset, r.Epoch
	}
	if f.maxBytes <= 0 || f.maxBytes > c.opts.MaxTransferSize {
		f.maxBytes = c.opts.MaxTransferSize
	}
	if f.maxMessages <= 0 {
		f.maxMessages = c.opts.MaxMessages
	}
	if f.format == "" {
		f.format = protocol.FormatJSON
	}
	f.answers = 1
	if f.format == protocol.FormatBatch {
		f.answers = min(max(r.Answers, 1), protocol.MaxAnswers)
	}
	return f
}

func (c *readerCore) outOfRange(from, start, end protocol.Offset) error {
	err := protocol.NewRangeError(from, start, end)
	err.JumpToEnd = c.opts.JumpToEnd
	return err
}

// decide says what to do with f when the log holds start to end.
func (c *readerCore) decide(f *fetch, start, end protocol.Offset, now time.Time) (decision, error) {
	from := f.from
	if from < 0 {
		from = min(start, end)
	}
	switch {
	case from < start || from > end:
		return refuseFetch, c.outOfRange(from, start, end)
	case from < end:
		return readFetch, nil
	case !now.Before(f.deadline):
		return emptyFetch, nil
	case len(c.parked) >= c.opts.MaxParked:
		return refuseFetch, protocol.ErrBusy.With("%d gets wait at this partition: back off and try again", len(c.parked))
	}
	return parkFetch, nil
}

// diverged refuses f when the log is not the one that was read, of a topic that was born
// above epoch born.
func (c *readerCore) diverged(f *fetch, log protocol.Lineage, born protocol.Epoch) error {
	to, diverged := log.Diverged(f.from, f.epoch)
	if !diverged {
		return nil
	}
	err := protocol.NewDivergedError(to, log.LogStart, log.EndOffset,
		"offset %d was read in epoch %d, and the log is another one from %d on, since it lost its end", f.from, f.epoch, to)
	if f.epoch <= born {
		to = log.LogStart
		err = protocol.NewDivergedError(to, log.LogStart, log.EndOffset,
			"offset %d is one of an earlier topic of this name, which was deleted: begin at %d", f.from, to)
		err.Recreated = true
	}
	err.JumpToEnd = c.opts.JumpToEnd
	return err
}

// goOn keeps f for its next answer, from next on, which is behind a record of epoch.
func (c *readerCore) goOn(f fetch, next protocol.Offset, epoch protocol.Epoch) {
	f.from, f.epoch, f.answers = next, epoch, f.answers-1
	c.going = append(c.going, f)
}

// nextGoing hands out the fetch whose turn it is; false when there is none.
func (c *readerCore) nextGoing() (fetch, bool) {
	if len(c.going) == 0 {
		return fetch{}, false
	}
	f := c.going[0]
	c.going = slices.Delete(c.going, 0, 1)
	return f, true
}

// all hands out every fetch that waits.
func (c *readerCore) all() []fetch {
	all := append(c.unpark(), c.going...)
	c.going = nil
	return all
}

// park keeps f.
func (c *readerCore) park(f fetch) { c.parked = append(c.parked, f) }

// unpark hands out all parked fetches, which decide then judges again.
func (c *readerCore) unpark() []fetch {
	all := c.parked
	c.parked = nil
	return all
}

// due hands out the fetches whose time is over.
func (c *readerCore) due(now time.Time) []fetch {
	var over []fetch
	c.parked = slices.DeleteFunc(c.parked, func(f fetch) bool {
		if now.Before(f.deadline) {
			return false
		}
		over = append(over, f)
		return true
	})
	return over
}

// deadline is the earliest one of the parked fetches; false when there is none.
func (c *readerCore) deadline() (time.Time, bool) {
	if len(c.parked) == 0 {
		return time.Time{}, false
	}
	first := slices.MinFunc(c.parked, func(a, b fetch) int { return a.deadline.Compare(b.deadline) })
	return first.deadline, true
}
