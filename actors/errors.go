package actors

import (
	"errors"

	"metaq/protocol"
)

// ErrGone refuses a request whose actor has stopped.
var ErrGone error = protocol.ErrUnavailable.With("the actor that was asked has stopped: try again")

// ErrNothingRead reports a log that returns no batch below its end.
var ErrNothingRead = errors.New("the log returned no batch below its end")

// NoTopic returns the refusal of a request that names an unknown topic.
func NoTopic(name string) error {
	return protocol.ErrNoTopic.With("no topic %q: see metaq topic ls", name)
}

// WireError keeps a *protocol.RangeError, which has the ends of the log in it,
// and turns every other error into a *protocol.Error.
func WireError(err error) error {
	if r, ok := err.(*protocol.RangeError); ok { //nolint:errorlint // only the bare value has the form of an answer
		return r
	}
	return protocol.AsError(err)
}
