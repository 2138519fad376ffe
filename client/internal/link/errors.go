package link

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"

	"metaq/protocol"
)

// Sentinels that package client re-exports and documents.
var (
	ErrClosed   = errors.New("closed")
	ErrNoBroker = errors.New("no broker answers")
)

// ErrUnserved is ErrNoBroker of one who asked over a connection: nobody serves the
// subject.
var ErrUnserved = fmt.Errorf("%w", ErrNoBroker)

// ErrConnLost ends a request whose connection broke: its outcome is unknown.
var ErrConnLost = errors.New("the connection was lost before the answer came")

// ErrNoAnswer ends a request that was not answered in time: its outcome is
// unknown.
var ErrNoAnswer = errors.New("no answer in time")

// Retriable reports whether the same request may succeed later.
func Retriable(err error) bool {
	var e *protocol.Error
	if errors.As(err, &e) {
		return e.Class() != protocol.GiveUp
	}
	return errors.Is(err, ErrNoBroker) || errors.Is(err, ErrConnLost) || errors.Is(err, ErrNoAnswer)
}

// NotThere reports whether a broker does not know the topic or partition. One that
// just started, or that is about to lead, may say so of a partition that exists:
// the last word is that of the topic's description.
func NotThere(err error) bool {
	return errors.Is(err, protocol.ErrNoTopic) || errors.Is(err, protocol.ErrNoPartition)
}

// MaybeDone reports whether a request that ended with err may have been carried
// out. A 503 is such an answer too: after a failed sync the partition recovers
// from its disk, where the batch may be.
func MaybeDone(err error) bool {
	var e *protocol.Error
	if errors.As(err, &e) {
		return e.Code >= 500 && !errors.Is(e, protocol.ErrDiskFull)
	}
	return !errors.Is(err, ErrNoBroker) && !errors.Is(err, nats.ErrMaxPayload)
}

// RequestError turns what NATS says about a request into an error of this
// package that names subject and servers.
func RequestError(ctx context.Context, err error, subject, servers string) error {
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return fmt.Errorf("%w on %s at %s", ErrUnserved, subject, servers)
	case errors.Is(err, nats.ErrReconnectBufExceeded):
		return fmt.Errorf("%w on %s: not connected to %s", ErrNoBroker, subject, servers)
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrConnectionDraining), errors.Is(context.Cause(ctx), ErrClosed):
		return fmt.Errorf("request %s: connection to %s is %w", subject, servers, ErrClosed)
	case errors.Is(err, nats.ErrDisconnected), errors.Is(context.Cause(ctx), ErrConnLost):
		return fmt.Errorf("request %s at %s: %w", subject, servers, ErrConnLost)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return fmt.Errorf("request %s at %s: %w", subject, servers, ErrNoAnswer)
	case errors.Is(err, nats.ErrMaxPayload), errors.Is(err, nats.ErrBadSubject), errors.Is(err, nats.ErrInvalidMsg),
		errors.Is(err, nats.ErrInvalidArg), errors.Is(err, nats.ErrHeadersNotSupported), errors.Is(err, context.Canceled):
		return fmt.Errorf("request %s at %s: %w", subject, servers, err)
	default:
		// What is left is the socket's: NATS hands on "broken pipe", "connection
		// reset" and the like as the system said it.
		return fmt.Errorf("request %s at %s: %w (%s)", subject, servers, ErrConnLost, err.Error())
	}
}
