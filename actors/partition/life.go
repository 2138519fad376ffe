package partition

import (
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"metaq/actors"
	"metaq/protocol"
)

// How a partition comes by its log and gives it up: open on a worker, offer it
// to the topic, serve under the epoch that the topic grants; after a failure
// close, wait, open again; at the end flush, answer, close.

// open lets a worker open the log, after a wait that grows with each attempt.
func (p *partition) open(ctx actor.Context) {
	p.closeLog()
	wait := p.env.Options.Backoff(p.attempt)
	p.attempt++
	if wait == 0 {
		p.openNow(ctx)
		return
	}
	p.retry = p.env.Later(wait, ctx.Self(), retryOpen{})
}

func (p *partition) openNow(ctx actor.Context) {
	if p.busy || p.store != nil || p.stopping != nil || p.core.state == Failed {
		return
	}
	p.busy = true
	self, topic, id, settings := ctx.Self(), p.core.topic, p.core.id, p.settings
	p.env.Workers.Run(func() {
		log, err := p.env.deps.Logs.Open(topic, id, settings)
		p.env.Tell(self, &opened{owner: p, log: log, err: err})
	})
}

// started begins, or, after a crash while it was stopping, ends.
func (p *partition) started(ctx actor.Context) {
	if p.stopping = p.status.stopRequest(nil); p.stopping != nil {
		p.stopped(ctx)
		return
	}
	p.open(ctx)
}

// opened takes the worker's result.
func (p *partition) opened(ctx actor.Context, m *opened) {
	if m.owner != p { // an incarnation that has crashed asked for it
		if m.log != nil {
			p.store = m.log
			p.closeLog()
		}
		return
	}
	p.busy = false
	if p.stopping != nil {
		p.store = m.log
		p.stopped(ctx)
		return
	}
	var floor protocol.Epoch
	if m.err == nil {
		if floor = m.log.LastEpoch(); m.log.Next() < p.status.reached() {
			// A failed sync took records that a relaxed policy had shown. Others will come
			// in their place, and only their epoch tells them apart.
			floor = max(floor, p.status.lastEpoch()) + 1
		}
	}
	switch {
	case m.err != nil && actors.Damaged(m.err):
		p.log.Error("log is damaged, partition does not serve", "error", m.err)
		refusal := protocol.ErrPartition.With("%v", m.err)
		p.answer(ctx, p.core.abandon(Failed, refusal))
		p.leave(ctx, m.err.Error())
		ctx.Send(p.topic, InTrouble{p.core.id.N})
	case m.err != nil:
		p.openFailed(ctx, m.err)
	case p.epoch > 0 && p.epoch >= floor:
		p.store = m.log
		p.serve(ctx)
	default:
		p.store = m.log
		ctx.Send(p.topic, Opened{N: p.core.id.N, Floor: floor})
	}
}

// openFailed tries again later.
func (p *partition) openFailed(ctx actor.Context, err error) {
	wait := p.env.Options.Backoff(p.attempt)
	p.log.Warn("cannot open log, trying again", "error", err, "wait", wait)
	refusal := protocol.ErrPartition.With("partition %s of topic %s cannot open its log and tries again in %s: %v",
		p.core.id, p.core.topic, wait, err)
	p.answer(ctx, p.core.abandon(reopening, refusal))
	p.leave(ctx, err.Error())
	ctx.Send(p.topic, InTrouble{p.core.id.N})
	p.open(ctx)
}

// granted takes an epoch from the topic.
func (p *partition) granted(ctx actor.Context, epoch protocol.Epoch) {
	if epoch <= p.epoch && p.core.state == serving {
		return
	}
	p.epoch = max(p.epoch, epoch)
	if p.store == nil || p.stopping != nil {
		return // it serves under this epoch once it is open
	}
	if p.core.state != serving {
		p.serve(ctx)
		return
	}
	p.renew(ctx)
}

