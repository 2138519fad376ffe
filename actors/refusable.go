package actors

import "github.com/asynkron/protoactor-go/actor"

// Refusable is a message that must not be lost when its actor has stopped: it holds
// something that has to be given back, or somebody waits for its answer. What makes
// dead letters of messages hands them to the system actor's handler, which calls Refuse.
type Refusable interface {
	// Refuse gives back what the message holds and passes everybody who waits for its
	// answer to refuse. The sender is that of the message's envelope, nil when nobody
	// waits. It is called once, from any goroutine, and instead of an answer.
	Refuse(sender *actor.PID, refuse func(to *actor.PID))
}

// Refuse implements Refusable.
func (m *Puts) Refuse(sender *actor.PID, refuse func(to *actor.PID)) {
	for m := range m.Each(sender) {
		for i := range m.All {
			m.All[i].Ticket.Release()
			refuse(m.All[i].From)
		}
	}
}

// Refuse implements Refusable.
func (m *PutBatch) Refuse(sender *actor.PID, refuse func(to *actor.PID)) {
	m.Ticket.Release()
	refuse(sender)
}

// Refuse implements Refusable.
func (m *Get) Refuse(sender *actor.PID, refuse func(to *actor.PID)) {
	m.Ticket.Release()
	refuse(sender)
}

// Refuse implements Refusable.
func (m *Offsets) Refuse(sender *actor.PID, refuse func(to *actor.PID)) {
	m.Ticket.Release()
	refuse(sender)
}

// Refuse implements Refusable.
func (m *GroupRequest) Refuse(sender *actor.PID, refuse func(to *actor.PID)) {
	m.Ticket.Release()
	refuse(sender)
}

// Refuse implements Refusable: nobody waits for the answer any more.
func (m *GetResult) Refuse(*actor.PID, func(*actor.PID)) { m.Release() }

// Refuse implements Refusable.
func (CreateTopic) Refuse(sender *actor.PID, refuse func(to *actor.PID)) { refuse(sender) }

// Refuse implements Refusable.
func (SetTopic) Refuse(sender *actor.PID, refuse func(to *actor.PID)) { refuse(sender) }

// Refuse implements Refusable.
func (DeleteTopic) Refuse(sender *actor.PID, refuse func(to *actor.PID)) { refuse(sender) }

// Refuse implements Refusable.
func (Dated) Refuse(sender *actor.PID, refuse func(to *actor.PID)) { refuse(sender) }

// Refuse implements Refusable.
func (ListTopics) Refuse(sender *actor.PID, refuse func(to *actor.PID)) { refuse(sender) }

// Refuse implements Refusable.
func (DescribeTopic) Refuse(sender *actor.PID, refuse func(to *actor.PID)) { refuse(sender) }

// Refuse implements Refusable.
func (AutoCreate) Refuse(sender *actor.PID, refuse func(to *actor.PID)) { refuse(sender) }

// Refuse implements Refusable.
func (GrantProducer) Refuse(sender *actor.PID, refuse func(to *actor.PID)) { refuse(sender) }

// Refuse implements Refusable.
func (DescribeBroker) Refuse(sender *actor.PID, refuse func(to *actor.PID)) { refuse(sender) }

// Refuse implements Refusable.
func (DescribeCluster) Refuse(sender *actor.PID, refuse func(to *actor.PID)) { refuse(sender) }

// Refuse implements Refusable.
func (DescribeOwn) Refuse(sender *actor.PID, refuse func(to *actor.PID)) { refuse(sender) }

// Refuse implements Refusable.
func (ListOwn) Refuse(sender *actor.PID, refuse func(to *actor.PID)) { refuse(sender) }

// Refuse implements Refusable.
func (DescribeNode) Refuse(sender *actor.PID, refuse func(to *actor.PID)) { refuse(sender) }

// Refuse implements Refusable.
func (Describe) Refuse(sender *actor.PID, refuse func(to *actor.PID)) { refuse(sender) }
