package registry

import (
	"errors"
	"fmt"
	"path"
)

// What a Registry answers. Each is found with errors.Is.
var (
	// ErrNotFound says that the node, or the parent that it needs, is not there.
	ErrNotFound = errors.New("no such node")

	// ErrExists says that the node to create is already there.
	ErrExists = errors.New("node exists")

	// ErrVersion says that the node changed since the version that the caller named.
	ErrVersion = errors.New("node has another version")

	// ErrNotEmpty says that the node to delete has children.
	ErrNotEmpty = errors.New("node has children")

	// ErrEphemeralParent says that an ephemeral node was asked to have a child.
	ErrEphemeralParent = errors.New("an ephemeral node cannot have children")

	// ErrInvalid says that the request itself is wrong: a bad path, a negative version.
	ErrInvalid = errors.New("invalid request")

	// ErrTooLarge says that a request passes MaxMultiOps or MaxMultiBytes; split it.
	ErrTooLarge = errors.New("request too large")

	// ErrDenied says that the credentials in use do not permit the operation.
	ErrDenied = errors.New("permission denied by the registry: set zkAuth to the user in the node's ACL, or change that with setAcl in zkCli.sh")

	// ErrOpenToAll says that a node that must be protected may be written by everybody.
	ErrOpenToAll = errors.New("everybody may write this node")

	// ErrUnavailable says that the registry cannot be asked now. A write that got
	// this error was not done and will not be. Try again later.
	ErrUnavailable = errors.New("registry not available")

	// ErrUnknownOutcome says that a write was handed over, but its answer was not
	// seen: it was done, will be done, or will never be. Read it back to learn which.
	ErrUnknownOutcome = errors.New("outcome unknown")

	// ErrSessionLost says that this incarnation is dead: its ephemeral nodes are
	// gone or going, and the Registry value is of no more use. Open a new one.
	ErrSessionLost = errors.New("registry session lost")

	// ErrClosed says that Close was called on this Registry.
	ErrClosed = errors.New("registry closed")
)

// OpError tells which operation of a Multi failed. The others were not done.
type OpError struct {
	Index int // place in the Multi, from 0
	Op    Op
	Err   error // one of the errors above
}

// Error names the operation and its path, and the node whose ACL forbade it.
func (e *OpError) Error() string {
	where := e.Op.Path
	if errors.Is(e.Err, ErrDenied) && (e.Op.Kind == OpCreate || e.Op.Kind == OpDelete) {
		where += " in " + path.Dir(e.Op.Path)
	}
	return fmt.Sprintf("%s %s: %v", e.Op.Kind, where, e.Err)
}

// Unwrap gives the reason, for errors.Is.
func (e *OpError) Unwrap() error { return e.Err }
