package client

import (
	"errors"
	"fmt"

	"metaq/client/internal/fetch"
	"metaq/client/internal/link"
	"metaq/client/internal/produce"
	"metaq/protocol"
)

// Errors of the client itself. Compare with errors.Is; the errors that a caller
// gets say more.
var (
	// ErrClosed is returned by calls on what was closed, and given to records
	// that a Close had to give up before they were ever sent: they are not stored.
	ErrClosed = link.ErrClosed
	// ErrBufferFull is returned by SendAsync and Send of a producer made with
	// RefuseWhenFull while its buffer is full. The record was not taken.
	ErrBufferFull = produce.ErrBufferFull
	// ErrOutcomeUnknown is given to a record that was sent and never answered:
	// it may or may not be stored. Sending it again may store it twice.
	ErrOutcomeUnknown = produce.ErrOutcomeUnknown
	// ErrNotDelivered is given to a record that was certainly not stored within
	// the delivery timeout. Sending it again is safe.
	ErrNotDelivered = produce.ErrNotDelivered
	// ErrNoBroker says that no broker serves what was asked for now, or that there
	// is no connection. The request was not carried out.
	ErrNoBroker = link.ErrNoBroker
	// ErrNoMessageDir refuses a consumer that is to keep something, of a Client
	// without a MessageDir.
	ErrNoMessageDir = errors.New("no message directory")
	// ErrCorrupt says that a fetched batch is damaged or not to be understood.
	ErrCorrupt = fetch.ErrCorrupt
)

// Refusals of the broker that callers often look for. Compare with errors.Is;
// protocol has all of them. A producer also returns ErrTooLarge on its own.
var (
	ErrTooLarge    error = protocol.ErrTooLarge
	ErrNoTopic     error = protocol.ErrNoTopic
	ErrNoPartition error = protocol.ErrNoPartition
	ErrExists      error = protocol.ErrExists
	ErrBadName     error = protocol.ErrBadName
	// ErrOutOfRange comes as a *protocol.RangeError, which has the log's ends.
	ErrOutOfRange error = protocol.ErrRange
)

// ErrDiverged comes as a *protocol.RangeError, which is ErrOutOfRange as well: the log is not
// the one that was read, since it lost its end.
var ErrDiverged error = protocol.ErrDiverged

// MovedError tells that a log is not the one that was read, and where reading continues.
// It stops nothing.
type MovedError struct {
	Topic     string
	Partition PartitionID
	From, To  Offset
	Recreated bool // the topic was deleted and made again; else the log has lost its end
}

// Error says what happened.
func (e *MovedError) Error() string {
	if e.Recreated {
		return fmt.Sprintf("topic %s was deleted and made again: partition %s is read from its beginning at offset %d, not from %d", e.Topic, e.Partition, e.To, e.From)
	}
	return fmt.Sprintf("the log of %s %s has lost its end: it is read from offset %d, where the logs part, not from %d", e.Topic, e.Partition, e.To, e.From)
}