// renew makes a new epoch durable while the partition serves. It is tried again
// at each put while the log refuses it, as where the disk is full.
func (p *partition) renew(ctx actor.Context) {
	p.quiet(ctx)
	if p.core.state != serving {
		return
	}
	switch err := p.store.SetEpoch(p.epoch); {
	case actors.KeptNothing(err):
		p.core.noPuts = p.core.noRoom(err)
	case err != nil:
		p.perform(ctx, p.core.poison(fmt.Errorf("write epoch %d: %w", p.epoch, err)))
	default:
		p.core.granted(p.epoch)
		p.status.renewed(p.epoch)
	}
}

// serve begins to take requests.
func (p *partition) serve(ctx actor.Context) {
	err := p.store.SetEpoch(p.epoch)
	full := actors.KeptNothing(err)
	if err != nil && !full {
		p.openFailed(ctx, fmt.Errorf("write epoch %d: %w", p.epoch, err))
		return
	}
	p.core.open(p.store, p.epoch)
	if full {
		p.core.noPuts = p.core.noRoom(err) // what is there can be read
	}
	p.touched, p.parked, p.shown = true, false, p.core.committed
	if p.status.serve(p.store, p.epoch, p.core.committed) && p.reader != nil {
		ctx.Send(p.reader, wake{})
	}
	p.log.Debug("partition serves", "epoch", uint32(p.epoch), "log_start", int64(p.store.Start()), "end_offset", int64(p.core.next))
	ctx.Send(p.topic, Serving{p.core.id.N})
}

// leave shows that the partition does not serve any more.
func (p *partition) leave(ctx actor.Context, trouble string) {
	p.refuseHeld(ctx, p.core.refusal)
	if p.status.Leave(p.core.state, p.core.refusal, trouble) && p.reader != nil {
		ctx.Send(p.reader, wake{})
	}
}

// stop ends the partition: what it holds is committed, everybody is answered,
// the log is closed, and what still comes is refused.
func (p *partition) stop(ctx actor.Context, m *Stop) {
	if p.stopping != nil {
		return
	}
	m = p.status.stopRequest(m) // after a crash in what follows, too
	if p.core.state == serving {
		p.flush(ctx, true)
	}
	p.quiet(ctx)
	p.stopping = m
	if !p.busy {
		p.stopped(ctx)
	}
}

// stopped closes the log and tells the topic.
func (p *partition) stopped(ctx actor.Context) {
	p.answer(ctx, p.core.abandon(stopped, p.stopping.Refusal))
	p.leave(ctx, p.stopping.Refusal.Description)
	p.closeLog()
	ctx.Send(p.topic, Stopped{p.core.id.N})
}

// end is the last message of this incarnation: a crash, or the end after stop.
func (p *partition) end(ctx actor.Context) {
	p.quiet(ctx)
	if p.core.state != stopped {
		refusal := protocol.ErrUnavailable.With("partition %s of topic %s stops: try again", p.core.id, p.core.topic)
		p.answer(ctx, p.core.abandon(reopening, refusal))
		p.leave(ctx, refusal.Description)
	}
	p.closeLog()
}

// closeLog gives the log and its timers up.
func (p *partition) closeLog() {
	p.settle()
	p.own()
	p.running = nil
	for _, t := range []*time.Timer{p.timer, p.retry} {
		if t != nil {
			t.Stop()
		}
	}
	if p.store == nil {
		return
	}
	if err := p.store.Close(); err != nil {
		p.log.Warn("log did not close cleanly and will be recovered", "error", err)
	}
	p.store = nil
}

// Refuse implements Refusable: it closes the log of a partition that was stopped with a
// parent that crashed.
func (m *opened) Refuse(*actor.PID, func(*actor.PID)) {
	if m.log == nil {
		return
	}
	if err := m.log.Close(); err != nil {
		m.owner.log.Warn("log did not close cleanly and will be recovered", "error", err)
	}
}
