package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"

	"metaq/protocol"
)

// Errors of the client itself. Compare with errors.Is; the errors that a caller
// gets say more.
var (
	// ErrClosed is returned by calls on what was closed, and given to records
	// that a Close had to give up before they were ever sent: they are not stored.
	ErrClosed = errors.New("closed")
	// ErrBufferFull is returned by SendAsync and Send of a producer made with
	// RefuseWhenFull while its buffer is full. The record was not taken.
	ErrBufferFull = errors.New("the producer's buffer is full")
	// ErrOutcomeUnknown is given to a record that was sent and never answered:
	// it may or may not be stored. Sending it anew may store it twice.
	ErrOutcomeUnknown = errors.New("outcome unknown")
	// ErrNotDelivered is given to a record that was certainly not stored within
	// the delivery timeout. Sending it anew is safe.
	ErrNotDelivered = errors.New("not delivered within the timeout")
	// ErrNoBroker says that no broker serves what was asked for now, or that there
	// is no connection. The request was not carried out.
	ErrNoBroker = errors.New("no broker answers")
	// ErrNoMessageDir refuses a consumer that is to keep something, of a Client
	// without a MessageDir.
	ErrNoMessageDir = errors.New("no message directory")
	// ErrCorrupt says that a fetched batch is damaged or not to be understood.
	ErrCorrupt = errors.New("damaged batch")
)

// Refusals of the broker that callers often look for. Compare with errors.Is;
// protocol has all of them. A producer returns ErrTooLarge also by itself.
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

// errUnserved is ErrNoBroker of one who asked over a connection: nobody serves the
// subject.
var errUnserved = fmt.Errorf("%w", ErrNoBroker)

// errConnLost ends a request whose connection broke: its outcome is unknown.
var errConnLost = errors.New("the connection was lost before the answer came")

// errNoAnswer ends a request that was not answered in time: its outcome is
// unknown.
var errNoAnswer = errors.New("no answer in time")

// retriable says whether the same request may succeed later.
func retriable(err error) bool {
	var e *protocol.Error
	if errors.As(err, &e) {
		return e.Class() != protocol.GiveUp
	}
	return errors.Is(err, ErrNoBroker) || errors.Is(err, errConnLost) || errors.Is(err, errNoAnswer)
}

// notThere says whether a broker does not know the topic or partition. One that
// just started, or that is about to lead, may say so of a partition that exists:
// the last word is that of the topic's description.
func notThere(err error) bool { return errors.Is(err, ErrNoTopic) || errors.Is(err, ErrNoPartition) }

// maybeDone says whether a request that ended with err may have been carried
// out. A 503 is such an answer too: after a failed sync the partition recovers
// from its disk, where the batch may be.
func maybeDone(err error) bool {
	var e *protocol.Error
	if errors.As(err, &e) {
		return e.Code >= 500 && !errors.Is(e, protocol.ErrDiskFull)
	}
	return !errors.Is(err, ErrNoBroker) && !errors.Is(err, nats.ErrMaxPayload)
}

// requestError turns what NATS says about a request into an error of this
// package that names subject and servers.
func requestError(ctx context.Context, err error, subject, servers string) error {
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return fmt.Errorf("%w on %s at %s", errUnserved, subject, servers)
	case errors.Is(err, nats.ErrReconnectBufExceeded):
		return fmt.Errorf("%w on %s: not connected to %s", ErrNoBroker, subject, servers)
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrConnectionDraining), errors.Is(context.Cause(ctx), ErrClosed):
		return fmt.Errorf("request %s: connection to %s is %w", subject, servers, ErrClosed)
	case errors.Is(err, nats.ErrDisconnected), errors.Is(context.Cause(ctx), errConnLost):
		return fmt.Errorf("request %s at %s: %w", subject, servers, errConnLost)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return fmt.Errorf("request %s at %s: %w", subject, servers, errNoAnswer)
	case errors.Is(err, nats.ErrMaxPayload), errors.Is(err, nats.ErrBadSubject), errors.Is(err, nats.ErrInvalidMsg),
		errors.Is(err, nats.ErrInvalidArg), errors.Is(err, nats.ErrHeadersNotSupported), errors.Is(err, context.Canceled):
		return fmt.Errorf("request %s at %s: %w", subject, servers, err)
	default:
		// What is left is the socket's: NATS hands on "broken pipe", "connection
		// reset" and the like as the system said it.
		return fmt.Errorf("request %s at %s: %w (%s)", subject, servers, errConnLost, err.Error())
	}
}
