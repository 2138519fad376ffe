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
	// ErrNoBroker means that no broker serves the request at present, or that there
	// is no connection. The request was not carried out.
	ErrNoBroker = link.ErrNoBroker
	// ErrNoMessageDir is returned for a consumer that stores something when its Client
	// has no MessageDir.
	ErrNoMessageDir = errors.New("no message directory")
	// ErrCorrupt means that a fetched batch is damaged or cannot be decoded.
	ErrCorrupt = fetch.ErrCorrupt
)

// Refusals of the broker that callers often look for. Compare with errors.Is;
// protocol has all of them. A producer also returns ErrTooLarge without asking a broker.
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

// MovedError reports that a log is not the one that was read, and where reading continues.
// It stops nothing.
type MovedError struct {
	Topic     string
	Partition PartitionID
	From, To  Offset
	Recreated bool // the topic was deleted and made again; else the log has lost its end
}

// Error returns a description of what happened to the log.
func (e *MovedError) Error() string {
	if e.Recreated {
		return fmt.Sprintf("topic %s was deleted and recreated: partition %s is read from its beginning at offset %d instead of %d", e.Topic, e.Partition, e.To, e.From)
	}
	return fmt.Sprintf("the log of %s %s lost its tail: it is read from offset %d, where the logs diverge, instead of %d", e.Topic, e.Partition, e.To, e.From)
}
