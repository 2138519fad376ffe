package pipe

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math"
	"sync"
	"time"

	"metaq/client"
)

// Member is what ConsumeGroup needs of a consumer; *client.Consumer is one. It
// must be made with client.StopConsumer and without retries.
type Member interface {
	Done() <-chan struct{}           // closed when it has ended
	Err() error                      // why it ended by itself, or nil
	Close(ctx context.Context) error // commits, and leaves the group
}

// leaveTimeout bounds the last commit and the leaving.
const leaveTimeout = 10 * time.Second

// errEnough ends a consumer whose printer wants no more.
var errEnough = errors.New("enough messages are printed")

// ConsumeGroup writes the messages that a member of a group is given, each with a
// newline behind it, and returns how many it wrote. join makes the member with
// the handler. What the handler has returned for is on the stream, and nothing
// else is committed. It ends as Consume does, and has then left the group.
func ConsumeGroup(ctx context.Context, join func(client.BatchHandler) (Member, error), to io.Writer, o ConsumeOptions) (written int64, err error) {
	p := &printer{out: bufio.NewWriterSize(to, 64<<10), o: o, enough: make(chan struct{}), news: make(chan struct{}, 1)}
	m, err := join(p.handle)
	if err != nil {
		return 0, err
	}
	p.wait(ctx, m.Done())
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	err = m.Close(bounded)
	if cause := m.Err(); cause != nil && !errors.Is(cause, errEnough) {
		var failed *client.HandlerError // the stream's error, under the name of a message
		if errors.As(cause, &failed) {
			cause = failed.Err
		}
		err = errors.Join(cause, err)
	}
	return p.written, err
}

// printer writes what several partitions hand over at the same time.
type printer struct {
	o      ConsumeOptions
	enough chan struct{} // closed when Count is reached
	news   chan struct{} // has a token after each batch

	mu      sync.Mutex // guards what follows
	out     *bufio.Writer
	written int64
}

// handle is a client.BatchHandler. The lock is held over the write: the stream
// takes one batch at a time, and so the others wait for it anyway.
func (p *printer) handle(ctx context.Context, recs []client.Record) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() != nil {
		return ctx.Err() // taken away while it waited: another member prints it
	}
	take := len(recs)
	if p.o.Count > 0 {
		take = int(min(int64(take), p.o.Count-p.written))
	}
	for i := range recs[:take] {
		if err := write(p.out, &recs[i], p.o.JSON); err != nil {
			return err
		}
	}
	if err := p.out.Flush(); err != nil {
		return err
	}
	p.written += int64(take)
	if take > 0 && p.written == p.o.Count {
		close(p.enough)
	}
	select {
	case p.news <- struct{}{}:
	default:
	}
	if take < len(recs) {
		return &client.BatchError{Index: take, Err: errEnough}
	}
	return nil
}

// wait returns when the printer is to end.
func (p *printer) wait(ctx context.Context, done <-chan struct{}) {
	limit := p.o.Timeout
	if limit == 0 {
		limit = math.MaxInt64
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		select {
		case <-p.news:
			timer.Reset(limit)
			continue
		case <-timer.C:
		case <-p.enough:
		case <-done:
		case <-ctx.Done():
		}
		return
	}
}
