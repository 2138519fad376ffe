package actors

import (
	"iter"

	"github.com/asynkron/protoactor-go/actor"

	"metaq/protocol"
)

// Requests to a partition. Each one is answered exactly once to the sender of
// its envelope, with the type that its comment names or with an error; a
// request without a sender is carried out and not answered. Whoever accepted
// the request holds a Ticket for it, which the answering actor gives back.

// Puts ask for records to be stored that came one after the other. Each is answered
// for itself. They belong to the partition from then on.
type Puts struct {
	All    []Put
	Memory Memory // where All and those who are answered lie, or nil; released as they are answered
	Next   *Puts  // those that came after them and are sent in the same message, or nil
}

// Put asks for one record to be stored. Answer: protocol.PubAck.
type Put struct {
	Record protocol.Record // its bytes do not change until Memory is released
	Memory Memory          // where Record.Value lies, or nil
	Check  *Check          // nil: nothing is asked for beside
	Ticket Ticket
	From   *actor.PID // who is answered; nil: the sender of the envelope
}

// Each are m and those after it, and takes their links apart. Where a put does not say
// who is answered it is sender from then on.
func (m *Puts) Each(sender *actor.PID) iter.Seq[*Puts] {
	return func(yield func(*Puts) bool) {
		for m != nil {
			rest := m.Cut(sender)
			if !yield(m) {
				return
			}
			m = rest
		}
	}
}

// Cut is one step of Each: m is then by itself, with who is answered, and those after it
// are returned.
func (m *Puts) Cut(sender *actor.PID) (rest *Puts) {
	for i := range m.All {
		if to := &m.All[i].From; *to == nil {
			*to = sender
		}
	}
	rest, m.Next = m.Next, nil
	return rest
}

// Check is what a put may ask for beside its storage: JetStream's publish
// headers that the partition judges. The zero value of each field asks nothing.
type Check struct {
	// ID is the message's id: within the topic's window a second message with it is
	// answered as the first one was, and not stored.
	ID string
	// Stream is the name that the partition must have, as in protocol.StreamName.
	Stream string
	// LastSequence is the sequence that the last message must have: its offset + 1,
	// 0 when there is none.
	LastSequence *uint64
	// LastID is the id that the last message must have.
	LastID string
}

// PutBatch asks for one encoded batch to be stored. Answer: protocol.PubAck
// with Count.
type PutBatch struct {
	Batch  []byte               // one whole batch; belongs to the partition from now on
	Memory Memory               // where it lies, or nil
	Header protocol.BatchHeader // as protocol.CheckBatch returned it
	Ticket Ticket
}

// Memory is where the bytes of requests lie. It is used again when all of them have been
// released; a request that is not leaves it to the garbage collector.
type Memory interface {
	// Release says that so many requests have no more use for their bytes. It may be
	// called from any goroutine.
	Release(requests int)
}

// ReleaseMemory releases memory that may be nil.
func ReleaseMemory(m Memory, requests int) {
	if m != nil {
		m.Release(requests)
	}
}

// Get asks for records below the committed offset. Answer: *GetResult, and as many
// more as the request allows and all but the last announce.
type Get struct {
	Request protocol.GetRequest // checked, see protocol.GetRequest.Check
	Ticket  Ticket
}

// GetResult is what a partition read for a Get.
type GetResult struct {
	Topic     string
	Partition protocol.PartitionID
	LogStart  protocol.Offset
	EndOffset protocol.Offset // committed end
	From      protocol.Offset // the offset asked for, or the log start
	Epoch     protocol.Epoch  // of the record before From; 0: not known. For FormatJSON
	// Frame is the answer in the format "batch", header and Batches, as it may be
	// sent; nil when there are none. Batches are whole batches as they are on disk;
	// the first may begin below From. The bytes belong to the receiver, who calls
	// Release once it has no more use for them.
	Frame       []byte
	Batches     []byte
	More        bool // another one follows
	MaxMessages int
	Format      string
	Filter      *protocol.Filter // or nil; for FormatJSON
	Release     func()
}

// Offsets asks for the ends of the log. Answer: protocol.OffsetsReply.
type Offsets struct {
	Request protocol.OffsetsRequest
	Ticket  Ticket
}

// Describe asks a partition for its state. Answer: protocol.PartitionInfo.
type Describe struct{}

// Ticket is what a request holds of the gateway's bounds on requests in flight.
// The zero value holds nothing.
type Ticket struct {
	From  Admission
	Bytes int
}

// Release gives the ticket back. Call it once.
func (t Ticket) Release() { t.ReleaseMany(1) }

// ReleaseMany gives the tickets of several requests back at once; t has the bytes of all.
func (t Ticket) ReleaseMany(requests int) {
	if t.From != nil {
		t.From.Release(requests, t.Bytes)
	}
}

// Admission counts the requests in flight and their bytes. Release may be
// called from any goroutine.
type Admission interface {
	Release(requests, bytes int)
}
