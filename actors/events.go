package actors

import "metaq/protocol"

// Events tells the story of what happens to messages, in the words of
// docs/journey.md, for traces in tests. A nil function is not called. They are
// called on the goroutine of the partition or the reader and must not block.
type Events struct {
	Accept func(Event) // a request, or puts that came together, were given their offsets
	Append func(Event) // a flush was written: First and Next of all of it
	Sync   func(Event) // what is below Next is durable
	Commit func(Event) // the committed offset moved to Next
	Reply  func(Event) // those who waited for the records from First to Next, or Err: were refused
	Fetch  func(Event) // a get came; First is the offset asked for
	Read   func(Event) // a get was answered with what is from First to Next, or with Err
}

// Event is one step of a message's way through a partition.
type Event struct {
	Topic     string
	Partition protocol.PartitionID
	First     protocol.Offset // of the first record concerned
	Next      protocol.Offset // after the last record concerned
	Err       error
}
