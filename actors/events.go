package actors

import "metaq/protocol"

// Events reports the hops of a message, in the words of docs/journey.md, to traces in
// tests. A nil function is not called. Each is called on the goroutine that does the
// hop's work, Append and Sync on the partition's once their result is there, and must not
// block.
type Events struct {
	Receive func(Event) // a client's request was read from its socket; only Topic is set, to its subject
	Route   func(Event) // it is on its way to the actor that serves it; nothing is set
	Accept  func(Event) // a request, or puts that came together, were given their offsets
	Append  func(Event) // a flush was written: First and Next of all of it
	Sync    func(Event) // what is below Next is durable
	Commit  func(Event) // the committed offset moved to Next
	Reply   func(Event) // those who waited for the records from First to Next, or Err: were refused
	Fetch   func(Event) // a get came; First is the offset asked for
	Read    func(Event) // a get was answered with what is from First to Next, or with Err
	Settle  func(Event) // a group's step is durable; nothing is set
}

// Event is one step of a message's way through a partition.
type Event struct {
	Topic     string
	Partition protocol.PartitionID
	First     protocol.Offset // of the first record concerned
	Next      protocol.Offset // after the last record concerned
	Err       error
}
