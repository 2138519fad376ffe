package partition

import (
	"github.com/asynkron/protoactor-go/actor"

	"metaq/actors"
	"metaq/protocol"
)

// How a partition comes to know the ids of its messages: at the first put that
// has one, a worker reads the log's last window. Puts wait for it, in their
// order; admission bounds how many.

// heldPuts are puts that wait, or a batch that does.
type heldPuts struct {
	waiting
	batch *actors.PutBatch // or nil
}

// idsRead is the worker's result.
type idsRead struct {
	log  actors.Log
	ids  *messageIDs
	last string
	err  error
}

// hold keeps what is in hand if it has to wait: the batch, or puts.
func (p *partition) hold(ctx actor.Context, batch *actors.PutBatch) bool {
	if !p.reading {
		if batch != nil || p.current.puts[0].Check == nil || !p.core.mustReadIDs(p.current.puts[0].Check) {
			return false
		}
		p.flush(ctx, true) // the log is to have what was put before
		p.quiet(ctx)
		if p.core.state != serving {
			return false
		}
		p.readIDs(ctx)
	}
	p.inHand = false
	p.held = append(p.held, heldPuts{p.current, batch})
	return true
}

func (p *partition) readIDs(ctx actor.Context) {
	p.reading = true
	self, log, end := ctx.Self(), p.store, p.core.written
	now, window, limit := p.env.deps.Elapsed(), p.core.window, p.core.maxIDs
	p.env.Workers.Run(func() {
		ids, last, err := readMessageIDs(log, end, now, window, limit)
		p.env.Tell(self, &idsRead{log, ids, last, err})
	})
}

func (p *partition) idsRead(ctx actor.Context, m *idsRead) {
	if m.log != p.store || !p.reading {
		return // another incarnation asked, and has answered who waited
	}
	if m.err != nil {
		p.refuseHeld(ctx, actors.ReadRefusal("read the message ids in the log: ", m.err))
		p.readFailed(ctx, readFailed{log: m.log, err: m.err})
		return
	}
	p.core.learnIDs(m.ids, m.last)
	p.reading = false
	for len(p.held) > 0 {
		h := p.held[0]
		p.held = p.held[1:] // before it is carried out: after a crash it is in hand, not held
		p.take(ctx, h.waiting)
		if h.batch != nil {
			p.putBatch(ctx, h.batch)
			continue
		}
		for p.inHand {
			p.put(ctx)
		}
	}
}

// refuseHeld answers the puts that wait.
func (p *partition) refuseHeld(ctx actor.Context, refusal *protocol.Error) {
	waiting := p.held
	p.reading, p.held = false, nil
	for i := range waiting {
		p.refuse(ctx, &waiting[i].waiting, refusal)
	}
}
