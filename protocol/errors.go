package protocol

import (
	"errors"
	"fmt"
)

// Class tells a client what to do after an error.
type Class uint8

// The classes.
const (
	GiveUp           Class = iota // the same request will fail again
	BackOffThenRetry              // the broker is healthy but busy
	Retry                         // not available now; the same request may succeed later
)

// Error is an answer that refuses a request. On the wire it has JetStream's
// form; numbers never change and are never reused, texts may change.
type Error struct {
	Code        int    `json:"code"`     // as in HTTP
	ErrCode     int    `json:"err_code"` // JetStream's number where it has one, else 20000 and up
	Description string `json:"description"`
}

// Error returns the description, which is one line and says what to do next.
func (e *Error) Error() string { return fmt.Sprintf("%s (%d)", e.Description, e.Code) }

// Is says that two errors are the same when their ErrCode is, so that
// errors.Is(err, protocol.ErrNoTopic) works whatever the text.
func (e *Error) Is(target error) bool {
	var t *Error
	return errors.As(target, &t) && t.ErrCode == e.ErrCode
}

// Class tells what a client should do next.
func (e *Error) Class() Class {
	switch e.Code {
	case 429:
		return BackOffThenRetry
	case 503:
		return Retry
	default:
		return GiveUp
	}
}

// With returns a copy of e with another description.
func (e *Error) With(format string, args ...any) *Error {
	return &Error{Code: e.Code, ErrCode: e.ErrCode, Description: fmt.Sprintf(format, args...)}
}

// The errors of the wire. Compare with errors.Is.
var (
	ErrBadRequest    = &Error{400, 10003, "bad request"}
	ErrBadName       = &Error{400, 20001, "name is not allowed"}
	ErrBatchRefused  = &Error{400, 20002, "bad batch"}
	ErrReplySubject  = &Error{400, 20003, "reply subject is inside the broker's own subjects"}
	ErrNoTopic       = &Error{404, 10059, "no such topic"}
	ErrNoPartition   = &Error{404, 20004, "no such partition"}
	ErrExists        = &Error{409, 20005, "exists already"}
	ErrConflict      = &Error{409, 20006, "the request contradicts what is there"}
	ErrFenced        = &Error{409, 20007, "an older epoch is refused"}
	ErrTooLarge      = &Error{413, 10054, "message is too large"}
	ErrRange         = &Error{416, 20008, "offset is out of range"}
	ErrDiverged      = &Error{416, 20017, "the log is not the one that was read"}
	ErrBusy          = &Error{429, 10167, "busy: back off and try again"}
	ErrUnavailable   = &Error{503, 10008, "not available now: try again"}
	ErrDiskFull      = &Error{503, 10023, "disk full: make room on the broker's data disk"}
	ErrPartition     = &Error{503, 20009, "partition has failed"}
	ErrInternal      = &Error{500, 20010, "internal error"}
	ErrAnswerSize    = &Error{500, 20019, "carried out, but the answer does not fit one NATS message"}
	ErrNotAccepted   = &Error{403, 20011, "the topic does not accept this"}
	ErrForbidden     = &Error{403, 20022, "not allowed"}
	ErrNoGroup       = &Error{404, 20012, "no such group"}
	ErrNoMember      = &Error{404, 20013, "no such member: join again under a new name"}
	ErrInstance      = &Error{409, 20016, "a newer process runs as this instance: stop"}
	ErrNewProducer   = &Error{409, 20014, "the producer is not known: begin at sequence 0 under a new epoch"}
	ErrHeaderRollup  = &Error{400, 10111, "header Nats-Rollup is not supported"}
	ErrHeaderTTL     = &Error{400, 10166, "header Nats-TTL is not supported"}
	ErrHeaderIncr    = &Error{400, 10168, "header Nats-Incr is not supported"}
	ErrHeaderBatch   = &Error{400, 10174, "atomic batches (Nats-Batch-*) are not supported"}
	ErrHeaderSched   = &Error{400, 10188, "message schedules (Nats-Schedule*) are not supported"}
	ErrHeaderInBatch = &Error{400, 10177, "header has no meaning in a batch"}
	ErrHeaderSource  = &Error{400, 10227, "header Nats-Stream-Source is not allowed"}
	ErrStreamDiffers = &Error{400, 10060, "expected stream does not match"}
	ErrWrongSequence = &Error{400, 10071, "wrong last sequence"}
	ErrWrongMsgID    = &Error{400, 10070, "wrong last msg ID"}
)

// AsError returns err as an Error of the wire: err itself when it is or wraps
// one, else ErrInternal with err's text.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return ErrInternal.With("%v", err)
}
