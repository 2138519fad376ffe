package link

import (
	"context"
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
)

// posts are the requests of a connection that wait for their answers without a
// goroutine each: one subscription gets all answers. The zero value is ready. Its
// methods may be called from any goroutine.
type posts struct {
	mu      sync.Mutex // guards the fields below
	sub     *nats.Subscription
	inbox   string // what the answers' subjects begin with
	waiting map[uint64]*post
	last    uint64 // number
}

// post is a request that waits for its answer.
type post struct {
	stop func() bool // ends the watch over ctx
	done func([]byte, error)
}

// What the server answers when nobody listens to a subject.
const (
	statusHeader = "Status"
	noResponders = "503"
)

// send publishes a request; done gets its answer, or why there is none.
func (p *posts) send(ctx context.Context, nc *nats.Conn, subject string, data []byte, done func([]byte, error)) {
	number, reply, err := p.expect(ctx, nc, done)
	if err != nil {
		done(nil, err)
		return
	}
	if err := nc.PublishRequest(subject, reply, data); err != nil {
		p.finish(number, nil, err)
	}
}

// expect notes a request and returns its number and where its answer goes.
func (p *posts) expect(ctx context.Context, nc *nats.Conn, done func([]byte, error)) (uint64, string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sub == nil {
		inbox := nc.NewInbox() + "."
		sub, err := nc.Subscribe(inbox+"*", p.answered)
		if err == nil {
			err = sub.SetPendingLimits(-1, -1) // each was asked for
		}
		if err != nil {
			return 0, "", err
		}
		p.sub, p.inbox, p.waiting = sub, inbox, make(map[uint64]*post)
	}
	p.last++
	number := p.last
	p.waiting[number] = &post{
		done: done,
		stop: context.AfterFunc(ctx, func() { p.finish(number, nil, ctx.Err()) }),
	}
	return number, p.inbox + strconv.FormatUint(number, 36), nil
}

// answered takes an answer from NATS.
func (p *posts) answered(m *nats.Msg) {
	number, err := strconv.ParseUint(m.Subject[strings.LastIndexByte(m.Subject, '.')+1:], 36, 64)
	if err != nil {
		return // not one of ours
	}
	if len(m.Data) == 0 && m.Header.Get(statusHeader) == noResponders {
		p.finish(number, nil, nats.ErrNoResponders)
		return
	}
	p.finish(number, m.Data, nil)
}

// finish reports what became of a request, unless that is done.
func (p *posts) finish(number uint64, data []byte, err error) {
	p.mu.Lock()
	r := p.waiting[number]
	delete(p.waiting, number)
	p.mu.Unlock()
	if r != nil {
		r.stop()
		r.done(data, err)
	}
}

// close ends the subscription. What waits is ended by its ctx.
func (p *posts) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sub != nil {
		_ = p.sub.Unsubscribe() // an error says that the connection has gone
	}
}
