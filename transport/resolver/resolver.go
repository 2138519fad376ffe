// Package resolver makes places outside the actor system into PIDs, so that an
// actor answers whoever asked with ctx.Respond and does not know who that is: a
// plain NATS client's reply inbox, or a part of the gateway.
//
// Its one job is PID <-> place: the PID's Address names the kind of place and
// its Id the place, for example {"nats", "_INBOX.abc.1"}. It starts no
// goroutine; what is sent to such a PID runs on the sender's.
package resolver

import (
	"github.com/asynkron/protoactor-go/actor"
)

// Deliver hands message to the place id. It is called from any goroutine, may
// be called concurrently, and must not wait for the actor that sends.
type Deliver func(id string, message any)

// Ask hands message to the place id, which answers to sender; that is nil when
// nobody waits for an answer. It is called like Deliver.
type Ask func(id string, message any, sender *actor.PID)

// Resolver is one kind of place. Make it with Register or RegisterAsk.
type Resolver struct {
	address string
	deliver Ask
	refused func(id string, message any)
}

// Register makes PIDs of address lead to deliver. Watch, Stop and Poison are
// not for places outside: they go to refused, which may be nil. Call it before
// the first actor is spawned; the system's address must be another one.
func Register(system *actor.ActorSystem, address string, deliver Deliver, refused func(id string, message any)) *Resolver {
	return RegisterAsk(system, address, func(id string, message any, _ *actor.PID) { deliver(id, message) }, refused)
}

// RegisterAsk is Register for places that answer: other brokers.
func RegisterAsk(system *actor.ActorSystem, address string, deliver Ask, refused func(id string, message any)) *Resolver {
	if refused == nil {
		refused = func(string, any) {}
	}
	r := &Resolver{address: address, deliver: deliver, refused: refused}
	var shared actor.Process = (*process)(r)
	system.ProcessRegistry.RegisterAddressResolver(func(pid *actor.PID) (actor.Process, bool) {
		return shared, pid.Address == address
	})
	return r
}

// PID returns the PID of the place id.
func (r *Resolver) PID(id string) *actor.PID {
	return &actor.PID{Address: r.address, Id: id}
}

// Fill makes pid, which is empty, the PID of the place id.
func (r *Resolver) Fill(pid *actor.PID, id string) { pid.Address, pid.Id = r.address, id }

// process is what every PID of the address leads to: the PID itself carries the
// place, so one value serves all.
type process Resolver

// SendUserMessage delivers an answer.
func (p *process) SendUserMessage(pid *actor.PID, message any) {
	_, message, sender := actor.UnwrapEnvelope(message)
	switch message.(type) {
	case *actor.PoisonPill:
		p.refused(pid.Id, message)
	case *actor.DeadLetterResponse:
		// The library's answer for an actor that has gone; actors.System gives the
		// one that a client understands.
	default:
		p.deliver(pid.Id, message, sender)
	}
}

// SendSystemMessage refuses: nobody may watch or stop a place outside.
func (p *process) SendSystemMessage(pid *actor.PID, message any) { p.refused(pid.Id, message) }

// Stop refuses likewise.
func (p *process) Stop(pid *actor.PID) { p.refused(pid.Id, &actor.Stop{}) }
