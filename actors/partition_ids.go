package actors

import (
	"github.com/asynkron/protoactor-go/actor"

	"metaq/protocol"
)

// How a partition comes to know the ids of its messages: at the first put that
// has one, a worker reads the log's last window. Puts wait for it, in their
// order; admission bounds how many.

// heldPut is a put that waits.
type heldPut struct {
	message any // *Put or *PutBatch
	sender  *actor.PID
}

// idsRead is the worker's result.
type idsRead struct {
	log  Log
	ids  *messageIDs
	last string
	err  error
}

// hold keeps a put if it has to wait.
func (p *partition) hold(ctx actor.Context, message any, check *Check, sender *actor.PID) bool {
	h := heldPut{message, sender}
	if !p.reading {
		if check == nil || !p.core.mustReadIDs(check) {
			return false
		}
		p.inHand, p.current = true, waitingOf(h)
		p.flush(ctx, true) // the log is to have what was put before
		p.quiet(ctx)
		p.inHand = false
		if p.core.state != serving {
			return false
		}
		p.readIDs(ctx)
	}
	p.held = append(p.held, h)
	return true
}

func (p *partition) readIDs(ctx actor.Context) {
	p.reading = true
	self, log, end := ctx.Self(), p.store, p.core.written
	now, window, limit := p.env.now().UnixMilli(), p.core.window, p.core.maxIDs
	p.env.workers.run(func() {
		ids, last, err := readMessageIDs(log, end, now, window, limit)
		p.env.tell(self, &idsRead{log, ids, last, err})
	})
}

func (p *partition) idsRead(ctx actor.Context, m *idsRead) {
	if m.log != p.store || !p.reading {
		return // another incarnation asked, and has answered who waited
	}
	if m.err != nil {
		p.refuseHeld(ctx, protocol.ErrPartition.With("read the message ids in the log: %v: try again", m.err))
		p.readFailed(ctx, readFailed{log: m.log, err: m.err})
		return
	}
	p.core.learnIDs(m.ids, m.last)
	p.reading = false
	for len(p.held) > 0 {
		h := p.held[0]
		p.held = p.held[1:] // before it is carried out: after a crash it is in hand, not held
		switch m := h.message.(type) {
		case *Put:
			memory := m.Memory
			p.put(ctx, m, h.sender)
			releaseMemory(memory, 1)
		case *PutBatch:
			p.putBatch(ctx, m, h.sender)
		}
	}
}

// refuseHeld answers the puts that wait.
func (p *partition) refuseHeld(ctx actor.Context, refusal *protocol.Error) {
	waiting := p.held
	p.reading, p.held = false, nil
	for _, h := range waiting {
		w := waitingOf(h)
		p.refuse(ctx, &w, refusal)
	}
}

func waitingOf(h heldPut) waiting {
	w := waiting{to: h.sender}
	switch m := h.message.(type) {
	case *Put:
		w.ticket = m.Ticket
	case *PutBatch:
		w.ticket = m.Ticket
	}
	return w
}
